"""The look that all figures share, and their writing as PNG and SVG."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morphion.files import atomic_file
from morphion.progress import log

# Okabe and Ito's palette, told apart with every common colour vision (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE = "#CC79A7"
INK, GREY, PALE = "#22252b", "#8a8f98", "#e4e6ea"

FAMILIES = {
    "rsa": (GREY, "plain RSA"),
    "chain": (BLUE, "chain"),
    "gapped": (ORANGE, "gapped"),
    "maximised": (VERMILION, "maximised"),
    "minimised": (GREEN, "minimised"),
}

_RC = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib: the same on every machine
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handletextpad": 0.5,
    "lines.linewidth": 1.4,
    "figure.dpi": 100,
    "savefig.facecolor": "white",
    "svg.hashsalt": "morphion",  # the same figure gives the same file
}


@contextmanager
def figure(
    output: Path, rows: int, columns: int, width: float, height: float, **subplots
) -> Iterator[tuple[Figure, np.ndarray]]:
    """Yield a figure and its axes [rows, columns]; write it as PNG (200 dpi) and SVG at the end.

    ``output`` is the PNG's path, the SVG gets its name; ``width`` and ``height`` in inches.
    """
    with plt.rc_context(_RC):
        drawn, axes = plt.subplots(
            rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **subplots
        )
        try:
            yield drawn, axes
            _save(drawn, Path(output))
        finally:
            plt.close(drawn)


def _save(drawn: Figure, output: Path) -> None:
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": "morphion"})):
        with atomic_file(output.with_suffix(suffix)) as scratch:
            drawn.savefig(scratch, dpi=200, metadata=metadata)
    log(f"{output}: written, with {output.with_suffix('.svg').name}")


def letter(axes: Axes, which: str, title: str = "") -> None:
    """Panel letter, as (a), and title above the axes."""
    axes.set_title(f"({which})  {title}".rstrip())


def below_title(axes: Axes, text: str) -> None:
    """A small line between the title and the axes, where it hides no data."""
    axes.set_title(axes.get_title(loc="left"), pad=18)
    line = axes.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=6.6,
        color=GREY,
    )
    # A line wider than a narrow panel must not make the panel narrower still.
    line.set_in_layout(False)


def note(axes: Axes, text: str, corner: str = "upper left", **style) -> None:
    """Small text in a corner of the axes, on a veil that keeps it legible over data."""
    vertical, horizontal = corner.split()
    x, y = {"left": 0.035, "right": 0.965}[horizontal], {"upper": 0.965, "lower": 0.035}[vertical]
    axes.text(
        x,
        y,
        text,
        transform=axes.transAxes,
        ha=horizontal,
        va={"upper": "top", "lower": "bottom"}[vertical],
        **{"fontsize": 8, "linespacing": 1.35, "zorder": 5} | style,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 2},
    )


def empty(axes: Axes, text: str = "no structures") -> None:
    """Say that a panel has nothing to show, as small runs can have it."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def dots(count: int) -> dict:
    """Marker size and opacity that keep from ten to ten thousand points readable."""
    size = float(np.clip(260 / np.sqrt(max(count, 1)), 4, 22))
    return {
        "s": size,
        "alpha": float(np.clip(30 / np.sqrt(max(count, 1)), 0.25, 0.85)),
        "linewidths": 0,
        "rasterized": count > 1500,
    }


def looks() -> Iterator[tuple[str, str]]:
    """Marker and colour of one network after another."""
    colours = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, INK)
    return itertools.cycle(itertools.product(("o", "s", "^"), colours))


def family_of(name: str) -> tuple[str, str]:
    """Colour and plain name of a structure family."""
    return FAMILIES.get(name, (PURPLE, name))
