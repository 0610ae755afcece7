"""Prediction tables: reading them and choosing what a table or figure shows."""

from pathlib import Path

import pandas as pd

from morphion.errors import SurrogateError

COLUMNS = (
    "structure",
    "round",
    "family",
    "group",
    "split",
    "label",
    "label_stderr",
    "prediction",
    "spread",
    "converged",
)


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Table of predictions beside labels, both in D*; one row to a structure.

    Raises SurrogateError if the file is missing, is no such table or has no rows.
    """
    try:
        table = pd.read_csv(path, dtype={"family": str, "group": str, "split": str})
    except (OSError, ValueError) as error:  # pandas' parser and decoding errors are ValueErrors
        reason = " ".join(str(error).split())
        raise SurrogateError(
            f"{path}: cannot be read as a table of predictions ({reason})"
        ) from error
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise SurrogateError(f"{path}: no column {missing[0]!r}; expected {', '.join(COLUMNS)}")
    if table.empty:
        raise SurrogateError(f"{path}: a table of predictions without rows")
    return table


def scored(
    table: pd.DataFrame, *, split: str | None = None, round_: int | None = None
) -> pd.DataFrame:
    """Rows whose label converged to a positive diffusivity, of one split or round if given."""
    rows = table.converged.astype(bool) & (table.label > 0)
    if split is not None:
        rows &= table.split == split
    if round_ is not None:
        rows &= table["round"] == round_
    return table[rows]
