"""The shared exponential function against NumPy's."""

import numpy as np

from morphion.elementary import EXP_RANGE, EXP_RELATIVE_ERROR, exps


def test_exp_agrees_with_the_exponential_function():
    x = np.linspace(-EXP_RANGE, EXP_RANGE, 1_000_001)
    # NumPy's own error is of the order of the last bit as well.
    assert np.abs(exps(x) / np.exp(x) - 1).max() < 2 * EXP_RELATIVE_ERROR


def test_exp_is_clamped_not_wrapped():
    low, high = exps(np.array([-1e4, 1e4]))
    assert low == exps(np.array([-EXP_RANGE]))[0] > 0
    assert high == exps(np.array([EXP_RANGE]))[0] < np.inf


def test_exp_of_zero_is_one():
    assert exps(np.zeros(1))[0] == 1.0
