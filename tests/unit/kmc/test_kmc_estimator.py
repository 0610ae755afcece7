"""Curves, weights and the standard error, on processes whose diffusivity is known."""

import math

import numpy as np
import pytest

from morphion.kmc.curves import COMPONENTS, curves
from morphion.kmc.estimator import diffusivity, mean_and_stderr
from morphion.kmc.weights import LAGS, slope_weights
from morphion.philox import generator

LAG = np.arange(1, LAGS + 1)


def test_curves_average_over_all_time_origins():
    displacements = generator(1, "test curves").integers(-90, 90, (3, 45, 3)).astype(np.int32)
    products = curves(displacements, threads=2).products
    position = np.concatenate([np.zeros((3, 1, 3)), displacements], axis=1)
    for lag in (1, 17, 32):
        step = position[:, lag:] - position[:, :-lag]
        expected = [(step[..., a] * step[..., b]).mean(axis=1) for a, b in COMPONENTS]
        np.testing.assert_allclose(products[:, lag - 1], np.transpose(expected), rtol=1e-13)


@pytest.mark.parametrize("first_lag", [8, 16])
@pytest.mark.parametrize("intercept", [0.0, 1.0, 8.0])
def test_weights_take_the_slope_and_ignore_the_intercept(first_lag, intercept):
    weights = slope_weights(200, intercept, first_lag).weights
    assert (weights[: first_lag - 1] == 0).all()
    assert weights.sum() == pytest.approx(0, abs=1e-12)
    assert weights @ LAG == pytest.approx(1, rel=1e-12)


def test_model_variance_is_that_of_brownian_motion_with_position_noise():
    walkers, samples, intercept = 6000, 80, 2.0
    random = generator(2, "test brownian")
    path = np.cumsum(random.normal(0, 100, (walkers, samples + 1, 3)), axis=1)
    path += random.normal(0, 100 * np.sqrt(intercept / 2), path.shape)
    displacements = np.rint(path[:, 1:] - path[:, :1]).astype(np.int32)
    model = slope_weights(samples, intercept, 8)
    traces = curves(displacements, 2).slopes(model.weights)[:, :3].mean(axis=1) / 100**2
    assert abs(traces.mean() - 1) < 3 * traces.std() / np.sqrt(walkers)
    assert traces.var() / traces.mean() ** 2 == pytest.approx(model.relative_variance, rel=0.08)


def test_generalised_least_squares_beats_a_plain_line():
    plain = np.zeros(LAGS)
    lags = LAG[7:] - LAG[7:].mean()
    plain[7:] = lags / (lags**2).sum()
    random = generator(3, "test brownian")
    path = np.cumsum(random.normal(0, 100, (2000, 201, 3)), axis=1)
    walk = curves(np.rint(path[:, 1:] - path[:, :1]).astype(np.int32), 2)
    optimal = slope_weights(200, 0.0, 8).weights
    assert walk.slopes(optimal)[:, 0].std() < 0.8 * walk.slopes(plain)[:, 0].std()


def test_standard_error_of_the_mean_is_that_of_the_walkers_traces():
    """Three components that rise and fall together: adding their errors would give too little."""
    common = generator(4, "test slopes").normal(1.0, 0.5, 400)
    slopes = np.repeat(common[:, None], 6, axis=1)
    found = diffusivity(slopes)
    student = math.sqrt(399 / 397)  # standard deviation of t with 399 degrees of freedom
    assert found.stderr == pytest.approx(student * common.std(ddof=1) / 20)
    assert found.stderr == pytest.approx(found.tensor_stderr[0, 0])
    np.testing.assert_array_equal(found.tensor, found.tensor.T)


def test_few_walkers_give_z_of_unit_variance():
    """Without the widening, eight walkers would give a standard deviation of 1.18."""
    values = generator(3, "few-walkers").normal(size=(8, 20_000))
    mean, stderr = mean_and_stderr(values)
    assert (mean / stderr).std() == pytest.approx(1, abs=0.03)
