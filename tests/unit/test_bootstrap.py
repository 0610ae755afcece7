"""Bootstrap over groups: its variance, and how often its intervals hold the truth."""

import numpy as np
import pytest

from morphion.bootstrap import interval, multiplicities


def test_groups_are_drawn_as_a_whole_and_one_less_than_there_are():
    group = np.array(["b", "a", "b", "c", "c", "c"])
    times = multiplicities(group, 50, np.random.default_rng(0))
    assert times.shape == (50, 6)
    assert (times[:, 0] == times[:, 2]).all()
    assert (times[:, 3:] == times[:, 3:4]).all()
    assert (times[:, 0] + times[:, 1] + times[:, 3] == 2).all()


def test_the_variance_over_resamples_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(size=5)
    times = multiplicities(np.arange(5), 200_000, np.random.default_rng(2))
    found = (times @ values / 4).var()
    expected = values.var(ddof=1) / 5
    # The relative error of a variance of normal values is sqrt(2 / n); of these it is less.
    assert found == pytest.approx(expected, rel=3 * np.sqrt(2 / 200_000))


@pytest.mark.parametrize("runs", [4, 10])
def test_intervals_hold_the_truth_where_runs_differ_more_than_their_structures(runs):
    random, trials, hits, by_structure = np.random.default_rng(3), 400, 0, 0
    for _ in range(trials):
        errors = random.normal(0, 0.6, (runs, 1)) + random.normal(0, 0.8, (runs, 40))
        group = np.repeat(np.arange(runs), 40)
        for each in (group, np.arange(errors.size)):
            times = multiplicities(each, 200, random)
            means = times @ errors.ravel() / times.sum(axis=1)
            low, high = interval(errors.mean(), means, len(np.unique(each)))
            if each is group:
                hits += low <= 0 <= high
            else:
                by_structure += low <= 0 <= high
    # 0.93 and 0.94 in 20,000 trials: percentiles of so few runs are a little narrow.
    assert abs(hits / trials - 0.935) < 3 * np.sqrt(0.95 * 0.05 / trials)
    assert by_structure / trials < 0.6


def test_limits_stay_within_what_a_quantity_can_be():
    resampled = np.array([0.90, 0.95, 0.99, 0.999])
    low, high = interval(0.99, resampled, 3, (-1.0, 1.0))
    assert high == 1
    assert low < 0.9
    assert low == pytest.approx(
        0.99 + 4.3027 / 1.96 * (np.quantile(resampled, 0.025) - 0.99), rel=1e-3
    )


def test_limits_are_around_the_value_even_where_no_resample_is():
    low, high = interval(0.99, np.array([0.3, 0.4, 0.5]), 2, (-1.0, 1.0))
    assert (low, high) == (-1, 0.99)
    low, high = interval(0.1, np.array([0.3, 0.4, 0.5]), 40)
    assert low == 0.1
    assert high > 0.5


def test_nothing_is_claimed_of_one_group_or_of_resamples_without_a_value():
    assert np.isnan(interval(1.0, np.ones(9), 1)).all()
    resampled = np.array([[np.nan, 1.0], [np.nan, 2.0], [np.nan, np.nan]])
    low, high = interval(np.array([1.0, 1.5]), resampled, 50)
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] < 1.5 < high[1]
