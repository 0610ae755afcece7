"""Labels beside the exact solution: a table of the verdicts and the figure of z."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import norm

from morphion.analysis import style
from morphion.analysis.parity import family_legend
from morphion.errors import MorphionError
from morphion.files import atomic_file
from morphion.progress import log
from morphion.verdict import Decision, read_measured

_WIDTH = 0.5  # of a bin of the histogram, in z
_REACH = 5.0  # |z| beyond which a structure is drawn at the edge
_COLOURS = {"pass": style.GREEN, "fail": style.VERMILION, "untested": style.GREY}


def verdict_table(decisions: Mapping[str, Path], output: Path) -> None:
    """Write the verdict on every set of labels; set -> its decision."""
    if not decisions:
        raise MorphionError(f"{output}: the table of verdicts needs at least one set")
    rows = [_row(Decision.read(path)) for path in decisions.values()]
    table = pd.DataFrame(rows)
    with atomic_file(output) as scratch:
        table.to_csv(scratch, index=False, float_format="%.6g")
    log(f"{output}: {len(table)} rows")


def _row(decision: Decision) -> dict:
    row = {
        "set": decision.set,
        "verdict": _spelled(decision.verdict),
        "method": decision.method,
        "tested": decision.tested,
        "flagged": decision.flagged,
    }
    for check in decision.checks:
        row[check.name] = check.value
        row[f"{check.name}_limits"] = f"{check.low:.3g} to {check.high:.3g}"
    return row | {"failed": "; ".join(decision.reasons()), "farthest": ", ".join(decision.worst)}


def _spelled(verdict: str) -> str:
    return verdict.upper() if verdict == "fail" else verdict


def verdict_figure(
    decisions: Mapping[str, Path], measured: Mapping[str, Sequence[Path]], output: Path
) -> None:
    """Distribution of z over all sets beside the normal one, and z of each set with its verdict.

    ``decisions`` and ``measured``: set -> its decision, and the tables of its shards.
    """
    if not decisions:
        raise MorphionError(f"{output}: the figure of verdicts needs at least one set")
    tables = {name: read_measured(paths) for name, paths in measured.items()}
    tables = {name: table[table.score.notna()] for name, table in tables.items()}
    everything = pd.concat(tables.values())
    height = 2.6 + 0.3 * max(len(decisions) - 3, 0)
    with style.figure(output, 1, 2, 8.6, height, width_ratios=(1, 1.45)) as (drawn, axes):
        left, right = axes[0]
        style.letter(left, "a", "all sets")
        style.letter(right, "b", "each set, with the limits of single $z$ and of their mean")
        _histogram(left, everything)
        for place, (name, path) in enumerate(decisions.items()):
            _strip(right, place, tables[name], Decision.read(path))
        right.set(xlabel="$z$", xlim=(-_REACH - 0.4, _REACH + 0.4))
        right.set_yticks(range(len(decisions)), list(decisions))
        right.set_ylim(len(decisions) - 0.5, -0.5)
        right.grid(axis="y", visible=False)
        if len(everything):
            family_legend(drawn, everything.family)


def _histogram(axes: Axes, table: pd.DataFrame) -> None:
    if table.empty:
        style.empty(axes, "no structure tested")
        return
    families = [name for name in style.FAMILIES if (table.family == name).any()]
    families += sorted(set(table.family) - set(families))
    bins = np.arange(-_REACH, _REACH + _WIDTH / 2, _WIDTH)
    axes.hist(
        [table.score[table.family == name].clip(-_REACH, _REACH) for name in families],
        bins,
        stacked=True,
        color=[style.family_of(name)[0] for name in families],
        edgecolor="white",
        linewidth=0.3,
    )
    z = np.linspace(-_REACH, _REACH, 201)
    axes.plot(z, len(table) * _WIDTH * norm.pdf(z), color=style.INK, lw=1.2)
    axes.set(xlabel="$z$", ylabel="structures", xlim=(-_REACH, _REACH))
    axes.grid(axis="x", visible=False)
    scores = table.score
    spread = f", standard deviation {scores.std():.2f}" if len(scores) > 1 else ""
    style.below_title(axes, f"$n$ = {len(scores)}, mean {scores.mean():.2f}{spread}")


def _strip(axes: Axes, place: int, table: pd.DataFrame, decision: Decision) -> None:
    """A row of z and their mean within the limits of both, and the verdict at its right end."""
    # The golden ratio's multiples fill the height evenly and need no random numbers.
    aside = (np.arange(len(table)) * 0.6180339887498949) % 1 - 0.5
    axes.scatter(
        table.score.clip(-_REACH, _REACH),
        place + 0.5 * aside,
        c=[style.family_of(name)[0] for name in table.family],
        zorder=3,
        **style.dots(len(table)),
    )
    checks = {check.name: check for check in decision.checks}
    if "largest_z" in checks:
        limit = checks["largest_z"].high
        axes.vlines([-limit, limit], place - 0.36, place + 0.36, color=style.INK, lw=0.9)
        mean = checks["mean_z"]
        axes.barh(place, mean.high - mean.low, 0.72, left=mean.low, color=style.PALE, zorder=0)
        value = np.clip(mean.value, -_REACH, _REACH)
        axes.vlines(value, place - 0.36, place + 0.36, color=style.INK, lw=2.4, zorder=2)
    axes.annotate(
        _spelled(decision.verdict),
        (1.02, place),
        xycoords=("axes fraction", "data"),
        va="center",
        color=_COLOURS[decision.verdict],
        weight="bold",
    )
