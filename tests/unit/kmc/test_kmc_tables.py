"""Fixed-point tables: neighbour choice, residence times and start sites."""

import numpy as np
import pytest
from kmc_lattices import random_lattice, with_pocket
from scipy.stats import chisquare

from morphion.errors import TransportError
from morphion.kmc.palette import quantised
from morphion.kmc.tables import start_sites, walk_tables
from morphion.transport.lattice import Lattice

KEY = (np.uint32(3), np.uint32(5))
SHIFTS = ((0, -1), (0, 1), (1, -1), (1, 1), (2, -1), (2, 1))


def neighbours_of(field):
    """Values at +x, -x, +y, -y, +z, -z of every site, [n^3, 6]."""
    return np.stack([np.roll(field, shift, axis).ravel() for axis, shift in SHIFTS], axis=1)


@pytest.fixture(scope="module")
def lattice():
    return random_lattice(17, 1, blocked=0.2)


@pytest.fixture(scope="module")
def seen(lattice):
    """What the walk makes of the lattice."""
    return quantised(lattice)


def test_thresholds_give_each_neighbour_its_share_of_b(lattice, seen):
    tables = walk_tables(lattice)
    b = neighbours_of(seen.b.astype(np.float64))
    share = b / b.sum(axis=1, keepdims=True)
    edges = np.hstack([np.zeros((17**3, 1)), tables.records[:, :5] / 2.0**31, np.ones((17**3, 1))])
    assert np.abs(np.diff(edges, axis=1) - share).max() < 1e-8


def test_blocked_neighbours_are_never_chosen(lattice):
    edges = np.hstack(
        [
            np.zeros((17**3, 1)),
            walk_tables(lattice).records[:, :5],
            np.full((17**3, 1), 2.0**31),
        ]
    )
    blocked = neighbours_of(lattice.b) == 0
    assert blocked.any()
    assert (np.diff(edges, axis=1)[blocked] == 0).all()


def test_quantised_walk_keeps_detailed_balance(lattice, seen):
    """pi k of a bond from both ends: pi_i p_ij / residence_i, with p from integers."""
    tables = walk_tables(lattice)
    is_open = seen.weight.ravel() > 0
    rate = np.zeros(17**3)
    residence = tables.records.view(np.float32)[:, 5].astype(np.float64)
    np.divide(1.0, residence, out=rate, where=residence > 0)
    edges = np.hstack([np.zeros((17**3, 1)), tables.records[:, :5] / 2.0**31, np.ones((17**3, 1))])
    flux = (seen.weight.ravel() * rate)[:, None] * np.diff(edges, axis=1)
    for axis, (up, down) in enumerate(((0, 1), (2, 3), (4, 5))):
        forward = flux[:, up].reshape(17, 17, 17)
        back = np.roll(flux[:, down].reshape(17, 17, 17), -1, axis)
        np.testing.assert_allclose(forward, back, rtol=3e-7, atol=1e-7 * forward.max())
    assert (residence[~is_open] == 0).all()


def test_hop_rate_and_bound_are_equilibrium_averages(lattice, seen):
    tables = walk_tables(lattice)
    b, weight = seen.b.astype(np.float64), seen.weight.astype(np.float64)
    rates = seen.a * neighbours_of(b).sum(axis=1).reshape(b.shape) / lattice.spacing**2
    assert tables.summary.hop_rate == pytest.approx((weight * rates).sum() / weight.sum(), rel=1e-5)
    bonds = [(b * np.roll(b, -1, axis)).sum() / weight.sum() for axis in range(3)]
    np.testing.assert_allclose(tables.summary.axis_bound, bonds, rtol=1e-6)


def test_start_sites_follow_the_equilibrium_weight(lattice, seen):
    """Chi-square over all open sites, at three standard errors."""
    walkers = 400_000
    sites = start_sites(walk_tables(lattice), KEY, 0, walkers)
    expected = seen.weight.ravel() / seen.weight.sum(dtype=np.float64) * walkers
    counts = np.bincount(sites, minlength=17**3)
    assert (counts[expected == 0] == 0).all()
    is_open = expected > 0
    assert expected[is_open].min() > 5
    assert chisquare(counts[is_open], expected[is_open]).pvalue > 0.0027


def test_start_site_depends_on_the_walker_number_only(lattice):
    tables = walk_tables(lattice)
    together = start_sites(tables, KEY, 100, 50)
    apart = np.concatenate([start_sites(tables, KEY, 100, 20), start_sites(tables, KEY, 120, 30)])
    np.testing.assert_array_equal(together, apart)
    assert (together != start_sites(tables, (KEY[0], KEY[1] + np.uint32(1)), 100, 50)).any()


def test_isolated_site_has_weight_but_no_residence_time():
    lattice, site = with_pocket(16, 2)
    tables = walk_tables(lattice)
    row = np.ravel_multi_index(site, lattice.b.shape)
    assert tables.records.view(np.float32)[row, 5] == 0
    assert np.isfinite(tables.summary.hop_rate)
    share = (start_sites(tables, KEY, 0, 20_000) == row).mean()
    assert share == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(20_000) + 1e-2)


def test_weights_beyond_the_fixed_point_are_refused():
    energy = np.zeros((16, 16, 16))
    energy[0] = -40.0
    lattice = Lattice.from_fields(np.ones((16, 16, 16)), energy, 1.0)
    with pytest.raises(TransportError, match="range of affinities"):
        walk_tables(lattice)
