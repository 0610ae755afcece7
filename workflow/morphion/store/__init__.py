"""Zarr v3 stores between the stages: written whole or not at all, checked when read."""

from morphion.files import atomic_file
from morphion.store.partial import Partial
from morphion.store.read import load, open_lazy, verify
from morphion.store.shards import write_shards
from morphion.store.write import Stream, require_own, write

__all__ = [
    "Partial",
    "Stream",
    "atomic_file",
    "load",
    "open_lazy",
    "require_own",
    "verify",
    "write",
    "write_shards",
]
