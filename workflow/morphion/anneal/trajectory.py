"""The annealing store: every accepted structure of a job, written from moves, read by rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import xarray as xr

from morphion import store
from morphion.anneal.annealer import Annealed
from morphion.anneal.moves import identities, move_identities, replay
from morphion.errors import StoreError

KIND = "anneal"

# Neighbours in a run differ by one particle, so that 64 structures compress fifty-fold, and one
# of them costs decoding 35 kB. A file of 8192 stays below a megabyte.
_CHUNK = 64
_SHARD = 128 * _CHUNK


def store_form(
    annealed: Annealed,
    temperatures: np.ndarray,
    steps_per_cycle: int,
    runs: Sequence[int],
    voxels: int,
) -> tuple[xr.Dataset, store.Stream]:
    """Arrays of the annealing store, and the stream of its accepted structures.

    Rows of ``accepted_*`` and ``voxels`` are ordered by run and then step; the start of a run is
    its step -1 (of cycle 0), steps count over all cycles. ``runs`` are the runs' global numbers,
    ``voxels`` the voxels along the edge.
    """
    order = np.argsort(annealed.move_run, kind="stable")
    bounds = np.searchsorted(annealed.move_run[order], np.arange(len(runs) + 1))
    paths = []
    for start, rows in zip(annealed.starts, np.split(order, bounds[1:-1]), strict=True):
        # A first move of a particle to where it already is stands for the start.
        particle = np.concatenate([np.zeros(1, np.int16), annealed.move_particle[rows]])
        paths.append((start, particle, np.concatenate([start[:1], annealed.move_voxel[rows]])))
    step = np.insert(annealed.move_step[order], bounds[:-1], np.int32(-1))
    prediction = np.insert(annealed.move_prediction[order], bounds[:-1], annealed.start_prediction)
    identity = np.concatenate([move_identities(*path, voxels) for path in paths])
    run = np.repeat(np.asarray(runs, np.int32), np.diff(bounds) + 1)
    cycle = (np.maximum(step, 0) // steps_per_cycle).astype(np.int32)
    of_run, of_row = ("run", "cycle"), "accepted"
    data = xr.Dataset(
        {
            "temperature": ("cycle", temperatures, {"units": "D*"}),
            "prediction": (of_run, annealed.prediction, {"units": "D*", "at": "end of the cycle"}),
            "acceptance": (of_run, annealed.acceptance, {"units": "1"}),
            "best": (of_run, annealed.best, {"units": "D*", "at": "best so far"}),
            "accepted_prediction": (of_row, prediction.astype(np.float32), {"units": "D*"}),
            "accepted_run": (of_row, run),
            "accepted_cycle": (of_row, cycle),
            "accepted_step": (of_row, step, {"start": -1}),
            "accepted_identity": (of_row, identity, {"meaning": "equal for equal structures"}),
        },
        coords={"run": np.asarray(runs, np.int32), "xyz": ["x", "y", "z"]},
    )
    count, particles = len(step), annealed.starts.shape[1]
    stream = store.Stream(
        dims=("accepted", "particle", "xyz"),
        shape=(count, particles, 3),
        dtype="int16",
        chunks=(_CHUNK, particles, 3),
        shards=(min(_SHARD, -(-count // _CHUNK) * _CHUNK), particles, 3),
        blocks=_blocks(paths, particles),
        attrs={"units": "voxel index", "centre": "index + 1/2"},
    )
    return data, stream


def _blocks(paths, particles: int) -> Iterator[np.ndarray]:
    """Structures of all paths after each of their moves, in blocks of whole shards."""
    block, filled = np.empty((_SHARD, particles, 3), np.int16), 0
    for start, particle, voxel in paths:
        state, done = start.copy(), 0
        while done < len(particle):
            rows = slice(done, done + _SHARD - filled)
            count = len(particle[rows])
            replay(state, particle[rows], voxel[rows], block[filled : filled + count])
            done, filled = done + count, filled + count
            if filled == _SHARD:
                yield block
                filled = 0
    if filled:
        yield block[:filled]


@dataclass(frozen=True)
class Evaluated:
    """Rows of annealing stores, without their structures.

    ``source`` int32, place of the store in the list that was read; ``row`` int64 in that store;
    ``run``, ``cycle``, ``step`` int32; ``prediction`` float64, D*; ``identity`` uint64, equal for
    equal structures. All [E].
    """

    source: np.ndarray
    row: np.ndarray
    run: np.ndarray
    cycle: np.ndarray
    step: np.ndarray
    prediction: np.ndarray
    identity: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, rows: np.ndarray) -> "Evaluated":
        return Evaluated(*(getattr(self, field.name)[rows] for field in fields(self)))

    def distinct(self) -> "Evaluated":
        """Each structure once, as it was first met."""
        _, first = np.unique(self.identity, return_index=True)
        return self[np.sort(first)]


def read_evaluated(stores: Sequence[Path], objective: str) -> Evaluated:
    """All rows of the stores of one objective; stores of the other are passed over."""
    columns: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(Evaluated)}
    for source, path in enumerate(stores):
        if store.open_lazy(path, kind=KIND).attrs["objective"] != objective:
            continue
        names = ("prediction", "run", "cycle", "step", "identity")
        data = store.load(path, kind=KIND, names=[f"accepted_{name}" for name in names])
        count = data.sizes["accepted"]
        columns["source"].append(np.full(count, source, np.int32))
        columns["row"].append(np.arange(count))
        for name in names:
            columns[name].append(data[f"accepted_{name}"].values)
    empty = {"identity": np.uint64, "prediction": np.float64, "row": np.int64}
    return Evaluated(
        **{
            name: np.concatenate([np.empty(0, empty.get(name, np.int32)), *parts])
            for name, parts in columns.items()
        }
    )


def read_structures(stores: Sequence[Path], evaluated: Evaluated, voxels: int) -> np.ndarray:
    """Voxel indices int16 [E, N, 3] of rows, of which only the chunks they lie in are read.

    ``voxels`` is the number of voxels along the edge. Raises StoreError if a structure is not the
    one whose identity the store holds.
    """
    structures: np.ndarray | None = None
    for source in np.unique(evaluated.source):
        path = stores[source]
        wanted = np.flatnonzero(evaluated.source == source)
        wanted = wanted[np.argsort(evaluated.row[wanted], kind="stable")]
        try:
            found = store.open_lazy(path, kind=KIND)["voxels"].oindex[evaluated.row[wanted]]
        except Exception as error:  # codecs raise their own exceptions on truncated chunks
            raise StoreError(
                f"{path}: array 'voxels' cannot be decoded ({error}); make the store again"
            ) from error
        wrong = identities(np.ascontiguousarray(found), voxels) != evaluated.identity[wanted]
        if wrong.any():
            row = int(evaluated.row[wanted][np.argmax(wrong)])
            raise StoreError(
                f"{path}: structure {row} of array 'voxels' differs from what was written "
                "(truncated or altered); make the store again"
            )
        if structures is None:
            structures = np.empty((len(evaluated), *found.shape[1:]), np.int16)
        structures[wanted] = found
    return np.empty((0, 0, 3), np.int16) if structures is None else structures
