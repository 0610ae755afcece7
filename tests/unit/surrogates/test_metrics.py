"""Scores of predictions."""

import numpy as np
import pytest

from morphion.errors import SurrogateError
from morphion.surrogates.metrics import (
    coverage,
    mape,
    mape_evenly,
    mape_noise_floor,
    mse,
    pearson,
    score,
)

LABEL = np.array([0.5, 1.0, 2.0])
PREDICTION = np.array([0.6, 0.9, 2.0])


def test_scores_follow_equations_4_and_5():
    assert mse(LABEL, PREDICTION) == pytest.approx(0.02 / 3)
    assert mape(LABEL, PREDICTION) == pytest.approx(100 * (0.2 + 0.1) / 3)
    assert pearson(LABEL, PREDICTION) == pytest.approx(np.corrcoef(LABEL, PREDICTION)[0, 1])
    assert np.isnan(pearson(LABEL, np.ones(3)))


def test_bootstrap_interval_covers_the_truth_at_its_rate():
    rng, sigma, hits = np.random.default_rng(0), 0.05, 0
    for trial in range(200):
        label = rng.uniform(0.2, 1, 100)
        prediction = label + sigma * rng.normal(size=100)
        found = score(label, prediction, np.arange(100), resamples=200, seed=trial)
        hits += found["mse_low"] <= sigma**2 <= found["mse_high"]
    # Percentile intervals of a mean of squares are a little narrow at 100 samples: 0.92 or so.
    assert 0.95 - 0.03 - 3 * np.sqrt(0.95 * 0.05 / 200) <= hits / 200 <= 1


def test_every_range_of_a_family_counts_as_much_as_another():
    # Errors of 1 and 3 % in the two filled ranges of a, of 5 % in b's: (2 + 5) / 2.
    prediction = np.array([0.1, 0.11, 0.12, 0.9, 0.5])
    label = prediction / np.array([1.01, 1.01, 1.01, 1.03, 1.05])
    family = np.array(["a", "a", "a", "a", "b"])
    found = mape_evenly(label, prediction, np.arange(5), family, bins=4, resamples=50)
    assert found["mape_even"] == pytest.approx(3.5)
    assert found["mape_even_low"] <= 3.5 <= found["mape_even_high"]
    assert mape(label, prediction) == pytest.approx((3 * 1 + 3 + 5) / 5)


def test_predictions_that_are_evenly_spread_count_alike():
    rng = np.random.default_rng(2)
    prediction = np.linspace(0.1, 1, 50)
    label = prediction * (1 + 0.05 * rng.normal(size=50))
    each, family, drawn = np.arange(50), np.repeat("a", 50), {"resamples": 100, "seed": 3}
    even = mape_evenly(label, prediction, each, family, bins=10, **drawn)
    plain = score(label, prediction, each, **drawn)
    for limit in ("", "_low", "_high"):
        assert even[f"mape_even{limit}"] == pytest.approx(plain[f"mape{limit}"])


def test_bootstrap_is_reproducible_and_holds_the_estimate():
    rng = np.random.default_rng(1)
    label = rng.uniform(0.2, 1, 50)
    prediction = label + 0.05 * rng.normal(size=50)
    found = score(label, prediction, np.arange(50), resamples=300, seed=3)
    assert found == score(label, prediction, np.arange(50), resamples=300, seed=3)
    for name in ("mse", "mape", "pearson"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_copies_within_a_group_make_no_limit_narrower():
    rng = np.random.default_rng(1)
    label = rng.uniform(0.2, 1, 12)
    prediction = label + 0.05 * rng.normal(size=12)
    once = score(label, prediction, np.arange(12), resamples=200)
    copied = (np.repeat(values, 30) for values in (label, prediction, np.arange(12)))
    assert score(*copied, resamples=200) == pytest.approx(once)


def test_of_one_run_alone_there_is_a_score_without_limits():
    found = score(LABEL, PREDICTION, np.zeros(3), resamples=20)
    assert found["mape"] == pytest.approx(mape(LABEL, PREDICTION))
    assert np.isnan([found["mape_low"], found["mse_high"], found["pearson_low"]]).all()


def test_a_true_spread_covers_68_and_95_percent():
    rng = np.random.default_rng(2)
    prediction = rng.uniform(0.2, 1, 4000)
    spread = 0.1 * prediction
    found = coverage(prediction + spread * rng.normal(size=4000), prediction, spread)
    assert found["coverage_68"] == pytest.approx(0.683, abs=3 * 0.0074)
    assert found["coverage_95"] == pytest.approx(0.950, abs=3 * 0.0035)
    for which in ("least", "most"):
        assert found[f"coverage_68_{which}"] == pytest.approx(0.683, abs=3 * 0.0127)


def test_a_spread_that_is_right_on_average_alone_shows_in_the_thirds():
    prediction = np.arange(9.0, 0, -1)
    label = prediction + np.repeat([0.1, 0.3, 0.5], 3)
    found = coverage(label, prediction, np.array([0.2, 0.2, 0.05, 0.4, 0.2, 0.2, 0.1, 0.1, 0.1]))
    assert found["coverage_68"] == pytest.approx(3 / 9)
    assert found["coverage_68_least"] == 0
    assert found["coverage_68_most"] == pytest.approx(2 / 3)
    alone = coverage(label[:1], prediction[:1], np.array([0.2]))
    assert alone["coverage_68_least"] == alone["coverage_68_most"] == 1


def test_a_perfect_network_scores_the_noise_floor():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.5, 1, 20_000)
    stderr = 0.01 * truth
    noisy = truth + stderr * rng.normal(size=truth.size)
    assert mape(noisy, truth) == pytest.approx(mape_noise_floor(noisy, stderr), rel=0.02)


@pytest.mark.parametrize(
    ("label", "prediction", "message"),
    [
        (np.ones(3), np.ones(2), "cannot be compared"),
        (np.ones(0), np.ones(0), "cannot be compared"),
        (np.array([1.0, 0.0]), np.ones(2), "label 1 is 0.0"),
    ],
)
def test_scores_of_nothing_or_of_impossible_labels_are_refused(label, prediction, message):
    with pytest.raises(SurrogateError, match=message):
        score(label, prediction, label)
