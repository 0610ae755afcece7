"""kMC against the exact solution of the same lattice: z is a standard normal variate."""

import numpy as np
import pytest
from scipy.stats import chi2

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.kmc import estimate
from morphion.kmc.palette import quantised
from morphion.philox import generator, stream_key
from morphion.structures.families import generate
from morphion.transport import Lattice, rasterise

GEOMETRY = Geometry()
SEED = 20
# Two plain, two of each chain window, two of each number of slabs.
STRUCTURES = (
    [("rsa", i) for i in range(2)]
    + [("chain", i) for i in range(16)]
    + [("gapped", i) for i in range(6)]
)


def lattice_of(family, index, n=75):
    positions = generate(GEOMETRY, Structures(), SEED, family, index)
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell(), n)


@pytest.fixture(scope="module")
def pairs():
    """kMC result and exact solution of every structure."""
    found = []
    for family, index in STRUCTURES:
        lattice = lattice_of(family, index)
        key = stream_key(SEED, "kmc", family, index)
        result = estimate(lattice, key, target_relative_error=0.06)
        found.append((result, solve(quantised(lattice), relative_residual=1e-4)))
    return found


def assert_standard_normal(z):
    """Mean and spread within three standard errors of 0 and 1."""
    z = np.asarray(z)
    assert abs(z.mean()) < 3 / np.sqrt(z.size)
    low, high = chi2(z.size).ppf([0.00135, 0.99865])
    assert low < (z**2).sum() < high


@pytest.mark.slow
def test_kmc_agrees_with_exact_within_its_standard_errors(pairs):
    assert_standard_normal([(k.diffusivity - e.diffusivity) / k.stderr for k, e in pairs])


@pytest.mark.slow
def test_tensor_components_agree_with_exact_within_their_standard_errors(pairs):
    for components in (((0, 0), (1, 1), (2, 2)), ((0, 1), (0, 2), (1, 2))):
        assert_standard_normal(
            [(k.tensor[c] - e.tensor[c]) / k.tensor_stderr[c] for k, e in pairs for c in components]
        )


@pytest.mark.slow
def test_targets_are_reached_in_the_diffusive_regime(pairs):
    assert all(k.converged for k, _ in pairs), [k.reason for k, _ in pairs if k.reason]
    relative = np.array([k.stderr / k.diffusivity for k, _ in pairs])
    assert relative.max() < 1.25 * 0.06
    assert 0.04 < relative.mean() < 0.066


@pytest.mark.slow
@pytest.mark.parametrize("height", [4.0, 7.0])
def test_cells_behind_barriers_are_not_biased(height):
    """Walkers relax fast within a slab and seldom leave it: MSD saturates before it grows on."""
    n = 24
    energy = generator(5, "test cells").uniform(-0.5, 0.5, (n, n, n))
    energy[::12] += height
    energy[:, ::12] += height
    lattice = Lattice.from_fields(np.ones((n, n, n)), energy, 75 / n)
    exact = solve(quantised(lattice), relative_residual=1e-6)
    result = estimate(lattice, 4, target_relative_error=0.03)
    assert result.converged, result.reason
    assert abs(result.diffusivity - exact.diffusivity) < 3 * result.stderr
    for axis in range(3):
        deviation = result.tensor[axis, axis] - exact.tensor[axis, axis]
        assert abs(deviation) < 3 * result.tensor_stderr[axis, axis]
