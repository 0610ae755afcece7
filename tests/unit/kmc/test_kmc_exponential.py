"""The exponential variates against NumPy's logarithm and the moments of the distribution."""

import numpy as np
import pytest

from morphion.kmc.exponential import RELATIVE_ERROR, exponentials
from morphion.philox import generator


@pytest.fixture(scope="module")
def words():
    edges = np.concatenate([np.arange(1 << 16), (1 << 32) - 1 - np.arange(1 << 16)])
    powers = np.concatenate([[(1 << k) - 1, 1 << k, (1 << k) + 1] for k in range(1, 32)])
    random = generator(1, "test words").integers(0, 1 << 32, 4_000_000)
    return np.concatenate([edges, powers, random]).astype(np.uint32)


def test_exponential_agrees_with_the_logarithm_to_its_documented_error(words):
    complement = (np.float64(1 << 32) - words - 0.5) / (1 << 32)
    expected = np.where(words > 1 << 31, -np.log1p(-complement), -np.log((words + 0.5) / (1 << 32)))
    assert np.abs(exponentials(words) / expected - 1).max() < RELATIVE_ERROR < 1e-6


def test_exponential_is_positive_finite_and_falls_with_the_word():
    ends = exponentials(np.array([0, 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1], np.uint32))
    assert ends[0] == pytest.approx(33 * np.log(2))
    assert ends[-1] == pytest.approx(2.0**-33)
    assert (np.diff(ends) < 0).all()


def test_moments_over_evenly_spaced_words_are_those_of_the_exponential_distribution():
    """The midpoint rule over 2^22 strata leaves errors of order 1e-6."""
    even = (np.arange(1 << 22, dtype=np.uint64) << np.uint64(10)) + np.uint64(512)
    values = exponentials(even.astype(np.uint32))
    for order, moment in ((1, 1), (2, 2), (3, 6), (4, 24)):
        assert (values**order).mean() == pytest.approx(moment, rel=2e-3 if order > 2 else 1e-4)
