"""The spread of a prediction: what it is made of is found again, and it covers what it claims."""

import numpy as np
import pytest
from scipy.special import erf

from morphion.errors import SurrogateError
from morphion.surrogates.metrics import coverage
from morphion.surrogates.spread import Spread, fit_spread


def drawn(spread: Spread, novelty: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions between 0.05 and 1, and labels that lie around them as ``spread`` says."""
    rng = np.random.default_rng(seed)
    prediction = np.exp(rng.uniform(np.log(0.05), 0, len(novelty)))
    return rng.normal(prediction, spread.of(prediction, novelty)), prediction


def test_the_parts_of_a_spread_are_found_again():
    truth = Spread(relative=0.01, novelty=1.5, exponent=-0.4)
    novelty = np.random.default_rng(3).gamma(2, 0.01, 20_000)
    label, prediction = drawn(truth, novelty, 4)
    found = fit_spread(label, prediction, novelty)
    # Three standard errors of a fit to 20,000 structures.
    assert found.relative == pytest.approx(truth.relative, rel=0.08)
    assert found.novelty == pytest.approx(truth.novelty, rel=0.05)
    assert found.exponent == pytest.approx(truth.exponent, abs=0.02)
    covered = coverage(label, prediction, found.of(prediction, novelty))
    assert covered["coverage_68"] == pytest.approx(0.683, abs=0.01)
    assert covered["coverage_95"] == pytest.approx(0.950, abs=0.005)


@pytest.mark.parametrize("count", [6, 100, 1024])
def test_no_other_spread_is_more_likely(count):
    rng = np.random.default_rng(count)
    for seed in range(5):
        truth = Spread(0.01 * rng.random(), 0.02 * rng.random(), rng.uniform(-0.8, 0.3))
        novelty = rng.gamma(2, 0.5, count)
        label, prediction = drawn(truth, novelty, seed)

        def cost(spread, label=label, prediction=prediction, novelty=novelty):
            size = spread.of(prediction, novelty)
            likely = np.sum(2 * np.log(size / prediction) + ((label - prediction) / size) ** 2)
            return likely + 4 * spread.exponent**2

        found = fit_spread(label, prediction, novelty)
        for factors in 1 + 0.02 * rng.normal(size=(50, 3)):
            parts = (found.relative, found.novelty, found.exponent)
            other = Spread(*(np.array(parts) * factors))
            assert cost(other) >= cost(found) - 1e-4
        rms = np.sqrt(np.mean((label / prediction - 1) ** 2))
        for share in np.linspace(0, 1, 6):
            for exponent in (-0.9, -0.3, 0.3):
                other = Spread(rms * (1 - share), rms * share / novelty.mean(), exponent)
                assert cost(other) >= cost(found)


def test_a_validation_set_without_a_way_through_has_no_spread():
    with pytest.raises(SurrogateError, match=r"predicted D\* = 0; .* no use"):
        fit_spread(np.ones(3), np.array([0.0, 1, 1]), np.zeros(3))


def test_it_covers_the_worst_conductors_as_well_as_the_best():
    label, prediction = drawn(Spread(0.003, 0.0, -0.5), np.zeros(6000), 5)
    found = fit_spread(label, prediction, np.zeros(6000))
    for part in np.array_split(np.argsort(prediction), 3):
        covered = coverage(label[part], prediction[part], found.of(prediction, 0.0)[part])
        error = np.sqrt(0.683 * 0.317 / len(part))
        assert abs(covered["coverage_68"] - erf(1 / np.sqrt(2))) < 3 * error


def test_of_a_handful_of_structures_d_decides_little():
    label, prediction = drawn(Spread(0.02), np.zeros(6), 6)
    assert abs(fit_spread(label, prediction, np.zeros(6)).exponent) < 0.5


def test_alike_predictions_leave_the_size_of_their_errors():
    label, prediction = np.array([1.01, 0.97, 1.02]) / 2, np.full(3, 0.5)
    found = fit_spread(label, prediction, np.zeros(3))
    assert found.exponent == pytest.approx(0, abs=1e-3)
    assert found.novelty == 0
    size = found.of(prediction, np.zeros(3)) / prediction
    np.testing.assert_allclose(size, np.sqrt(14e-4 / 3), rtol=1e-4)


def test_without_errors_there_is_no_spread():
    assert fit_spread(np.ones(4), np.ones(4), np.full(4, 0.1)) == Spread(0.0)
