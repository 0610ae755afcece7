"""Walks with a control variate from a coarser lattice against the fine one's exact solution."""

import numpy as np
import pytest
from scipy.stats import chi2

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.kmc.control import control_variate
from morphion.kmc.palette import quantised
from morphion.kmc.run import estimate
from morphion.kmc.transient import transient
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import rasterise

GEOMETRY = Geometry(voxels=24, particles=3)
FAMILIES = Structures(chain_windows=((9.7, 12.0),), slab_width=(4.0, 8.0))
STRUCTURES = [(family, i) for family in ("rsa", "chain", "gapped") for i in range(8)]
COMPARED = 6  # structures that are walked without a control as well


def lattice_of(family, index, n):
    positions = generate(GEOMETRY, FAMILIES, 5, family, index)
    model = CoverageShell(shell_radius=1.0)
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, model, n)


@pytest.fixture(scope="module")
def found():
    """Walk with the control, walk without (some), exact solution of every structure."""
    results = []
    for place, (family, index) in enumerate(STRUCTURES):
        fine, coarse = (lattice_of(family, index, n) for n in (48, 24))
        options = {"target_relative_error": 0.02, "known": transient(coarse)}
        key = stream_key(1, family, index)
        controlled = estimate(fine, key, control=control_variate(fine, coarse), **options)
        plain = estimate(fine, key, **options) if place % 4 == 0 else None
        exact = solve(quantised(fine), relative_residual=1e-7)
        results.append((controlled, plain, exact))
    return results


@pytest.mark.slow
def test_deviations_are_as_large_as_the_standard_errors_say(found):
    assert all(k.converged for k, _, _ in found), [k.reason for k, _, _ in found if k.reason]
    z = np.array([(k.diffusivity - e.diffusivity) / k.stderr for k, _, e in found])
    assert abs(z.mean()) < 3 / np.sqrt(z.size)
    low, high = chi2(z.size).ppf([0.00135, 0.99865])
    assert low < (z**2).sum() < high


@pytest.mark.slow
@pytest.mark.parametrize("components", [((0, 0), (1, 1), (2, 2)), ((0, 1), (0, 2), (1, 2))])
def test_so_are_those_of_the_tensor(found, components):
    z = np.array(
        [(k.tensor[c] - e.tensor[c]) / k.tensor_stderr[c] for k, _, e in found for c in components]
    )
    assert abs(z.mean()) < 3 / np.sqrt(z.size)
    low, high = chi2(z.size).ppf([0.00135, 0.99865])
    assert low < (z**2).sum() < high


@pytest.mark.slow
def test_relative_variance_times_hops_falls_a_hundredfold_and_hops_by_half(found):
    pairs = [(k, plain) for k, plain, _ in found if plain is not None]
    assert len(pairs) == COMPARED
    for controlled, plain in pairs:
        cost = [(k.stderr / k.diffusivity) ** 2 * k.hops for k in (controlled, plain)]
        assert cost[0] < 0.01 * cost[1]
        assert controlled.stderr < 0.02 * controlled.diffusivity
    assert sum(k.hops for k, _ in pairs) < 0.5 * sum(plain.hops for _, plain in pairs)
