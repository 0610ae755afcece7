"""Drawn labels of a shard beside the exact solution of the same lattice."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from morphion import store
from morphion.config import Config
from morphion.config.load import block
from morphion.errors import StoreError, VerdictError
from morphion.files import atomic_file
from morphion.labels.draw import draw
from morphion.labels.shard import structures_digest
from morphion.progress import log
from morphion.store.checksum import checksum
from morphion.verdict.scores import normal_scores
from morphion.verdict.solutions import judged_lattice, solve_each

COLUMNS = (
    "row",  # of the shard
    "family",
    "index",
    "method",
    "lattice",
    "diffusivity",
    "stderr",
    "walkers",
    "converged",
    "exact",
    "residual",
    "solved",
    "seconds",
    "deviation",
    "z",
    "score",
)


def measure_shard(config: Config, set_: str, structures: Path, labels: Path, output: Path) -> None:
    """Draw structures of a label shard, solve them exactly and write both beside each other.

    ``output`` (CSV) has a row for each structure drawn: its label, ``exact`` (D of the same
    lattice, solved to ``residual``), ``deviation`` = D - exact over the larger of both, and for kMC
    labels ``z`` = (D - exact) / stderr and its normal ``score``. A flagged label is listed but not
    solved. A killed job continues after the last structure solved. Raises StoreError if the
    labels belong to other structures, and VerdictError if one that is drawn was walked with a
    control variate.
    """
    shard = store.load(structures, kind="structures")
    label = store.load(labels, kind="labels")
    if label.attrs["structures_digest"] != structures_digest(shard):
        raise StoreError(f"{labels}: labels of other structures than {structures} has")
    rows = draw(
        label.family.values,
        label["index"].values,
        label.converged.values,
        config.verdict.structures_per_shard,
        config.seed,
        set_,
    )
    _require_plain(label, rows, labels)
    table = _listed(label, rows)
    partial = _partial(config, label, output)
    lattices = {
        int(row): functools.partial(
            judged_lattice,
            shard.positions.values[row],
            shard.attrs["box_length"],
            shard.attrs["diameter"],
            config.transport,
            int(label.lattice.values[row]),
            str(label.method.values[row]),
        )
        for row in rows[table.converged.to_numpy()]
    }
    residual = config.verdict.relative_residual
    solutions = solve_each(f"verdict {set_}", lattices, residual, partial)
    for name in ("exact", "residual", "solved", "seconds"):
        table[name] = [solutions[row][name].item() if row in solutions else None for row in rows]
    table = _compared(table)
    with atomic_file(output) as scratch:
        table.to_csv(scratch, index=False, columns=COLUMNS, float_format="%.9g")
    partial.discard()
    log(f"{output}: {len(table)} drawn, {int((~table.converged).sum())} of them flagged")


def _require_plain(label: xr.Dataset, rows: np.ndarray, source: Path) -> None:
    """Raise VerdictError if a solver took part in a walk that it is to judge."""
    if "control_variate" not in label:
        return
    for row in rows[label.control_variate.values[rows] > 0]:
        name = f"{label.family.values[row]}-{label['index'].values[row]}"
        raise VerdictError(
            f"{source}: {name} was walked with a control variate "
            f"(control_variate = {label.control_variate.values[row]}), and a verdict judges plain "
            "walks only; label the shard again with the verdict.structures_per_shard of now, which "
            "are then walked without"
        )


def read_measured(paths: Sequence[Path]) -> pd.DataFrame:
    """Tables of ``measure_shard`` as one; raises StoreError if one cannot be read, is cut off, or
    holds a label that one before it does."""
    tables, known = [], set()
    for path in paths:
        try:
            table = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read as a table ({error})") from error
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise StoreError(f"{path}: no column {missing[0]!r}; make the table again")
        cut = table[["lattice", "converged", "diffusivity"]].isna().any(axis=1)
        cut |= table.converged.eq(True) & table.solved.isna()
        if cut.any():
            raise StoreError(f"{path}, line {cut.to_numpy().argmax() + 2}: cut off; make it again")
        labels = set(zip(table.family, table["index"], strict=True))
        for family, index in sorted(known & labels):
            raise StoreError(f"{path}: {family}-{index} is in a table before it; name each once")
        known |= labels
        tables.append(table)
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _listed(label: xr.Dataset, rows: np.ndarray) -> pd.DataFrame:
    names = (
        "family",
        "index",
        "method",
        "lattice",
        "diffusivity",
        "stderr",
        "walkers",
        "converged",
    )
    return pd.DataFrame({"row": rows} | {name: label[name].values[rows] for name in names})


def _partial(config: Config, label: xr.Dataset, output: Path) -> store.Partial:
    """Where solutions are kept until the table is written."""
    # A transport table enters through the labels: another table would have given others.
    identity = [checksum(label.diffusivity.values), label.attrs["structures_digest"]]
    identity += [block(config.transport), config.verdict.relative_residual]
    return store.Partial(output, identity)


def _compared(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``deviation``, ``z`` and ``score``; NaN where there is nothing to compare."""
    label, stderr = table.diffusivity.to_numpy(float), table.stderr.to_numpy(float)
    exact = table.exact.to_numpy(float)
    walked = (table.method == "kmc").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        # A lattice that does not conduct has D = 0 and no error: in agreement if both say so.
        agreed = label == exact
        deviation = np.where(agreed, 0.0, (label - exact) / np.maximum(label, exact))
        z = np.where(agreed, 0.0, (label - exact) / stderr)
    z = np.where(walked & np.isfinite(exact), z, np.nan)
    score = normal_scores(z, table.walkers.to_numpy())
    return table.assign(deviation=deviation, z=z, score=score)
