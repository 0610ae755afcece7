"""The leverage of sensitivities: how unlike a training set a structure is."""

import os
import subprocess
import sys

import numpy as np
import pytest

from morphion.errors import SurrogateError
from morphion.surrogates.leverage import familiar_with, leverage


@pytest.fixture(scope="module")
def known():
    """Sensitivities of 400 structures, the last two of which are 0."""
    mixed = np.random.default_rng(1).normal(size=(400, 6)) @ np.diag([1, 0.3, 30, 1, 0.1, 1])
    return np.hstack([mixed, np.zeros((400, 2))])


def test_it_is_1_over_the_training_set(known):
    found = leverage(known, familiar_with(known))
    assert np.sqrt(np.mean(found**2)) == pytest.approx(1, rel=1e-5)


def test_it_is_that_of_least_squares(known):
    """The variance of a linear fit's prediction, sigma^2 x (X^T X)^-1 x^T."""
    new = np.random.default_rng(2).normal(size=(5, 8)) * known.std(axis=0)
    inverse = np.linalg.inv(known[:, :6].T @ known[:, :6])
    expected = np.sqrt(np.einsum("bi,ij,bj->b", new[:, :6], inverse, new[:, :6]))
    expected /= np.sqrt(6 / 400)
    np.testing.assert_allclose(leverage(new, familiar_with(known)), expected, rtol=2e-3)


def test_it_grows_where_nothing_was_learned(known):
    alike, unlike = np.tile(known[:50], (2, 1, 1))
    unlike[:, 1] *= 30
    familiar = familiar_with(known)
    assert np.median(leverage(unlike, familiar) / leverage(alike, familiar)) > 5


def test_what_training_never_met_is_new(known):
    alike, unlike = np.tile(known[:50], (2, 1, 1))
    unlike[:, 6:] = 0.1
    familiar = familiar_with(known)
    assert (leverage(unlike, familiar) > 10 * leverage(alike, familiar).max()).all()


def test_what_rounding_leaves_of_a_tail_decides_nothing(known):
    tails = known.copy()
    tails[:, 6:] = 1e-30
    found = leverage(known, familiar_with(tails))
    np.testing.assert_allclose(found, leverage(known, familiar_with(known)), rtol=1e-6)


def test_sensitivities_that_are_no_numbers_are_refused(known):
    broken = known.copy()
    broken[3, 2] = np.nan
    with pytest.raises(SurrogateError, match="no sound conductances"):
        familiar_with(broken)


def test_nothing_is_new_to_a_network_that_knows_nothing(known):
    np.testing.assert_array_equal(leverage(known, np.zeros((8, 8), np.float32)), 0)


def test_it_does_not_depend_on_the_threads_of_linear_algebra():
    """Nor do the weights of a training, then; with numpy's own the last digits did."""
    script = (
        "import sys, numpy as np\n"
        "from morphion.surrogates.leverage import familiar_with\n"
        "rng = np.random.default_rng(1)\n"
        "away = rng.uniform(1, 4, (400, 30, 1)) - np.linspace(1, 4, 110)\n"
        "known = np.exp(-200 * away**2).mean(axis=1)\n"
        "sys.stdout.buffer.write(familiar_with(known).tobytes())\n"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert len(found[0]) == 4 * 110 * 110
    assert found[0] == found[1]
