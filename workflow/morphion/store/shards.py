"""Structures spread evenly over the shards of a set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from morphion.errors import StoreError
from morphion.store.write import write


def write_shards(
    outputs: Sequence[Path], structures: xr.Dataset, provenance: Mapping[str, Any]
) -> None:
    """Write structures, in order, as structure stores of sizes that differ by at most one.

    With fewer structures than outputs some stores are empty: the workflow fixes the number of
    shards before anything is selected. Raises StoreError for an output that is named twice.
    """
    for path, times in Counter(Path(path).resolve() for path in outputs).items():
        if times > 1:
            raise StoreError(f"{path}: named {times} times; each shard needs a path of its own")
    rows = np.array_split(np.arange(structures.sizes["structure"]), len(outputs))
    for path, part in zip(outputs, rows, strict=True):
        shard = structures.isel(structure=part)
        write(path, shard, kind="structures", provenance=provenance)
