"""The plan of a run: targets, fixed walkers, hop budgets, and lattices that do not conduct."""

import dataclasses

import numpy as np
import pytest
from kmc_lattices import random_lattice, with_pocket

from morphion.kmc import engine_cpu, estimate
from morphion.transport.lattice import Lattice


@pytest.fixture(scope="module")
def lattice():
    return random_lattice(16, 7, blocked=0.2)


@pytest.fixture(scope="module")
def result(lattice):
    return estimate(lattice, 1, target_relative_error=0.05)


def without_seconds(result):
    return {k: v for k, v in dataclasses.asdict(result).items() if k != "seconds"}


def test_estimate_does_not_depend_on_threads_or_batches(lattice, result, monkeypatch):
    monkeypatch.setattr(engine_cpu, "_BATCH_BYTES", 1)
    finished = []
    again = estimate(
        lattice,
        1,
        target_relative_error=0.05,
        threads=1,
        on_batch=finished.append,
    )
    for name, value in without_seconds(result).items():
        np.testing.assert_array_equal(value, getattr(again, name), err_msg=name)
    assert len(finished) >= -(-result.walkers // 16)
    assert finished[-1] == 1.0


def test_target_is_reached_with_enough_walkers_to_know_the_error(result):
    assert result.converged
    assert result.reason == ""
    assert result.walkers >= 128
    assert result.stderr == pytest.approx(0.05 * result.diffusivity, rel=0.25)
    assert 0.1 < result.efficiency < 1
    assert 0 < result.pilot_hops < result.hops
    np.testing.assert_array_equal(result.tensor, result.tensor.T)


def test_other_seeds_give_other_estimates(lattice, result):
    other = estimate(lattice, 2, target_relative_error=0.05)
    assert other.diffusivity != result.diffusivity
    difference = abs(other.diffusivity - result.diffusivity)
    assert difference < 3 * np.hypot(other.stderr, result.stderr)


def test_pilot_chooses_the_duration_for_a_fixed_number_of_walkers(lattice):
    result = estimate(lattice, 1, target_relative_error=0.05, walkers=400)
    assert result.walkers == 400
    assert result.converged
    assert result.duration >= 8 * result.shortest_lag * 0.99
    few = estimate(lattice, 1, target_relative_error=0.05, walkers=40)
    assert few.duration > result.duration


def test_too_few_walkers_for_an_error_are_refused(lattice):
    with pytest.raises(ValueError, match="at least 8"):
        estimate(lattice, 1, walkers=7)


@pytest.mark.parametrize("max_hops", [2e4, 1e6])
def test_hop_budget_is_spent_and_the_result_flagged(lattice, max_hops):
    result = estimate(lattice, 1, target_relative_error=0.01, max_hops=max_hops)
    assert not result.converged
    assert "max_hops" in result.reason
    assert 0.7 * max_hops < result.hops < 1.2 * max_hops
    assert np.isfinite(result.tensor_stderr).all()


def test_a_pilot_that_was_cut_short_alone_is_no_reason_for_doubt(lattice):
    whole = estimate(lattice, 1, target_relative_error=0.1)
    result = estimate(lattice, 1, target_relative_error=0.1, max_hops=1.5 * whole.hops)
    assert result.pilot_hops < 0.9 * whole.pilot_hops
    assert result.converged
    assert result.stderr < 0.2 * result.diffusivity
    difference = abs(result.diffusivity - whole.diffusivity)
    assert difference < 3 * np.hypot(result.stderr, whole.stderr)


def test_lattice_of_isolated_sites_has_exactly_no_diffusivity():
    diffusivity = np.zeros((16, 16, 16))
    diffusivity[::2, ::2, ::2] = 1.0
    lattice = Lattice.from_fields(diffusivity, np.zeros((16, 16, 16)), 1.0)
    result = estimate(lattice, 1)
    assert result.converged
    assert result.diffusivity == result.stderr == result.hops == 0
    assert (result.tensor == 0).all()


def test_closed_pocket_of_several_sites_is_flagged_not_labelled():
    diffusivity = np.zeros((16, 16, 16))
    diffusivity[2:6, 3:7, 4:9] = 1.0
    lattice = Lattice.from_fields(diffusivity, np.zeros((16, 16, 16)), 1.0)
    result = estimate(lattice, 1, max_hops=2e9)
    assert not result.converged
    assert "no way through" in result.reason
    assert 1e5 < result.hops < 5e6, "hops are not to be spent on what they cannot find"
    assert abs(result.diffusivity) < 0.02


def test_immobile_walkers_dilute_the_diffusivity():
    """Half of the weight lies on an isolated site: D is half of the rest's."""
    lattice, site = with_pocket(16, 3)
    without = Lattice(lattice.b.copy(), lattice.weight.copy(), lattice.spacing)
    without.b[site] = without.weight[site] = 0
    share = 1 - lattice.weight[site] / lattice.weight.sum()
    half = estimate(lattice, 1, target_relative_error=0.03)
    full = estimate(without, 2, target_relative_error=0.03)
    error = np.hypot(half.stderr, share * full.stderr)
    assert abs(half.diffusivity - share * full.diffusivity) < 3 * error
