"""Data sets: structures and their labels, split and voxelised for the networks."""

from morphion.dataset.build import build_dataset, unpack_dataset
from morphion.dataset.split import grouped_split, random_split

__all__ = ["build_dataset", "grouped_split", "random_split", "unpack_dataset"]
