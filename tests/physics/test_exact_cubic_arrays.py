"""Insulating spheres on cubic arrays against a multipole solution."""

import csv
from pathlib import Path

import numpy as np
import pytest

from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.transport import rasterise

# Nothing binds and nothing slows: D = 1 everywhere outside the spheres.
INERT = CoverageShell(
    shell_diffusivity=1.0, affinity=0.0, interdigitation_friction=0.0, interdigitation_affinity=0.0
)
CELLS = {"SC": [[0.5, 0.5, 0.5]], "BCC": [[0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]}


def reference(array: str) -> tuple[np.ndarray, np.ndarray]:
    """Volume fractions and tracer diffusivities of an array."""
    path = Path(__file__).parents[1] / "data" / "cubic_arrays.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if row["array"] == array]
    return tuple(np.array([float(row[key]) for row in rows]) for key in ("phi", "tracer_D"))


def lattice_diffusivity(array: str, phi: float, n: int) -> tuple[float, float]:
    """D on the lattice of one unit cell, and the volume fraction that is really blocked."""
    cell = np.array(CELLS[array])
    diameter = (6 * phi / (np.pi * len(cell))) ** (1 / 3)
    lattice = rasterise(cell, 1.0, diameter, INERT, n)
    tensor = solve(lattice, relative_residual=1e-6, axes=[0]).tensor
    return tensor[0, 0], np.mean(lattice.b == 0)


def error(array: str, phi: float, n: int) -> float:
    """Relative difference to the reference at the blocked fraction."""
    diffusivity, blocked = lattice_diffusivity(array, phi, n)
    return diffusivity / np.interp(blocked, *reference(array)) - 1


ARRAYS = [("SC", 0.15), ("SC", 0.3), ("SC", 0.45), ("BCC", 0.3), ("BCC", 0.55)]


@pytest.mark.parametrize(("array", "phi"), ARRAYS)
def test_cubic_arrays_converge_to_the_multipole_solution(array, phi):
    # the staircase of sites makes a sphere act larger by a part of h: the error is of first order
    assert abs(2 * error(array, phi, 100) - error(array, phi, 50)) < 0.004


@pytest.mark.parametrize(("array", "phi"), ARRAYS)
def test_error_falls_in_proportion_to_the_spacing(array, phi):
    coarse, odd, fine = (n * error(array, phi, n) for n in (40, 75, 110))
    assert fine < 0
    assert coarse == pytest.approx(fine, rel=0.15)
    assert odd == pytest.approx(fine, rel=0.1)
