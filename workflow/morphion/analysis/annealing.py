"""Traces of the annealing and how well its structures were predicted (figure 6)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from morphion import store
from morphion.analysis import style
from morphion.analysis.parity import family_handles, parity_limits, parity_panel
from morphion.analysis.predictions import read_predictions, scored
from morphion.errors import MorphionError

_LINE = {"maximise": style.VERMILION, "minimise": style.GREEN}


def figure6(
    maximise: Sequence[Path], minimise: Sequence[Path], predictions: Path, output: Path
) -> None:
    """Prediction and acceptance at each cycle of all runs, and the first network's parity.

    ``maximise``, ``minimise``: annealing stores of round 0; ``predictions``: round 0's network on
    data set 1, of which the structures that joined in round 1 are shown.
    """
    stores = {"maximise": maximise, "minimise": minimise}
    for objective, paths in stores.items():
        if not paths:
            raise MorphionError(f"{output}: no annealing store of the objective {objective!r}")
    selected = scored(read_predictions(predictions), round_=1)
    with style.figure(output, 2, 3, 10.2, 5.4, gridspec_kw={"width_ratios": [1, 1, 1.45]}) as (
        drawn,
        axes,
    ):
        for row, (objective, paths) in enumerate(stores.items()):
            runs = [store.load(path, kind="anneal", names=_TRACES) for path in paths]
            _trace(axes[row, 0], runs, "prediction", _LINE[objective])
            _trace(axes[row, 1], runs, "acceptance", _LINE[objective])
            style.letter(axes[row, 0], "ac"[row], objective)
            style.letter(axes[row, 1], "bd"[row], objective)
        axes[0, 2].remove()
        axes[1, 2].remove()
        parity = drawn.add_subplot(axes[0, 2].get_gridspec()[:, 2])
        style.letter(parity, "e", "structures selected from these runs")
        parity_panel(parity, selected, _limits(selected))
        if not selected.empty:
            parity.legend(handles=family_handles(selected.family), loc="lower right", borderpad=2.2)


_TRACES = ("prediction", "acceptance", "temperature", "run")


def _limits(selected) -> tuple[float, float]:
    return parity_limits(selected) if not selected.empty else (0.0, 1.0)


def _trace(axes: Axes, stores: Sequence[xr.Dataset], name: str, colour: str) -> None:
    """Every run thin and pale, the first in full colour as the paper's example."""
    label = {"prediction": "predicted $D$*", "acceptance": "acceptance"}[name]
    axes.set(xlabel="annealing cycle", ylabel=label)
    values = np.concatenate([runs[name].values for runs in stores])
    cycles = np.arange(1, values.shape[1] + 1)
    few = {"marker": "o", "ms": 3} if len(cycles) < 15 else {}
    for trace in values[1:]:
        axes.plot(cycles, trace, color=colour, lw=0.8, alpha=0.3, **few)
    axes.plot(cycles, values[0], color=colour, lw=1.8, **few)
    axes.set_xlim(0, cycles[-1] + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if name == "acceptance":
        axes.set_ylim(-0.03, 1.03)
    count = f"{len(values)} runs" if len(values) > 1 else "1 run"
    corner = "lower right" if name == "prediction" and values[0, -1] >= values[0, 0] else None
    style.note(axes, count, corner or "upper right", color=style.GREY)
