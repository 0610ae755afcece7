"""Principal components of g(r) against the diffusivity (figure 10)."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from morphion import store
from morphion.analysis import style
from morphion.analysis.parity import family_legend
from morphion.config import Config
from morphion.errors import StoreError


def figure10(descriptors: Path, pca: Path, config: Config, output: Path) -> None:
    """PC1 and PC2 against D*, the weights of PC1, and g(r) of the extreme structures."""
    described = store.load(descriptors, kind="descriptors")
    components = store.load(pca, kind="pca")
    used = components.source.values
    if len(used) == 0 or used.max() >= described.sizes["structure"]:
        raise StoreError(f"{pca}: not the principal components of {descriptors}")
    described = described.isel(structure=used)
    with style.figure(output, 2, 2, 7.6, 6.6) as (drawn, axes):
        for panel, which in zip(axes[0], range(2), strict=True):
            style.letter(panel, "ab"[which])
            if which < components.sizes["component"]:
                _scatter(panel, described, components, which)
            else:
                style.empty(panel, "one component only")
        _weights(axes[1, 0], components, described.attrs["diameter"])
        style.letter(axes[1, 0], "c")
        _extremes(axes[1, 1], described, config.analysis.extreme_fraction)
        style.letter(axes[1, 1], "d")
        family_legend(drawn, pd.Series(described.family.values))


def _scatter(axes: Axes, described: xr.Dataset, components: xr.Dataset, which: int) -> None:
    scores, star = components.scores.values[:, which], components.diffusivity_star.values
    colours = [style.family_of(family)[0] for family in described.family.values]
    axes.scatter(scores, star, c=colours, **style.dots(len(star)))
    axes.set(xlabel=f"PC$_{which + 1}$", ylabel="labelled $D$*", ylim=(0, 1.18 * star.max()))
    share = float(components.explained_variance_ratio[which])
    correlation, low, high = (
        float(components[f"correlation{limit}"][which]) for limit in ("", "_low", "_high")
    )
    text = f"$R$ = {correlation:.3f} [{low:.3f}, {high:.3f}], {100 * share:.1f} % of the variance"
    style.note(axes, text.replace("-", "\N{MINUS SIGN}"), "upper left", fontsize=7.5)


def _weights(axes: Axes, components: xr.Dataset, diameter: float) -> None:
    r, weights = components.r.values, components.weights.values[0]
    axes.axhline(0, color=style.INK, lw=0.8)
    colours = np.where(weights < 0, style.BLUE, style.VERMILION)
    axes.bar(r, weights, 0.8, color=colours, zorder=2)
    _contact(axes, diameter)
    axes.set(xlabel="$r$ (voxels)", ylabel="weight of $g(r)$ in PC$_1$", xlim=(-1, r[-1] + 1))
    largest = np.abs(weights).max()
    axes.set_ylim(1.3 * min(weights.min(), -0.15 * largest), 1.3 * max(weights.max(), 0))
    style.note(axes, "more of it: lower $D$*", "upper right", color=style.VERMILION)
    style.note(axes, "more of it: higher $D$*", "lower right", color=style.BLUE)


def _extremes(axes: Axes, described: xr.Dataset, fraction: float) -> None:
    """Mean g(r) of both extremes, with the band that holds the middle half of the structures."""
    star, g, r = described.diffusivity_star.values, described.g.values, described.r.values
    order = np.argsort(star, kind="stable")
    count = max(1, round(fraction * len(order)))
    axes.axhline(1, color=style.GREY, lw=0.8, ls=(0, (2, 2)))
    for chosen, colour, name in (
        (order[-count:], style.BLUE, "highest"),
        (order[:count], style.VERMILION, "lowest"),
    ):
        low, high = np.quantile(g[chosen], (0.25, 0.75), axis=0)
        axes.fill_between(r, low, high, color=colour, alpha=0.18, lw=0)
        label = f"{name} {100 * fraction:g} % of $D$"
        axes.plot(r, g[chosen].mean(axis=0), color=colour, label=label, marker="o", ms=2.6)
    _contact(axes, described.attrs["diameter"])
    axes.set(xlabel="$r$ (voxels)", ylabel="$g(r)$", xlim=(-1, r[-1] + 1), ylim=(0, None))
    axes.legend(loc="upper right")


def _contact(axes: Axes, diameter: float) -> None:
    axes.axvline(diameter, color=style.GREY, lw=0.8, ls=(0, (2, 2)), zorder=1)
    axes.annotate(
        r"$\sigma$",
        (diameter, 0.94),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 0),
        textcoords="offset points",
        ha="right",
        color=style.GREY,
    )
