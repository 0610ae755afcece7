"""The summary table: what the paper reports beside what this run found."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from morphion import store
from morphion.analysis import paper
from morphion.analysis.extremes import FIRST, LARGEST, read_extremes
from morphion.analysis.tables import METRICS, read_table
from morphion.errors import MorphionError
from morphion.files import atomic_file
from morphion.progress import log

COLUMNS = ("quantity", "unit", "paper", "ours", "low", "high")
_METRIC = {"mse": ("MSE", "D*^2"), "mape": ("MAPE", "%"), "pearson": ("Pearson R", "")}


def summary_table(
    annealed: Path,
    loadings: Path | None,
    retrained: Path,
    driver: str,
    extremes: Path,
    pca: Path,
    speed: Path | None,
    output: Path,
) -> None:
    """Write the run's headline numbers, each with its 95 % interval, beside the paper's.

    Parameters
    ----------
    annealed, loadings, retrained : Path
        Tables written by ``table1``, ``table2`` (None: no loadings) and ``splits_table``, in which
        ``driver`` is the network that drove the annealing.
    extremes, pca : Path
        Table written by ``extremes_table``, and the principal components of the last data set.
    speed : Path or None
        Table written by ``speed_table``; None leaves the row out.
    """
    rows = [
        *_annealed(annealed),
        *_retrained(retrained, driver),
        *(_loadings(loadings) if loadings is not None else ()),
        _gain(extremes),
        *_components(pca),
        *(_speed(speed, driver) if speed is not None else ()),
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    with atomic_file(output) as scratch:
        table.to_csv(scratch, index=False, float_format="%.6g")
    log(f"{output}: {len(table)} rows")


def _accuracy(what: str, row: pd.Series, reported: dict) -> Iterator[tuple]:
    for metric, (name, unit) in _METRIC.items():
        values = (row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
        yield f"{what}: {name}", unit, reported.get(metric, np.nan), *values


def _annealed(path: Path) -> Iterator[tuple]:
    table = read_table(path, ("network", *METRICS))
    yield from _accuracy("annealed, first network", table.iloc[0], paper.ANNEALED_FIRST)
    yield from _accuracy("annealed, retrained", table.iloc[-1], paper.ANNEALED_RETRAINED)


def _retrained(path: Path, driver: str) -> Iterator[tuple]:
    table = read_table(path, ("network", "scheme", "split", *METRICS))
    table = table[(table.network == driver) & (table.scheme == "random")]
    for split, name, reported in (
        ("train", "training", paper.RETRAINED_TRAIN),
        ("test", "test", paper.RETRAINED_TEST),
    ):
        rows = table[table.split == split]
        if rows.empty:
            raise MorphionError(
                f"{path}: no row of network {driver!r}, scheme 'random' and split {split!r}"
            )
        yield from _accuracy(f"retrained network, {name} set", rows.iloc[0], reported)


def _loadings(path: Path) -> Iterator[tuple]:
    for _, row in read_table(path, ("volume_fraction", *METRICS)).iterrows():
        fraction = row["volume_fraction"]
        reported = paper.LOADINGS.get(fraction, {})
        yield from _accuracy(f"{100 * fraction:g} % loading", row, reported)


def _gain(path: Path) -> tuple:
    """Largest D over the first data set's, in percent, both by exact solutions."""
    best, first = (read_extremes(path, LARGEST, of).exact for of in (None, FIRST))
    gain = 100 * (best / first - 1)
    reported = 100 * paper.DIFFUSIVITY_GAIN
    return "maximum D over the first data set's", "%", reported, gain, np.nan, np.nan


def _components(path: Path) -> Iterator[tuple]:
    data = store.load(path, kind="pca")

    def values(name: str, component: int) -> list[float]:
        return [float(data[f"{name}{limit}"][component]) for limit in ("", "_low", "_high")]

    for component, reported in enumerate((paper.PC1_VARIANCE, paper.PC2_VARIANCE)):
        if component < data.sizes["component"]:
            shares = (100 * v for v in values("explained_variance_ratio", component))
            yield f"PC{component + 1}: share of the variance of g(r)", "%", 100 * reported, *shares
    yield "R(PC1, D*)", "", paper.PC1_CORRELATION, *values("correlation", 0)
    if not np.isnan(data.correlation.values[1:]).all():
        strongest = 1 + int(np.nanargmax(np.abs(data.correlation.values[1:])))
        found, *limits = values("correlation", strongest)
        crosses = limits[0] < 0 < limits[1]
        low, high = 0.0 if crosses else min(map(abs, limits)), max(map(abs, limits))
        name = f"largest |R| of the other components (here PC{strongest + 1})"
        yield name, "", paper.OTHER_CORRELATION, abs(found), low, high


def _speed(path: Path, driver: str) -> Iterator[tuple]:
    """Of the driver's predictions: in the largest batch, on a GPU if one was there."""
    columns = [f"seconds_per_prediction{limit}" for limit in ("", "_low", "_high")]
    table = read_table(path, ("network", "seconds_per_label", *columns))
    table = table[table.network == driver]
    if table.empty:
        raise MorphionError(f"{path}: no row of network {driver!r}")
    row = table.iloc[-1]
    prediction, low, high = row[columns]
    label = row.seconds_per_label
    ratios = (label / prediction, label / high, label / low)
    yield "time of a label over that of a prediction", "", paper.SPEED_RATIO, *ratios
    yield "time of a label", "s", np.nan, label, np.nan, np.nan
    yield "time of a prediction", "s", np.nan, prediction, low, high
