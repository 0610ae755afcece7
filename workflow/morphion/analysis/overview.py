"""Figures of the run itself: accuracies, labels, training (figure 5 and two of our own)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from morphion import store
from morphion.analysis import style
from morphion.analysis.parity import family_legend
from morphion.analysis.tables import METRICS, read_table
from morphion.errors import MorphionError, StoreError


def figure5(table: Path, output: Path) -> None:
    """MSE and MAPE of every network on training and test set, from a ``networks_table``."""
    rows = read_table(table, ("network", "split", *METRICS))
    networks = list(dict.fromkeys(rows.network))
    with style.figure(output, 1, 2, 3.0 + 1.5 * len(networks), 3.5) as (_, axes):
        for panel, letter, split in zip(axes[0], "ab", ("train", "test"), strict=True):
            style.letter(panel, letter, {"train": "training set", "test": "test set"}[split])
            part = rows[rows.split == split].set_index("network").reindex(networks)
            if part.mse.notna().any():
                _bars(panel, part)
            else:
                style.empty(panel)


def _bars(axes: Axes, part: pd.DataFrame) -> None:
    """MSE on the left axis, MAPE on the right one, with their bootstrap intervals."""
    right = axes.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    places = np.arange(len(part))
    for side, offset, metric, colour in (
        (axes, -0.2, "mse", style.BLUE),
        (right, 0.2, "mape", style.ORANGE),
    ):
        values = part[metric].to_numpy()
        reach = np.stack([values - part[f"{metric}_low"], part[f"{metric}_high"] - values])
        side.bar(places + offset, values, 0.36, color=colour, zorder=2)
        side.errorbar(
            places + offset,
            values,
            yerr=np.clip(np.nan_to_num(reach), 0, None),
            fmt="none",
            ecolor=style.INK,
            elinewidth=0.9,
            capsize=2.5,
        )
        side.set_ylim(0, 1.08 * np.nanmax(part[f"{metric}_high"].fillna(part[metric])))
        side.tick_params(axis="y", colors=colour)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.set_ylabel("MSE", color=style.BLUE)
    right.set_ylabel("MAPE (%)", color=style.ORANGE)
    axes.set_xticks(places, [name.replace("_", "\n") for name in part.index])
    axes.grid(axis="x", visible=False)
    axes.set_xlim(-0.6, len(part) - 0.4)


def structures_figure(dataset: Path, output: Path) -> None:
    """Labels of each family and round, and the relative errors of the labels."""
    names = ("family", "round", "diffusivity", "stderr", "converged")
    data = store.load(dataset, kind="dataset", names=names)
    if not data.converged.values.any():
        raise StoreError(f"{dataset}: no converged label to show")
    data = data.isel(structure=np.flatnonzero(data.converged.values))
    with style.figure(output, 1, 3, 10.2, 3.5) as (drawn, axes):
        star = data.diffusivity.values / data.attrs["reference_diffusivity"]
        _histogram(axes[0, 0], data, star)
        style.letter(axes[0, 0], "a", "labels by family")
        style.letter(axes[0, 1], "b", "labels by round")
        _rounds(axes[0, 1], data, star)
        _errors(axes[0, 2], data, star)
        style.letter(axes[0, 2], "c", "standard errors of the labels")
        family_legend(drawn, pd.Series(data.family.values))


def _present(data: xr.Dataset) -> list[str]:
    present = set(data.family.values)
    known = [name for name in style.FAMILIES if name in present]
    return known + sorted(present - set(known))


def _histogram(axes: Axes, data: xr.Dataset, star: np.ndarray) -> None:
    families = _present(data)
    bins = np.linspace(0, star.max() * 1.02, int(np.clip(2 * np.sqrt(len(star)), 12, 60)))
    axes.hist(
        [star[data.family.values == name] for name in families],
        bins,
        stacked=True,
        color=[style.family_of(name)[0] for name in families],
        edgecolor="white",
        linewidth=0.3,
    )
    axes.set(xlabel="labelled $D$*", ylabel="structures", xlim=(0, bins[-1]))
    axes.grid(axis="x", visible=False)


def _rounds(axes: Axes, data: xr.Dataset, star: np.ndarray) -> None:
    """Labels of each round, spread sideways by rank so that dense ranges show as wide."""
    rounds, families = data["round"].values, data.family.values
    for round_ in np.unique(rounds):
        here = np.flatnonzero(rounds == round_)
        # The golden ratio's multiples fill the width evenly and need no random numbers.
        sideways = (np.arange(len(here)) * 0.6180339887498949) % 1 - 0.5
        order = here[np.argsort(star[here], kind="stable")]
        axes.scatter(
            round_ + 0.62 * sideways,
            star[order],
            c=[style.family_of(name)[0] for name in families[order]],
            **style.dots(len(here)),
        )
    axes.axhline(1, color=style.INK, lw=0.9, ls=(0, (5, 3)))
    axes.set(xlabel="round", ylabel="labelled $D$*", ylim=(0, None))
    axes.set_xticks(np.unique(rounds))
    axes.set_xlim(rounds.min() - 0.6, rounds.max() + 0.6)
    axes.grid(axis="x", visible=False)
    style.below_title(axes, f"largest $D$* = {star.max():.3f}")


def _errors(axes: Axes, data: xr.Dataset, star: np.ndarray) -> None:
    relative = 100 * data.stderr.values / data.diffusivity.values
    colours = [style.family_of(name)[0] for name in data.family.values]
    axes.scatter(star, relative, c=colours, **style.dots(len(star)))
    axes.set(xlabel="labelled $D$*", ylabel="standard error / $D$ (%)", xlim=(0, None))
    axes.set_ylim(0, max(1.25 * relative.max(), 1e-3))
    style.note(axes, f"median {np.median(relative):.2f} %", "upper right")


def learning_curves(table: Path, output: Path) -> None:
    """MAPE on the test set against structures trained on, from a ``learning_curve_table``."""
    rows = read_table(table, ("network", "training_structures", *METRICS))
    with style.figure(output, 1, 1, 5.6, 4.2) as (_, axes):
        panel = axes[0, 0]
        groups = rows.groupby("network", sort=False)
        for (name, group), (marker, colour) in zip(groups, style.looks(), strict=False):
            reach = np.stack([group.mape - group.mape_low, group.mape_high - group.mape])
            panel.errorbar(
                group.training_structures,
                group.mape,
                yerr=np.clip(np.nan_to_num(reach), 0, None),
                color=colour,
                marker=marker,
                ms=4,
                capsize=2,
                label=str(name),
            )
        panel.set(xscale="log", yscale="log")
        panel.set(xlabel="structures trained on", ylabel="MAPE on the test set (%)")
        sizes = np.unique(rows.training_structures)
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def training_figure(histories: Mapping[str, Path], output: Path) -> None:
    """Training and validation loss of every epoch; name of the network -> its history.csv."""
    if not histories:
        raise MorphionError(f"{output}: no training history to show")
    columns = min(3, len(histories))
    rows = -(-len(histories) // columns)
    with style.figure(
        output, rows, columns, 0.6 + 3.2 * columns, 0.5 + 2.5 * rows, sharey=True
    ) as (_, axes):
        for panel in axes.flat[len(histories) :]:
            panel.remove()
        for panel, (name, path) in zip(axes.flat, histories.items(), strict=False):
            _history(panel, path)
            panel.set_title(name)
        for panel in axes[:, 0]:
            panel.set_ylabel("loss")
        axes[0, 0].legend(loc="upper right")


def _history(axes: Axes, path: Path) -> None:
    columns = ("epoch", "train_loss", "validation_loss")
    history = read_table(path, columns, may_be_empty=True)
    if history.empty:
        style.empty(axes, "not trained in epochs")
        return
    marker = "o" if len(history) < 20 else None
    for column, colour, label in (
        ("train_loss", style.BLUE, "training"),
        ("validation_loss", style.VERMILION, "validation"),
    ):
        shown = history.dropna(subset=[column])  # not every epoch need be validated
        axes.plot(shown.epoch, shown[column], color=colour, label=label, marker=marker, ms=3)
    if history.validation_loss.notna().any():
        best = history.loc[history.validation_loss.idxmin()]
        axes.plot(
            best.epoch,
            best.validation_loss,
            "o",
            ms=7,
            mfc="none",
            mec=style.INK,
            label="kept",
            zorder=4,
        )
    axes.set(xlabel="epoch", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
