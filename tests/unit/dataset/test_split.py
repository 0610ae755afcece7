"""Splits have the paper's sizes, repeat, and can keep annealing runs apart."""

import numpy as np
import pytest

from morphion.dataset import grouped_split, random_split
from morphion.dataset.split import split_sizes

SHARES = (0.6, 0.2, 0.2)


@pytest.mark.parametrize(
    ("count", "sizes"), [(8192, (4916, 1638, 1638)), (15472, (9284, 3094, 3094)), (0, (0, 0, 0))]
)
def test_split_sizes_are_the_papers(count, sizes):
    assert split_sizes(count, SHARES) == sizes


def test_random_split_is_a_partition_of_the_usable_structures():
    usable = np.arange(100) % 10 != 0
    names = random_split(usable, SHARES, seed=1, round_=0)
    assert {name: int((names == name).sum()) for name in set(names)} == {
        "train": 54,
        "validation": 18,
        "test": 18,
        "unused": 10,
    }
    assert (names[~usable] == "unused").all()


def test_random_split_changes_with_the_round_only():
    usable = np.ones(50, bool)
    assert (random_split(usable, SHARES, 1, 0) == random_split(usable, SHARES, 1, 0)).all()
    assert (random_split(usable, SHARES, 1, 0) != random_split(usable, SHARES, 1, 1)).any()


def test_no_annealing_run_stands_in_two_sets():
    groups = np.array(
        [f"chain-{i}" for i in range(60)] + [f"run{i % 5}" for i in range(50)], dtype=object
    )
    names = grouped_split(np.ones(110, bool), groups, SHARES, seed=4, round_=1)
    for group in np.unique(groups.astype(str)):
        assert len(set(names[groups == group])) == 1
    counts = [(names == name).sum() for name in ("train", "validation", "test")]
    np.testing.assert_allclose(counts, [66, 22, 22], atol=1)


def test_every_set_gets_a_run_when_there_are_enough():
    groups = np.array(["a", "b", "c", "d"] * 6, dtype=object)
    names = grouped_split(np.ones(24, bool), groups, SHARES, seed=0, round_=1)
    assert set(names) == {"train", "validation", "test"}
