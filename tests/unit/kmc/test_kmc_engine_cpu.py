"""The walk: what it must not depend on, and that it is the walk it claims to be."""

import numpy as np
import pytest
from kmc_lattices import random_lattice, with_pocket
from numba import njit

from morphion.kmc.control import Control
from morphion.kmc.engine import WalkRequest
from morphion.kmc.engine_cpu import walk as walk_request
from morphion.kmc.exponential import exponentials
from morphion.kmc.palette import quantised
from morphion.kmc.tables import start_sites, walk_tables
from morphion.philox import philox4x32, stream_key

KEY = stream_key(11, "kmc", "test")


@pytest.fixture(scope="module")
def tables():
    return walk_tables(random_lattice(16, 4, blocked=0.1))


def walk(tables, key, first_walker, walkers, interval, samples, threads=1):
    return walk_request(tables, WalkRequest(key, first_walker, walkers, interval, samples), threads)


def interval_of(tables, hops):
    return hops / tables.summary.hop_rate


@njit
def philox_words(block, walker, key_0, key_1):
    return philox4x32(np.uint32(block), np.uint32(walker), np.uint32(0), np.uint32(0), key_0, key_1)


def plain_walk(lattice, tables, walker, interval, samples):
    """One walker straight from the definition: choose by b, wait an exponential time.

    Returns positions, the integral of the control's velocity (units of h) and the number of hops.
    """
    n = lattice.n
    b = np.round(lattice.b.astype(np.float64) / tables.palette.unit).astype(np.int64)
    residence = tables.records.view(np.float32)[:, 5].reshape(n, n, n)
    site = np.array(np.unravel_index(start_sites(tables, KEY, walker, 1)[0], (n, n, n)))
    steps = [s * np.eye(3, dtype=int)[axis] for axis in range(3) for s in (1, -1)]
    moved = np.zeros(3, int)
    velocity = tables.control.velocity.reshape(n, n, n, 3).astype(np.float64)
    left, hop, positions, integral, integrals = interval, 0, [], np.zeros(3), []
    while True:
        words = philox_words(hop // 2, walker, *KEY)[2 * (hop % 2) :][:2]
        factor = exponentials(np.array([words[1]], np.uint32))[0]
        stay = factor * np.float64(residence[tuple(site % n)])
        speed = velocity[tuple(site % n)]
        while stay > left:
            integral = integral + speed * left
            positions.append(moved.copy())
            integrals.append(integral)
            stay -= left
            left = interval
            if len(positions) == samples:
                return np.array(positions), np.array(integrals), hop
        integral = integral + speed * stay
        left -= stay
        weights = [int(b[tuple((site + step) % n)]) for step in steps]
        chosen = ((int(words[0]) >> 1) * sum(weights)) >> 31
        direction = int(np.searchsorted(np.cumsum(weights), chosen, side="right"))
        site, moved = site + steps[direction], moved + steps[direction]
        hop += 1


@pytest.fixture(scope="module")
def controlled():
    """Tables with a control of any velocity."""
    lattice = random_lattice(16, 4, blocked=0.1)
    velocity = np.random.default_rng(8).normal(size=(16**3, 3)).astype(np.float32)
    return walk_tables(lattice, Control(np.eye(3), velocity))


def test_walk_is_the_definition_step_by_step(controlled):
    lattice = quantised(random_lattice(16, 4, blocked=0.1))
    interval = interval_of(controlled, 7.5)
    result = walk(controlled, KEY, 40, 20, interval, 33)
    for i in (0, 7, 19):
        positions, integrals, hops = plain_walk(lattice, controlled, 40 + i, interval, 33)
        np.testing.assert_array_equal(result.displacements[i], positions)
        np.testing.assert_allclose(result.integrals[i] / 4096, integrals, atol=0.51 / 4096)
        assert result.hops[i] == hops


def test_a_control_changes_no_walk_and_its_integral_belongs_to_the_walker(tables, controlled):
    interval = interval_of(tables, 50)
    plain = walk(tables, KEY, 5, 61, interval, 20)
    assert plain.integrals is None
    whole = walk(controlled, KEY, 5, 61, interval, 20)
    np.testing.assert_array_equal(whole.displacements, plain.displacements)
    np.testing.assert_array_equal(whole.next_sample, plain.next_sample)
    parts = [
        walk(controlled, KEY, 5, 1, interval, 20),
        walk(controlled, KEY, 6, 60, interval, 20, threads=3),
    ]
    together = np.concatenate([part.integrals for part in parts])
    np.testing.assert_array_equal(whole.integrals, together)


def test_walk_is_identical_for_any_number_of_threads(tables):
    one = walk(tables, KEY, 0, 100, interval_of(tables, 50), 20, threads=1)
    for threads in (2, 3):
        more = walk(tables, KEY, 0, 100, interval_of(tables, 50), 20, threads=threads)
        np.testing.assert_array_equal(one.displacements, more.displacements)
        np.testing.assert_array_equal(one.hops, more.hops)


def test_walk_is_identical_however_walkers_are_batched(tables):
    interval = interval_of(tables, 50)
    whole = walk(tables, KEY, 5, 61, interval, 20)
    parts = [walk(tables, KEY, 5, 1, interval, 20), walk(tables, KEY, 6, 60, interval, 20)]
    np.testing.assert_array_equal(
        whole.displacements, np.concatenate([p.displacements for p in parts])
    )


def test_longer_walk_continues_the_shorter_one(tables):
    interval = interval_of(tables, 50)
    short = walk(tables, KEY, 0, 30, interval, 10)
    long = walk(tables, KEY, 0, 30, interval, 25)
    np.testing.assert_array_equal(long.displacements[:, :10], short.displacements)


def test_other_seeds_and_other_walkers_walk_elsewhere(tables):
    interval = interval_of(tables, 400)
    one = walk(tables, KEY, 0, 200, interval, 1).displacements[:, 0]
    other = walk(tables, stream_key(12, "kmc", "test"), 0, 200, interval, 1).displacements[:, 0]
    assert (one != other).any(axis=1).mean() > 0.95
    correlation = np.corrcoef(one[:-1].ravel(), one[1:].ravel())[0, 1]
    assert abs(correlation) < 3 / np.sqrt(597)


def test_hop_counts_match_the_equilibrium_hop_rate(tables):
    hops = walk(tables, KEY, 0, 4000, interval_of(tables, 300), 1).hops
    assert abs(hops.mean() - 300) < 3 * hops.std() / np.sqrt(4000)


def test_walkers_on_an_isolated_site_stay_and_make_no_hop():
    lattice, site = with_pocket(16, 2)
    tables = walk_tables(lattice)
    row = np.ravel_multi_index(site, lattice.b.shape)
    trapped = start_sites(tables, KEY, 0, 300) == row
    result = walk(tables, KEY, 0, 300, 5.0, 40)
    assert 0.3 < trapped.mean() < 0.7
    assert (result.displacements[trapped] == 0).all()
    assert (result.hops[trapped] == 0).all()
    assert (result.hops[~trapped] > 0).all()
