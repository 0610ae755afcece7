"""The transient of the mean squared displacement, where it is known otherwise."""

from dataclasses import replace

import numpy as np
import pytest
from kmc_lattices import random_lattice, with_pocket
from scipy.linalg import eigh

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.exact.bonds import Bonds, components
from morphion.kmc.engine import WalkRequest
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.transient import joined, on_finer, relaxation, transient
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import rasterise
from morphion.transport.lattice import Lattice


def rings(n=16):
    """Layers of random D and U across x: along x, rings of n sites that do not notice y and z."""
    random = np.random.default_rng(3)
    shape = (n, 1, 1)
    diffusivity = np.broadcast_to(random.uniform(0.2, 2.0, shape), (n, n, n))
    energy = np.broadcast_to(random.uniform(-2.0, 2.0, shape), (n, n, n))
    return Lattice.from_fields(diffusivity.copy(), energy.copy(), 75 / n)


def test_transient_across_layers_is_that_of_all_modes_of_a_ring():
    lattice = rings()
    b, pi, h = lattice.b[:, 0, 0].astype(float), lattice.weight[:, 0, 0].astype(float), 75 / 16
    bond = b * np.roll(b, -1)
    matrix = np.diag(bond + np.roll(bond, 1))
    for i in range(b.size):
        j = (i + 1) % b.size
        matrix[i, j] -= bond[i]
        matrix[j, i] -= bond[i]
    rates, modes = eigh(matrix, np.diag(pi))
    velocity = (bond - np.roll(bond, 1)) @ modes  # A chi in the modes
    moving = rates > 1e-9
    weights = velocity[moving] ** 2 / rates[moving] / pi.sum()
    times = h**2 / rates[moving]

    bonds = Bonds(lattice)
    found = relaxation(bonds, bonds.solve(bonds.drift(0), 1e-9), 12, 1e-9)
    known = joined(np.ones(3), [found, (np.ones(1), np.zeros(1)), (np.ones(1), np.zeros(1))])
    lags = times.max() * np.array([0.0, 0.3, 1.0, 3.0, 10.0])
    expected = np.exp(-lags[:, None] / times) @ weights
    np.testing.assert_allclose(known.rate(lags)[:, 0], expected, rtol=1e-4)
    np.testing.assert_array_equal(known.rate(lags)[:, 1:], 0)


def test_transient_starts_at_the_bound_without_correlations_and_leaves_the_exact_intercept():
    lattice = random_lattice(16, 5, blocked=0.2)
    bonds = Bonds(lattice)
    exact = solve(lattice, relative_residual=1e-6, return_chi=True)
    known = transient(lattice)
    np.testing.assert_allclose(known.diffusivity, np.diagonal(exact.tensor), rtol=6e-3)
    for axis in range(3):
        start = exact.diffusivity_history[axis][0] - exact.tensor[axis, axis]
        assert known.rate(np.zeros(1))[0, axis] == pytest.approx(start, rel=1e-3)
        chi = bonds.centred(exact.chi[axis].astype(float))
        intercept = np.vdot(bonds.weight, chi**2) / bonds.total_weight
        assert known.displacement(np.array([1e12]))[0, axis] == pytest.approx(intercept, rel=1e-3)


def test_mean_squared_displacement_of_walkers_follows_the_transient():
    lattice = random_lattice(16, 6, blocked=0.2)
    known = transient(lattice)
    engine = CpuEngine(2)
    interval = float(known.times.max() / 16)
    request = WalkRequest(stream_key(1, "transient"), 0, 4000, interval, 32)
    msd = engine.walk([(engine.prepare(lattice), request)])[0].curves.msd * lattice.spacing**2
    lags = interval * np.arange(1, 33)
    expected = 2 * (lags * known.diffusivity.sum() + known.displacement(lags).sum(axis=1))
    error = msd.std(axis=0) / np.sqrt(len(msd))
    # The diffusivity is known to three digits.
    assert (np.abs(msd.mean(axis=0) - expected) < 3.5 * error + 5e-3 * expected).all()


def test_lags_settle_later_for_smaller_shares_and_at_once_without_a_transient():
    known = transient(random_lattice(16, 5))
    lags = [known.settled(share, 1e9) for share in (0.1, 0.01, 0.001)]
    assert lags == sorted(lags)
    assert lags[0] < lags[2]
    decay = known.rate(np.array(lags)).mean(axis=1) / known.diffusivity.mean()
    np.testing.assert_allclose(decay, [0.1, 0.01, 0.001], rtol=0.05)
    ones = np.ones((16, 16, 16))
    assert transient(Lattice.from_fields(ones, ones, 1.0)).settled(1e-3, 1e-3) < 1e-3


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_a_coarse_lattice_tells_the_lag_of_a_fine_one():
    geometry = Geometry(voxels=24, particles=3)
    positions = generate(geometry, Structures(rsa=4, chain=0, gapped=0), 3, "rsa", 3)
    structure = positions, geometry.box_length, geometry.diameter, CoverageShell(affinity=12.0)
    lattices = {n: rasterise(*structure, n) for n in (18, 36, 45)}
    coarse, fine = transient(lattices[18]), transient(lattices[45])
    shares = 0.0015, 0.017
    assert fine.settled(*shares) > 2.5 * coarse.settled(*shares)
    found = on_finer(coarse, 18, lattices[36], 45)
    assert found.settled(*shares) == pytest.approx(fine.settled(*shares), rel=0.1)
    np.testing.assert_allclose(found.diffusivity, fine.diffusivity, rtol=0.15)
    # What no longer conducts is slower, never infinitely slow; no axis becomes faster.
    closed = Lattice(np.zeros_like(lattices[36].b), lattices[36].weight, lattices[36].spacing)
    assert np.isfinite(on_finer(coarse, 18, closed, 45).times).all()
    assert (on_finer(fine, 45, lattices[18], 45).times == fine.times).all()
    # An axis that no bond crosses on either lattice says nothing of how much slower it gets.
    without = replace(coarse, diffusivity=coarse.diffusivity * [1, 1, 0])
    assert np.isfinite(on_finer(without, 18, lattices[36], 45).times).all()


def test_isolated_site_and_lattice_that_does_not_conduct_have_a_transient():
    pocket, site = with_pocket(16, 3)
    part = components(pocket.b > 0)
    assert (part == part[site]).sum() == 1
    assert np.isfinite(transient(pocket).rate(np.ones(1))).all()
    diffusivity = np.zeros((16, 16, 16))
    diffusivity[2:6, 3:7, 4:9] = 1.0
    closed = transient(Lattice.from_fields(diffusivity, np.zeros((16, 16, 16)), 1.0))
    assert (closed.diffusivity > 0).all()
    assert not closed.conducts
    # Open along one axis is open.
    diffusivity[:, 3:7, 4:9] = 1.0
    assert transient(Lattice.from_fields(diffusivity, np.zeros((16, 16, 16)), 1.0)).conducts
    assert np.isfinite(closed.settled(1e-3, 1e-3))


def test_parts_of_a_lattice_join_across_the_boundary():
    open_site = np.zeros((16, 16, 16), bool)
    open_site[0, 3, 3] = open_site[15, 3, 3] = open_site[8, 8, 8] = True
    part = components(open_site)
    assert part[0, 3, 3] == part[15, 3, 3]
    assert len({part[0, 3, 3], part[8, 8, 8], part[1, 1, 1]}) == 3
