"""The walk against the statistics of its rates: residence times and equilibrium."""

import numpy as np
import pytest
from scipy.stats import chisquare, poisson

from morphion.kmc.engine import WalkRequest
from morphion.kmc.engine_cpu import walk as walk_request
from morphion.kmc.palette import quantised
from morphion.kmc.tables import start_sites, walk_tables
from morphion.philox import generator, stream_key
from morphion.transport.lattice import Lattice

KEY = stream_key(21, "kmc", "physics")
N = 16


def rough_lattice(blocked=0.15):
    random = generator(9, "test rough lattice")
    diffusivity = random.uniform(0.1, 1.0, (N, N, N))
    diffusivity[random.random((N, N, N)) < blocked] = 0.0
    return Lattice.from_fields(diffusivity, random.uniform(-1.0, 1.0, (N, N, N)), 1.5)


def walk(tables, key, first_walker, walkers, interval, samples):
    return walk_request(tables, WalkRequest(key, first_walker, walkers, interval, samples))


def exit_rates(lattice):
    """a_i sum_j b_j / h^2."""
    b = lattice.b.astype(np.float64)
    total = sum(np.roll(b, shift, axis) for axis in range(3) for shift in (1, -1))
    return lattice.a * total / lattice.spacing**2


def test_hops_on_a_uniform_lattice_are_a_poisson_process():
    """Exponential residence times: mean and variance of the count, and its whole distribution."""
    uniform = Lattice.from_fields(np.full((N, N, N), 0.7), np.zeros((N, N, N)), 1.5)
    expected = 12.0
    time = expected / (6 * 0.7 / 1.5**2)
    hops = walk(walk_tables(uniform), KEY, 0, 50_000, time, 1).hops
    counts = np.bincount(np.clip(hops, 4, 22), minlength=23)[4:]
    probability = poisson(expected).pmf(np.arange(4, 23))
    probability[0], probability[-1] = poisson(expected).cdf(4), poisson(expected).sf(21)
    assert chisquare(counts, probability * hops.size).pvalue > 0.0027


@pytest.mark.parametrize("share", [0.2, 1.0, 3.0])
def test_first_residence_is_exponential_at_every_site(share):
    """The share of walkers that have not hopped by time t is the mean of exp(-rate t) over pi."""
    tables = walk_tables(rough_lattice())
    lattice = quantised(rough_lattice())
    time = share / tables.summary.hop_rate
    stayed = (walk(tables, KEY, 0, 100_000, time, 1).hops == 0).mean()
    weight = lattice.weight / lattice.weight.sum(dtype=np.float64)
    expected = (weight * np.exp(-exit_rates(lattice) * time)).sum()
    assert abs(stayed - expected) < 3 * np.sqrt(expected * (1 - expected) / 100_000)


@pytest.mark.parametrize("hops", [1, 40])
def test_walkers_stay_in_equilibrium(hops):
    tables = walk_tables(rough_lattice())
    lattice = quantised(rough_lattice())
    walkers = 200_000
    moved = walk(tables, KEY, 0, walkers, hops / tables.summary.hop_rate, 1).displacements[:, 0]
    start = np.stack(
        np.unravel_index(start_sites(tables, KEY, 0, walkers), lattice.b.shape), axis=1
    )
    end = np.ravel_multi_index(tuple(((start + moved) % N).T), lattice.b.shape)
    counts = np.bincount(end, minlength=N**3)
    expected = lattice.weight.ravel() / lattice.weight.sum(dtype=np.float64) * walkers
    is_open = expected > 0
    assert counts[~is_open].sum() == 0
    assert chisquare(counts[is_open], expected[is_open]).pvalue > 0.0027


def test_short_time_diffusivity_is_the_mean_local_one():
    """Before walkers meet their surroundings, MSD / 2t along an axis is sum b_i b_j / sum pi."""
    tables = walk_tables(rough_lattice())
    time = 0.02 / tables.summary.hop_rate
    moved = walk(tables, KEY, 0, 1_000_000, time, 1).displacements[:, 0].astype(np.float64)
    local = moved**2 * tables.summary.spacing**2 / (2 * time)
    stderr = local.std(axis=0) / 1000
    # The correlation of successive hops lowers it by up to the share of second hops, 2 %.
    assert (
        np.abs(local.mean(axis=0) - tables.summary.axis_bound) < 3 * stderr + 0.01 * local.mean()
    ).all()
