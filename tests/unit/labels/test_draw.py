"""The draw belongs to the structures, not to workers or to the order of a shard."""

import numpy as np
import pytest

from morphion.labels.draw import draw

FAMILY = np.array(["rsa"] * 5 + ["chain"] * 15, dtype=object)
INDEX = np.concatenate([np.arange(5), np.arange(15)])
CONVERGED = np.ones(20, bool)


def drawn(count, converged=CONVERGED, seed=1, set_="round0"):
    return draw(FAMILY, INDEX, converged, count, seed, set_)


def test_a_larger_draw_begins_with_the_smaller_one():
    many = drawn(12)
    assert len(set(many)) == 12
    for count in (0, 1, 5):
        np.testing.assert_array_equal(drawn(count), many[:count])


def test_the_same_structures_are_drawn_from_rows_in_another_order():
    order = np.random.default_rng(1).permutation(20)
    rows = draw(FAMILY[order], INDEX[order], CONVERGED, 6, 1, "round0")
    np.testing.assert_array_equal(order[rows], drawn(6))


def test_flagged_labels_are_drawn_with_the_rest_but_do_not_count():
    order = drawn(20)
    converged = CONVERGED.copy()
    converged[order[[0, 2, 7]]] = False
    np.testing.assert_array_equal(drawn(4, converged), order[:6])


@pytest.mark.parametrize("left", [0, 3])
def test_a_shard_with_too_few_converged_labels_is_drawn_whole(left):
    converged = np.arange(20) < left
    assert sorted(drawn(4, converged)) == list(range(20))


def test_seeds_and_sets_draw_differently():
    draws = {tuple(drawn(6, seed=s, set_=name)) for s in (1, 2) for name in ("round0", "round1")}
    assert len(draws) == 4


def test_every_structure_is_drawn_equally_often_within_three_standard_errors():
    draws = 1000
    counts = np.bincount(np.concatenate([drawn(4, seed=s) for s in range(draws)]), minlength=20)
    expected = draws * 4 / 20
    # Largest of twenty deviations: three standard errors corrected for their number is 3.8.
    assert np.abs(counts - expected).max() < 3.8 * np.sqrt(expected * 0.8)
