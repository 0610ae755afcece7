"""The label of a structure: the cation diffusivity on its lattice, with a true standard error."""

from morphion.labels.label import Label, label_structure
from morphion.labels.shard import label_shard

__all__ = ["Label", "label_shard", "label_structure"]
