"""Pictures of the structures with the largest and the smallest diffusivity (figure 9)."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from morphion import store
from morphion.analysis import style
from morphion.analysis.extremes import LARGEST, SMALLEST, read_extremes
from morphion.analysis.render import Camera, Scene, render
from morphion.config import Config
from morphion.structures.descriptors import clusters, percolates
from morphion.structures.geometry import separations, wrap

_PIXELS = 900
# Clusters by size; those that remain share the last colour, and single particles are grey.
_CLUSTERS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#9C2A4A", "#B5A512", "#7A5195"),
    *("#2F9E9E", "#A05A2C", "#6B8E23", "#8C8CD9"),
)
_SINGLE = "#c9ccd1"
_BOX = "#3a3f47"


def figure9(dataset: Path, extremes: Path, config: Config, output: Path) -> None:
    """Draw the structures of maximum and minimum diffusivity, one colour to a cluster.

    ``extremes``: the table of those solved exactly (``extremes_table``).
    """
    data = store.load(dataset, kind="dataset", names=("positions",))
    reference = data.attrs["reference_diffusivity"]
    box_length, diameter = data.attrs["box_length"], data.attrs["diameter"]
    cutoff = config.analysis.cluster_distance
    shown = (("maximum", LARGEST), ("minimum", SMALLEST))
    with style.figure(output, 1, 2, 9.0, 5.0) as (_, axes):
        for panel, letter, (name, extreme) in zip(axes[0], "ab", shown, strict=True):
            found = read_extremes(extremes, extreme)
            positions = data.positions.values[found.structure]
            panel.imshow(picture(positions, box_length, diameter, cutoff, _PIXELS))
            panel.set_axis_off()
            style.letter(panel, letter, f"{name}: $D$* = {found.exact / reference:.3f}")
            origin = f"{style.family_of(found.family)[1]}, round {found['round']}"
            text = f"{origin}; {_connections(positions, box_length, cutoff)}"
            panel.text(
                0.5, -0.02, text, transform=panel.transAxes, ha="center", va="top", fontsize=8
            )


def picture(
    positions: np.ndarray, box_length: float, diameter: float, cutoff: float, pixels: int
) -> np.ndarray:
    """A structure in its periodic box, uint8 [pixels, pixels, 3].

    Particles of ``positions`` [N, 3] closer than ``cutoff`` are joined by rods and share a colour;
    a rod to a neighbour through the boundary ends halfway, outside the box.
    """
    positions = wrap(np.asarray(positions, dtype=np.float64), box_length)
    colours = _cluster_colours(clusters(positions, box_length, cutoff))
    difference = separations(positions[:, np.newaxis], positions[np.newaxis], box_length)
    distance = np.linalg.norm(difference, axis=2)
    first, second = np.nonzero((distance < cutoff) & (distance > 0))
    corners = box_length * np.array(list(itertools.product((0, 1), repeat=3)), dtype=np.float64)
    edges = [(a, b) for a, b in itertools.combinations(corners, 2) if np.count_nonzero(a != b) == 1]
    edge_starts, edge_ends = (np.array(side) for side in zip(*edges, strict=True))
    scene = Scene(
        centres=positions,
        radii=np.full(len(positions), diameter / 2),
        colours=colours,
        starts=np.concatenate([positions[first], edge_starts]),
        ends=np.concatenate([positions[first] + difference[first, second] / 2, edge_ends]),
        rod_radii=np.repeat([0.09 * diameter, 0.004 * box_length], [len(first), len(edges)]),
        rod_colours=np.concatenate([0.8 * colours[first], [to_rgb(_BOX)] * len(edges)]),
    )
    centre = np.full(3, box_length / 2)
    # A little off the centre, about which perspective does not spread the box evenly.
    target = centre - box_length * np.array([0.03, 0.012, 0.035])
    camera = Camera(position=centre + box_length * np.array([1.35, -3.3, 1.25]), target=target)
    return render(scene, camera, pixels, supersampling=2)


def _cluster_colours(labels: np.ndarray) -> np.ndarray:
    """RGB of every particle [N, 3]: the largest cluster has the first colour."""
    sizes = np.bincount(labels)
    rank = np.empty(len(sizes), dtype=int)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    palette = np.array([to_rgb(colour) for colour in _CLUSTERS])
    colours = palette[np.minimum(rank, len(palette) - 1)]
    colours[sizes == 1] = to_rgb(_SINGLE)
    return colours[labels]


def _connections(positions: np.ndarray, box_length: float, cutoff: float) -> str:
    labels = clusters(positions, box_length, cutoff)
    axes = [
        a
        for a, winds in zip("xyz", percolates(positions, box_length, cutoff), strict=True)
        if winds
    ]
    along = f"percolates along {', '.join(axes)}" if axes else "does not percolate"
    largest = np.bincount(labels).max()
    count = int(labels.max()) + 1
    return f"{count} cluster{'s' * (count > 1)}, largest {largest} of {len(labels)}; {along}"
