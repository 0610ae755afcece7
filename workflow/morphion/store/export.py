"""Structures of a store as files that other programs open."""

from pathlib import Path

import numpy as np
import zarr

from morphion.errors import StoreError
from morphion.store.read import open_lazy
from morphion.structures.files import Frame, write_trajectory

# Per-structure quantities that travel with the positions where a store has them.
_QUANTITIES = ("diffusivity", "stderr", "prediction", "accepted_prediction")


def export_structures(
    source: Path, output: Path, *, first: int = 0, count: int | None = None, every: int = 1
) -> None:
    """Write structures of a structure, data set or annealing store as GSD or extended XYZ frames.

    Labels and predictions travel along. Raises StoreError for a store without structures or an
    empty choice.
    """
    root = open_lazy(source, kind=None)
    name = {"structures": "positions", "dataset": "positions", "anneal": "voxels"}.get(
        root.attrs["kind"]
    )
    if name is None:
        raise StoreError(f"{source}: a store of kind {root.attrs['kind']!r} holds no structures")
    total = root[name].shape[0]
    chosen = np.arange(first, total if count is None else min(total, first + count), every)
    if len(chosen) == 0:
        raise StoreError(f"{source}: it holds {total} structures, none from {first} on")
    # An annealing store also has a ``prediction`` of each run and cycle.
    along = root[name].metadata.dimension_names[:1]
    quantities = {
        key: root[key][...][chosen]
        for key in _QUANTITIES
        if key in root and root[key].metadata.dimension_names == along
    }
    frames = (
        Frame(
            _positions(root, name, row),
            root.attrs["box_length"],
            root.attrs["diameter"],
            {key: values[at] for key, values in quantities.items()},
        )
        for at, row in enumerate(chosen)
    )
    write_trajectory(output, frames)


def _positions(root: zarr.Group, name: str, row: int) -> np.ndarray:
    positions = np.asarray(root[name][row])
    # Annealing stores hold voxel indices; a centre sits in the middle of its voxel.
    return positions + 0.5 if name == "voxels" else positions
