"""Diffusivities that are known in closed form."""

import numpy as np
import pytest

from morphion.kmc import estimate
from morphion.philox import generator
from morphion.transport.lattice import Lattice

N = 20


def z_of(result, expected_tensor):
    """Deviations in standard errors: of the mean, and of all components."""
    mean = (result.diffusivity - np.trace(expected_tensor) / 3) / result.stderr
    return mean, (result.tensor - expected_tensor) / result.tensor_stderr


def test_uniform_lattice_diffuses_with_its_local_diffusivity():
    lattice = Lattice.from_fields(np.full((N, N, N), 0.4), np.full((N, N, N), 2.0), 75 / N)
    result = estimate(lattice, 1, target_relative_error=0.01)
    mean, components = z_of(result, 0.4 * np.eye(3))
    assert abs(mean) < 3
    assert (np.abs(components) < 3.5).all()
    assert result.converged
    assert result.stderr < 0.0125 * result.diffusivity


@pytest.mark.parametrize("axis", [0, 2])
def test_layers_conduct_in_parallel_along_and_in_series_across(axis):
    random = generator(3, "test layers")
    diffusivity = random.uniform(0.3, 1.0, N)
    energy = random.uniform(-1.0, 1.0, N)
    shape = [1, 1, 1]
    shape[axis] = N
    lattice = Lattice.from_fields(
        np.broadcast_to(diffusivity.reshape(shape), (N, N, N)).copy(),
        np.broadcast_to(energy.reshape(shape), (N, N, N)).copy(),
        75 / N,
    )
    pi = np.exp(-energy)
    b = np.sqrt(diffusivity * pi)
    expected = np.diag(np.full(3, (b**2).mean() / pi.mean()))
    expected[axis, axis] = 1 / (pi.mean() * (1 / (b * np.roll(b, -1))).mean())
    result = estimate(lattice, 2, target_relative_error=0.01)
    mean, components = z_of(result, expected)
    assert abs(mean) < 3
    assert (np.abs(components) < 3.5).all()


def test_constant_product_of_diffusivity_and_weight_has_no_correlations():
    random = generator(4, "test product")
    energy = random.uniform(-1.5, 1.5, (N, N, N))
    lattice = Lattice.from_fields(np.exp(energy), energy, 75 / N)
    expected = 1 / np.exp(-energy).mean()
    result = estimate(lattice, 3, target_relative_error=0.01)
    assert abs(result.diffusivity - expected) < 3 * result.stderr


def test_standard_error_is_the_scatter_over_seeds():
    """100 estimates of a known diffusivity: chi-square of z within its three-sigma band."""
    lattice = Lattice.from_fields(np.full((16, 16, 16), 1.0), np.zeros((16, 16, 16)), 75 / 16)
    results = [estimate(lattice, seed, target_relative_error=0.05) for seed in range(100)]
    z = np.array([(r.diffusivity - 1.0) / r.stderr for r in results])
    assert abs(z.mean()) < 0.3
    assert 0.79 < z.std(ddof=1) < 1.21
    relative = np.array([r.stderr / r.diffusivity for r in results])
    assert abs(np.median(relative) - 0.05) < 0.01


def test_time_and_msd_redo_the_fit():
    """A line through the stored curve from the shortest lag on gives the diffusivity back."""
    lattice = Lattice.from_fields(np.full((16, 16, 16), 1.0), np.zeros((16, 16, 16)), 75 / 16)
    result = estimate(lattice, 5, target_relative_error=0.02)
    linear = result.time >= 0.999 * result.shortest_lag
    slope = np.polyfit(result.time[linear], result.msd[linear], 1)[0]
    assert slope / 6 == pytest.approx(1.0, abs=0.1)
    assert result.msd.shape == result.msd_stderr.shape == result.time.shape == (32,)
    assert (result.msd_stderr > 0).all()
