"""True labels fail as seldom as promised, and each way of being wrong is found."""

import numpy as np
import pytest
from scipy.stats import kstest, norm

from morphion.philox import generator
from morphion.verdict.scores import Check, false_alarm, normal_scores, score_checks

SETS = 60_000


def failures(z, sigma=3.0):
    """Which checks each set fails, bool [sets, 3]; ``z`` is [sets, structures]."""
    return np.array([[not check.passed for check in score_checks(row, sigma)] for row in z])


def power(z):
    return failures(z).any(axis=1).mean()


def within(share, expected, count=SETS):
    return abs(share - expected) < 3 * np.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize("m", [8, 16])
def test_sets_of_true_labels_fail_with_the_probability_of_three_sigma(m):
    failed = failures(generator(1, "false-alarm", m).standard_normal((SETS, m)))
    assert false_alarm(3) == pytest.approx(0.0026998, abs=1e-7)
    assert within(failed.any(axis=1).mean(), false_alarm(3))
    for share in failed.mean(axis=0):
        assert within(share, false_alarm(3) / 3)


@pytest.mark.parametrize("m", [1, 2, 4, 200])
def test_true_labels_never_fail_more_often_however_many_are_tested(m):
    sets = SETS if m < 10 else SETS // 6
    share = power(generator(2, "false-alarm", m).standard_normal((sets, m)))
    assert share < false_alarm(3) + 3 * np.sqrt(false_alarm(3) / sets)


def test_another_sigma_gives_its_own_probability():
    failed = failures(generator(3, "false-alarm").standard_normal((10_000, 16)), sigma=2.0)
    assert false_alarm(2) == pytest.approx(0.0455, abs=1e-4)
    share = failed.any(axis=1).mean()
    # The more often checks fail, the more often they fail together: the bound is not reached.
    assert 0.8 * false_alarm(2) < share < false_alarm(2) + 3 * np.sqrt(0.0455 / 10_000)


@pytest.mark.parametrize(("m", "found"), [(4, 0.10), (16, 0.75), (32, 0.99)])
def test_a_common_bias_of_one_standard_error_is_found_the_sooner_the_more_are_tested(m, found):
    z = generator(4, "power", m).standard_normal((4000, m)) + 1
    assert abs(power(z) - found) < 0.02


def test_errors_that_are_half_or_twice_the_true_ones_are_found():
    z = generator(5, "power").standard_normal((2000, 32))
    assert power(2 * z) > 0.98
    assert power(z / 2) > 0.95


def test_one_structure_six_standard_errors_off_is_found_among_128():
    z = generator(6, "power").standard_normal((2000, 128))
    z[:, 17] += 6
    assert power(z) > 0.9


def test_scores_of_few_walkers_are_normal():
    random = generator(7, "student")
    walks = random.standard_normal((40_000, 8))
    stderr = walks.std(axis=1, ddof=1) / np.sqrt(8) * np.sqrt(7 / 5)  # as the estimator widens it
    z = walks.mean(axis=1) / stderr
    assert kstest(normal_scores(z, np.full(len(z), 8)), norm.cdf).pvalue > 0.0027
    assert kstest(z, norm.cdf).pvalue < 1e-6  # which z itself is not


def test_scores_keep_sign_and_order_and_are_z_for_many_walkers():
    z = np.linspace(-8, 8, 41)
    scores = normal_scores(z, np.full(41, 16))
    assert (np.diff(scores) > 0).all()
    np.testing.assert_allclose(scores, -scores[::-1], atol=1e-12)
    np.testing.assert_allclose(normal_scores(z, np.full(41, 10**7)), z, atol=1e-4)


def test_what_cannot_be_scored_stays_nan_and_infinite_z_stay_finite():
    scores = normal_scores(np.array([np.nan, np.inf, -np.inf, 0.0]), np.array([128, 128, 0, 0]))
    assert np.isnan(scores[0])
    assert scores[1] == -scores[2] > 37
    assert scores[3] == 0


def test_a_check_reads_as_a_sentence():
    check = Check("mean_z", 1.234, -0.83, 0.83)
    assert str(check) == "mean z = 1.23 (limits -0.83 and 0.83)"
    assert not check.passed
