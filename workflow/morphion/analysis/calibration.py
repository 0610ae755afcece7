"""Whether spreads are as wide as errors: of every network, and structure by structure."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy.special import ndtri

from morphion.analysis import style
from morphion.analysis.parity import family_legend
from morphion.analysis.predictions import read_predictions, scored
from morphion.errors import MorphionError

_CLAIMED = np.linspace(0.05, 0.95, 19)
_FEWEST = 10  # below, a share says next to nothing


def calibration_figure(
    networks: Mapping[str, Path], driver: Path, evaluation: Path, output: Path
) -> None:
    """Shares of labels within intervals against what these claim, and errors against spreads.

    ``networks``: predictions of the first data set, whose test set counts; ``driver``: those of the
    network that drove the first annealing, ``evaluation``: of the last one for the sample of its
    own annealing.
    """
    tested = {name: scored(read_predictions(path), split="test") for name, path in networks.items()}
    panels = {
        "test set": scored(read_predictions(driver), split="test"),
        "annealed with the retrained network": scored(read_predictions(evaluation)),
    }
    if not tested or all(table.empty for table in (*tested.values(), *panels.values())):
        raise MorphionError(f"{output}: no structure with a converged label to show")
    with style.figure(output, 1, 3, 10.6, 3.9) as (drawn, axes):
        style.letter(axes[0, 0], "a", "every network, test set")
        _reliability(axes[0, 0], tested)
        limits = _limits(pd.concat(panels.values()))
        for letter, panel, (title, table) in zip("bc", axes[0, 1:], panels.items(), strict=True):
            style.letter(panel, letter, title)
            _errors(panel, table, limits)
        family_legend(drawn, pd.concat(panels.values()).family)


def _reliability(axes: Axes, tested: Mapping[str, pd.DataFrame]) -> None:
    """Observed against claimed shares, a line to each network."""
    axes.plot((0, 100), (0, 100), color=style.INK, lw=0.9, ls=(0, (5, 3)), zorder=1)
    half_widths = ndtri(0.5 + _CLAIMED / 2)
    for (name, table), (marker, colour) in zip(tested.items(), style.looks(), strict=False):
        if len(table) < _FEWEST:
            continue
        distance = (table.prediction - table.label).abs().to_numpy() / table.spread.to_numpy()
        observed = np.mean(distance[:, None] <= half_widths, axis=0)
        look = {"color": colour, "marker": marker, "ms": 3.5, "lw": 1.1, "markevery": 3}
        axes.plot(100 * _CLAIMED, 100 * observed, label=name, **look)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axes.set(xlabel="claimed (%)", ylabel="labels within (%)")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left", fontsize=6.6, handlelength=1.6, labelspacing=0.25)
    else:
        style.empty(axes, f"fewer than {_FEWEST} structures")


def _limits(table: pd.DataFrame) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of spreads and of errors in percent; the smallest errors lie below the axis."""
    spread = 100 * table.spread / table.prediction
    error = 100 * (1 - table.label / table.prediction).abs()
    high = 1.6 * max(error.max(), 2 * spread.max(), 1e-6)
    return (spread.min() / 1.3, spread.max() * 1.3), (spread.min() / 50, high)


def _errors(
    axes: Axes, table: pd.DataFrame, limits: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    """Error of each structure against its spread; below the lines belong 68 and 95 % of them."""
    axes.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
    axes.set(xlabel="spread / prediction (%)", ylabel="|error| / prediction (%)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if axis is axes.xaxis else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    if table.empty:
        style.empty(axes)
        return
    ends = np.array(limits[0])
    for factor, line in ((1, (0, (5, 3))), (1.96, (0, (1, 2)))):
        axes.plot(ends, factor * ends, color=style.INK, lw=0.9, ls=line, zorder=1)
    colours = [style.family_of(family)[0] for family in table.family]
    axes.scatter(
        100 * table.spread / table.prediction,
        100 * (1 - table.label / table.prediction).abs(),
        c=colours,
        zorder=3,
        **style.dots(len(table)),
    )
    distance = (table.prediction - table.label).abs() / table.spread
    within = (100 * float(np.mean(distance <= factor)) for factor in (1, 1.96))
    style.below_title(axes, "within: {:.0f}, {:.0f} % of $n$ = {}".format(*within, len(table)))
