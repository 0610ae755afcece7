"""The best and the worst conductors of a run, by exact solutions instead of noisy labels.

The largest of thousands of labels is large by its error as well, with errors of 3 % by about 8 %.
So structures of the largest labels are solved, and the largest solution counts.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from morphion import store
from morphion.analysis.tables import read_table, write_table
from morphion.config import Config
from morphion.config.load import block
from morphion.errors import StoreError
from morphion.verdict.solutions import judged_lattice, solve_each

FIRST, ALL = "first data set", "all rounds"
LARGEST, SMALLEST = "largest", "smallest"
COLUMNS = (
    "extreme",
    "of",
    "structure",
    "round",
    "family",
    "index",
    "diffusivity",
    "stderr",
    "exact",
)

_NAMES = ("positions", "diffusivity", "stderr", "converged", "family", "index", "round")


def extremes_table(dataset: Path, config: Config, output: Path) -> None:
    """Write the largest and the smallest labels of a data set beside the exact solutions.

    Of the first data set and of all rounds the ``analysis.extremes`` largest converged labels, of
    all rounds as many of the smallest. ``diffusivity``, ``stderr`` and ``exact`` are D, the latter
    on the lattice of the label; an exact label is its own solution. A killed job continues after
    the last structure solved. Raises StoreError if no label converged.
    """
    data = store.load(dataset, kind="dataset", names=_NAMES)
    chosen = _chosen(data, config.analysis.extremes)
    if not chosen:
        raise StoreError(f"{dataset}: no converged label to choose structures by")
    rows = sorted({row for _, _, row in chosen})
    labels = [block(config.transport), block(config.labels), config.verdict.relative_residual]
    partial = store.Partial(output, [*labels, rows, data.diffusivity.values[rows].tolist()])
    exact = _solved(data, rows, config, partial)
    write_table([_described(data, *place, exact) for place in chosen], output)
    partial.discard()


def read_extremes(path: Path, extreme: str, of: str | None = None) -> pd.Series:
    """The structure that is the largest or the smallest by its exact solution, as table row;
    ``of`` the first data set, or of all there are."""
    table = read_table(path, COLUMNS)
    part = table[(table.extreme == extreme) & ((table.of == of) | (of is None))]
    if part.empty:
        raise StoreError(f"{path}: no row with extreme = {extreme} and of = {of or ALL}")
    return part.sort_values("exact").iloc[-1 if extreme == LARGEST else 0]


def _chosen(data: xr.Dataset, count: int) -> list[tuple[str, str, int]]:
    """Extreme, what of, and place of each structure to solve."""
    usable = np.flatnonzero(data.converged.values)
    ordered = usable[np.argsort(data.diffusivity.values[usable], kind="stable")]
    first = ordered[data["round"].values[ordered] == 0]
    places = (
        (LARGEST, FIRST, first[::-1]),
        (LARGEST, ALL, ordered[::-1]),
        (SMALLEST, ALL, ordered),
    )
    return [(extreme, of, int(row)) for extreme, of, rows in places for row in rows[:count]]


def _solved(
    data: xr.Dataset, rows: list[int], config: Config, partial: store.Partial
) -> dict[int, float]:
    """D of each structure by the exact solver."""
    if config.labels.method == "exact":
        return {row: float(data.diffusivity[row]) for row in rows}
    lattices = {
        row: functools.partial(
            judged_lattice,
            data.positions.values[row],
            data.attrs["box_length"],
            data.attrs["diameter"],
            config.transport,
            config.labels.lattice,
            config.labels.method,
        )
        for row in rows
    }
    found = solve_each("extremes", lattices, config.verdict.relative_residual, partial)
    return {row: float(solution["exact"]) for row, solution in found.items()}


def _described(
    data: xr.Dataset, extreme: str, of: str, row: int, exact: dict[int, float]
) -> dict[str, str | int | float]:
    names = ("round", "family", "index", "diffusivity", "stderr")
    values = {name: data[name].values[row] for name in names}
    return {"extreme": extreme, "of": of, "structure": row, **values, "exact": exact[row]}
