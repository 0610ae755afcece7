"""The label of a structure: the cation diffusivity on its lattice, with a true standard error."""

from morphion.labels.label import Label, Task, label_structures
from morphion.labels.shard import label_shard

__all__ = ["Label", "Task", "label_shard", "label_structures"]
