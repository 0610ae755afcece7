"""What the training set of a network held, and in what another structure differs from it.

A network and its spread are tested on structures like those it was trained on, and on no other.
Each quantity below is readable by itself, cheap beside a prediction, and its range over the
training set is kept in ``model.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from morphion.errors import SurrogateError
from morphion.structures.geometry import wrap
from morphion.transport.files import transport_differences

NEAR = 1.5  # sphere diameters; shells of the default transport model meet below 1.56
# Relative. Radii in files are often rounded to four digits, and a volume goes with their cube.
_ROUNDING = 3e-3


@dataclass(frozen=True)
class Quantity:
    """A number that describes a structure or its prediction; ``holder`` is what has the range."""

    name: str
    unit: str = ""
    holder: str = "training structures"


QUANTITIES = {
    "volume_fraction": Quantity("volume fraction"),
    "box_length": Quantity("box edge", "sphere diameters"),
    "nearest_distance": Quantity("mean distance to the nearest neighbour", "sphere diameters"),
    "nearest_deviation": Quantity("standard deviation of that distance", "sphere diameters"),
    "neighbours": Quantity(f"mean number of neighbours within {NEAR} sphere diameters"),
    "density_wave": Quantity("structure factor at 2 pi / L"),
    "diffusivity_star": Quantity("D*", holder="training labels"),
    "relative_spread": Quantity("spread over D*", holder="validation structures"),
}


def describe(positions: np.ndarray, box_length: float, diameter: float) -> dict[str, np.ndarray]:
    """Quantities of structures ``positions`` [B, N, 3], each float64 [B]; lengths share any unit.

    ===================  =======================================================================
    key                  meaning
    ===================  =======================================================================
    volume_fraction      N pi sigma^3 / (6 L^3)
    box_length           L / sigma
    nearest_distance     mean over particles of the nearest neighbour's distance / sigma;
                         crystals lie high, aggregates at 1
    nearest_deviation    standard deviation of that distance over the particles; 0 in a crystal
    neighbours           mean number of particles closer than 1.5 sigma; high in a compact cluster
    density_wave         |sum_j exp(2 pi i x_j / L)|^2 / N, mean over the three axes: 1 for an ideal
                         gas, up to N where all particles are in one place
    ===================  =======================================================================

    A single particle has no neighbour: its ``nearest_distance`` is infinite.
    """
    count, particles = positions.shape[:2]
    found = {name: np.empty(count) for name in ("nearest_distance", "nearest_deviation")}
    found |= {name: np.empty(count) for name in ("neighbours", "density_wave")}
    fraction = particles * np.pi / 6 * (diameter / box_length) ** 3
    for row, structure in enumerate(np.asarray(positions, dtype=np.float64)):
        tree = KDTree(wrap(structure, box_length), boxsize=box_length)
        nearest = tree.query(tree.data, k=[2])[0][:, 0] / diameter
        found["nearest_distance"][row] = nearest.mean()
        found["nearest_deviation"][row] = nearest.std() if particles > 1 else 0.0
        near = tree.query_ball_point(tree.data, NEAR * diameter, return_length=True)
        found["neighbours"][row] = near.mean() - 1
        wave = np.exp(2j * np.pi / box_length * structure).sum(axis=0)
        found["density_wave"][row] = (np.abs(wave) ** 2).mean() / particles
    return {
        "volume_fraction": np.full(count, fraction),
        "box_length": np.full(count, box_length / diameter),
        **found,
    }


def measure_domain(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    diffusivity: np.ndarray,
    relative_spread: np.ndarray,
) -> dict[str, list[float]]:
    """Ranges [low, high] of every quantity, as ``model.json`` keeps them.

    ``positions`` [S, N, 3] and ``diffusivity`` [S] (D*) are the training set's,
    ``relative_spread`` that of the predictions for the validation set: none is too small.
    """
    held = describe(positions, box_length, diameter)
    held |= {"diffusivity_star": diffusivity, "relative_spread": relative_spread}
    limits = {name: [float(values.min()), float(values.max())] for name, values in held.items()}
    limits["relative_spread"][0] = 0.0
    return limits


def check_domain(domain: Any, where: str) -> None:
    """Raise SurrogateError, its message beginning with ``where``, unless ``domain`` has the form
    that ``measure_domain`` gives."""
    names = domain.keys() if isinstance(domain, Mapping) else set()
    if names != QUANTITIES.keys():
        odd = sorted(names ^ QUANTITIES.keys())[0]
        what = "unknown" if odd in names else "no"
        raise SurrogateError(f"{where}: {what} key 'domain.{odd}'; train again")
    for name, limits in domain.items():
        numbers = isinstance(limits, list) and all(isinstance(x, int | float) for x in limits)
        if not (numbers and len(limits) == 2 and limits[0] <= limits[1]):
            raise SurrogateError(f"{where}: domain.{name} = {limits!r}; expected [low, high]")


def domain_reasons(domain: Mapping[str, list[float]], quantities: Mapping[str, float]) -> list[str]:
    """In what a structure lies outside the ranges, each with its value; empty if in nothing."""
    reasons = []
    for name, value in quantities.items():
        low, high = domain[name]
        if not low * (1 - _ROUNDING) <= value <= high * (1 + _ROUNDING):
            quantity = QUANTITIES[name]
            held = limits_text(low, high)
            unit = f" {quantity.unit}" if quantity.unit else ""
            reasons.append(f"{quantity.name} {_number(value)}{unit} ({quantity.holder}: {held})")
    return reasons


def limits_text(low: float, high: float) -> str:
    """A range for people: one number where both ends agree."""
    first, last = _number(low), _number(high)
    return first if first == last else f"{first} to {last}"


def _number(value: float) -> str:
    return f"{round(value, 9):.4g}"  # what rounding leaves of 0 is 0


def transport_reasons(meant: Mapping[str, Any], trained: Mapping[str, Any]) -> list[str]:
    """In what the transport model that is meant differs from that of the training labels.

    Both are records as ``morphion.transport.transport_record`` makes them.
    """
    return [
        f"transport model: {name} = {value} (training labels: {held})"
        for name, (value, held) in transport_differences(meant, trained).items()
    ]
