"""Structures of a store, beside those of files, and as files that other programs open."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr

from morphion.errors import StoreError
from morphion.store.read import open_lazy, verify
from morphion.structures.files import (
    STRUCTURE_SUFFIXES,
    Frame,
    StructureFile,
    read_structure,
    read_structure_files,
    write_trajectory,
)

# Per-structure quantities that travel with the positions where a store has them.
_QUANTITIES = ("diffusivity", "stderr", "prediction", "accepted_prediction")
_STORES = (".zarr", ".zarr.zip")


def export_structures(
    source: Path, output: Path, *, first: int = 0, count: int | None = None, every: int = 1
) -> None:
    """Write structures as the frames of a GSD or extended XYZ file.

    ``source`` is a structure, data set or annealing store, or a structure file; labels and
    predictions travel along. Raises StoreError for a store that is not sound or has no structures,
    for an empty choice, and for any choice from a structure file: only its last frame is read.
    """
    if _is_structure_file(source):
        if (count, every) != (None, 1):
            raise _only_frame(source)
        structure = _read_frame(source, first)
        frame = Frame(structure.positions, structure.box_length, structure.diameter)
        write_trajectory(output, [frame])
        return
    root, name = _root(source)
    total = root[name].shape[0]
    chosen = np.arange(first, total if count is None else min(total, first + count), every)
    if len(chosen) == 0:
        raise StoreError(f"{source}: it holds {total} structures, none from {first} on")
    verify(source, names=[name, *(key for key in _QUANTITIES if key in root)])
    # An annealing store also has a ``prediction`` of each run and cycle.
    along = root[name].metadata.dimension_names[:1]
    quantities = {
        key: root[key][...][chosen]
        for key in _QUANTITIES
        if key in root and root[key].metadata.dimension_names == along
    }
    box_length, diameter = root.attrs["box_length"], root.attrs["diameter"]
    frames = (
        Frame(
            _positions(root, name, row),
            box_length,
            diameter,
            {key: values[at] for key, values in quantities.items()},
        )
        for at, row in enumerate(chosen)
    )
    write_trajectory(output, frames)


def structures_in(paths: Sequence[Path]) -> list[StructureFile]:
    """The structures of GSD or extended XYZ files, and all of those in stores, in the order given.

    Raises StructureError as ``read_structure_files`` does, StoreError for what has neither a
    structure file's suffix nor a store's, and for a store that is not sound or holds none.
    """
    for path in paths:
        if not (_is_store(path) or _is_structure_file(Path(path))):
            known = ", ".join((*STRUCTURE_SUFFIXES, *_STORES))
            raise StoreError(f"{path}: unknown suffix; expected one of {known}")
    found = iter(read_structure_files([path for path in paths if not _is_store(path)]))
    return [
        structure
        for path in paths
        for structure in (_structures_of(path) if _is_store(path) else [next(found)])
    ]


def _structures_of(store: Path) -> list[StructureFile]:
    root, name = _root(store)
    verify(store, names=[name])
    lengths = root.attrs["box_length"], root.attrs["diameter"]
    # At once: rows share chunks.
    centres = _positions(root, name, slice(None)).astype(np.float64)
    return [StructureFile(store, part, *lengths, row) for row, part in enumerate(centres)]


def _is_store(path: Path) -> bool:
    return Path(path).name.endswith(_STORES)


def structure_at(source: Path, row: int) -> tuple[np.ndarray, float, float]:
    """Positions, box edge and diameter of a structure file, or of a row of a store."""
    if _is_structure_file(source):
        structure = _read_frame(source, row)
        return structure.positions, structure.box_length, structure.diameter
    root, name = _root(source)
    if not 0 <= row < root[name].shape[0]:
        raise StoreError(f"{source}: it holds {root[name].shape[0]} structures, no number {row}")
    verify(source, names=[name])
    return _positions(root, name, row), root.attrs["box_length"], root.attrs["diameter"]


def _read_frame(source: Path, row: int) -> StructureFile:
    if row != 0:
        raise _only_frame(source)
    return read_structure(source)


def _only_frame(source: Path) -> StoreError:
    return StoreError(
        f"{source}: of a structure file the last frame is exported; leave out first, count and "
        "every, which choose from a store"
    )


def _is_structure_file(source: Path) -> bool:
    return source.suffix.lower() in STRUCTURE_SUFFIXES


def _root(source: Path) -> tuple[zarr.Group, str]:
    root = open_lazy(source, kind=None)
    name = {"structures": "positions", "dataset": "positions", "anneal": "voxels"}.get(
        root.attrs["kind"]
    )
    if name is None:
        raise StoreError(f"{source}: a store of kind {root.attrs['kind']!r} holds no structures")
    return root, name


def _positions(root: zarr.Group, name: str, rows: int | slice) -> np.ndarray:
    positions = np.asarray(root[name][rows])
    # Annealing stores hold voxel indices; a centre sits in the middle of its voxel.
    return positions + 0.5 if name == "voxels" else positions
