"""Stores of currents, and those of a data set's structures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from morphion import store
from morphion.currents.between import pairs_of
from morphion.errors import StoreError
from morphion.store.checksum import checksum
from morphion.transport.files import transport_differences

KIND = "currents"
OCCUPANCY = "weight of a cubic sphere diameter of solvent"


@dataclass(frozen=True)
class PairCurrents:
    """Currents of some structures of a data set.

    ``row`` int64 [S] : of each structure of the data set, its place below, or -1
    ``current`` [K, P, 3] : J_ij,a of ``morphion.currents.between``, solvent D = 1
    ``occupancy`` float64 [K, N] : equilibrium weight in each particle's cell, in cubes of solvent
    ``digest`` : of all of it
    """

    row: np.ndarray
    current: np.ndarray
    occupancy: np.ndarray
    digest: str


def assemble(
    rows: np.ndarray, positions: np.ndarray, current: np.ndarray, occupancy: np.ndarray
) -> xr.Dataset:
    """Currents of the structures ``rows`` of a data set, ready to be written."""
    first, second = pairs_of(positions.shape[1])
    return xr.Dataset(
        {
            "row": ("structure", np.asarray(rows, np.int64)),
            "current": (
                ("structure", "pair", "axis"),
                current.astype(np.float32),
                {"units": "solvent cation diffusivity / sphere diameter"},
            ),
            "occupancy": (
                ("structure", "particle"),
                np.asarray(occupancy, np.float64),
                {"units": OCCUPANCY},
            ),
            "first": ("pair", first.astype(np.int32)),
            "second": ("pair", second.astype(np.int32)),
        },
        attrs={"positions_checksum": checksum(np.ascontiguousarray(positions))},
    )


def read_currents(
    paths: Sequence[Path | str], positions: np.ndarray, transport: dict[str, Any]
) -> PairCurrents:
    """Currents of the structures of a data set, whose positions [S, N, 3] in voxels these are.

    Raises StoreError if a store is not sound, or was made from other structures or with another
    transport model (``transport`` is its record).
    """
    parts = [_read(Path(path), positions, transport) for path in paths]
    row = np.full(len(positions), -1, np.int64)
    rows = np.concatenate([part.row.values for part in parts])
    row[rows] = np.arange(len(rows))
    current, occupancy = (
        np.concatenate([part[name].values for part in parts]) for name in ("current", "occupancy")
    )
    digest = "-".join(checksum(array)[:16] for array in (row, current, occupancy))
    return PairCurrents(row, current, occupancy, digest)


def _read(path: Path, positions: np.ndarray, transport: dict[str, Any]) -> xr.Dataset:
    part = store.load(path, kind=KIND)
    rows = part.row.values
    known = len(rows) == 0 or rows.max() < len(positions)
    if not known or part.attrs["positions_checksum"] != checksum(
        np.ascontiguousarray(positions[rows])
    ):
        raise StoreError(
            f"{path}: currents of other structures than the data set has in its rows; make them "
            "again from this data set"
        )
    if part.occupancy.attrs.get("units") != OCCUPANCY:
        raise StoreError(
            f"{path}: occupancies as shares of a structure, of an older version; make the currents "
            "again"
        )
    made = part.attrs["provenance"]["config"]["transport"]
    for name, (one, other) in transport_differences(made, transport).items():
        raise StoreError(
            f"{path}: currents with transport.{name} = {one}, the configuration has {other}; make "
            "them again"
        )
    return part
