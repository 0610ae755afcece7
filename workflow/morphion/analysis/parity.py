"""Parity plots: predicted against labelled diffusivity (figures 3, 7 and 8)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from morphion.analysis import style
from morphion.analysis.predictions import read_predictions, scored
from morphion.errors import MorphionError
from morphion.surrogates.metrics import mape, mse, pearson

_ERROR_BARS = 400  # more points than this hide each other's error bars


def figure3(predictions: Path, output: Path) -> None:
    """Training and test set of the first network; predictions of round 0 on data set 0."""
    table = read_predictions(predictions)
    panels = {
        "training set": scored(table, split="train"),
        "test set": scored(table, split="test"),
    }
    parity_figure(panels, output)


def figure7(predictions: Path, evaluation: Path, output: Path) -> None:
    """Training and test set of the retrained network, and what its own annealing evaluated."""
    table = read_predictions(predictions)
    panels = {
        "training set": scored(table, split="train"),
        "test set": scored(table, split="test"),
        "annealed with the retrained network": scored(read_predictions(evaluation)),
    }
    parity_figure(panels, output)


def figure8(loadings: Mapping[float, Path], output: Path) -> None:
    """The last network at other volume fractions; volume fraction -> predictions."""
    panels = {
        f"{100 * fraction:g} % loading": scored(read_predictions(path))
        for fraction, path in loadings.items()
    }
    parity_figure(panels, output)


def parity_figure(panels: Mapping[str, pd.DataFrame], output: Path) -> None:
    """One parity plot to each table of scored predictions, on one scale; title -> table."""
    if not panels or all(table.empty for table in panels.values()):
        raise MorphionError(f"{output}: no structure with a converged label to show")
    limits = parity_limits(pd.concat(panels.values()))
    width = 3.15 * len(panels) + 0.25
    with style.figure(output, 1, len(panels), width, 3.75) as (drawn, axes):
        for letter, panel, (title, table) in zip("abcdefgh", axes[0], panels.items(), strict=False):
            style.letter(panel, letter, title)
            parity_panel(panel, table, limits)
        family_legend(drawn, pd.concat(panels.values()).family)


def parity_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Range of both axes that shows every label and prediction and starts at 0 if near it."""
    values = np.concatenate((table.label, table.prediction))
    low, high = values.min(), values.max()
    margin = 0.04 * max(high - low, 1e-3)
    return (0.0 if 0 <= low < 0.35 * high else low - margin), high + margin


def parity_panel(axes: Axes, table: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Points of each family, label error bars if they can be seen, the diagonal and the scores."""
    axes.set(xlim=limits, ylim=limits, xlabel="labelled $D$*", ylabel="predicted $D$*")
    axes.set_aspect("equal")
    axes.plot(limits, limits, color=style.INK, lw=0.9, ls=(0, (5, 3)), zorder=1)
    if table.empty:
        style.empty(axes)
        return
    if len(table) <= _ERROR_BARS:
        axes.errorbar(
            table.label,
            table.prediction,
            xerr=table.label_stderr,
            fmt="none",
            ecolor=style.GREY,
            elinewidth=0.6,
            alpha=0.6,
            zorder=2,
        )
    # One call with the families mixed: none lies wholly on top of another.
    colours = [style.family_of(family)[0] for family in table.family]
    axes.scatter(table.label, table.prediction, c=colours, zorder=3, **style.dots(len(table)))
    style.below_title(axes, f"{scores_text(table)}, $n$ = {len(table)}")


def scores_text(table: pd.DataFrame) -> str:
    """R, MSE and MAPE in a line; R needs two structures."""
    label, prediction = table.label.to_numpy(), table.prediction.to_numpy()
    lines = [f"$R$ = {pearson(label, prediction):.3f}"] if len(table) > 1 else []
    lines.append(f"MSE = {scientific(mse(label, prediction))}")
    lines.append(f"MAPE = {mape(label, prediction):.2f} %")
    return ", ".join(lines)


def scientific(value: float) -> str:
    """As 3.61 x 10^-2, in mathtext."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    exponent = int(np.floor(np.log10(abs(value))))
    return rf"{value / 10**exponent:.2f}$\times10^{{{exponent}}}$"


def family_legend(drawn: Figure, families: pd.Series) -> None:
    """Below the panels, the families that occur."""
    handles = family_handles(families)
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(style.FAMILIES))


def family_handles(families: pd.Series) -> list[Line2D]:
    """Legend entries of the families that occur, in the order of the table of families."""
    present = set(families)
    ordered = [name for name in style.FAMILIES if name in present]
    ordered += sorted(present - set(ordered))
    return [
        Line2D([], [], ls="none", marker="o", ms=5, mec="none", mfc=colour, label=name)
        for colour, name in map(style.family_of, ordered)
    ]
