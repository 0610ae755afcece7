"""Splitting a data set into training, validation and test sets."""

from collections.abc import Sequence

import numpy as np

from morphion.philox import generator

NAMES = ("train", "validation", "test")
UNUSED = "unused"


def split_sizes(count: int, shares: Sequence[float]) -> tuple[int, int, int]:
    """Sizes of the three sets; what rounding leaves over goes to ``train``.

    8192 structures at 60/20/20 give the paper's 4916, 1638 and 1638.
    """
    validation, test = round(count * shares[1]), round(count * shares[2])
    return count - validation - test, validation, test


def random_split(usable: np.ndarray, shares: Sequence[float], seed: int, round_: int) -> np.ndarray:
    """Random split of the structures where ``usable`` (bool [structures]); object array of names.

    The others get the name ``unused``.
    """
    names = np.full(len(usable), UNUSED, dtype=object)
    members = generator(seed, "split-random", round_).permutation(np.flatnonzero(usable))
    train, validation, _ = split_sizes(len(members), shares)
    for name, part in zip(NAMES, np.split(members, [train, train + validation]), strict=True):
        names[part] = name
    return names


def grouped_split(
    usable: np.ndarray, groups: np.ndarray, shares: Sequence[float], seed: int, round_: int
) -> np.ndarray:
    """Split in which no group stands in two sets; object array of names.

    Structures of one annealing run are one move apart, so that a random split tests on near
    copies of what was trained on. Groups are taken in order of size, largest first and ties at
    random, each to the set that lacks most of its share.
    """
    names = np.full(len(usable), UNUSED, dtype=object)
    members = np.flatnonzero(usable)
    if len(members) == 0:
        return names
    _, inverse, sizes = np.unique(
        groups[members].astype(str), return_inverse=True, return_counts=True
    )
    tie_break = generator(seed, "split-by-run", round_).random(len(sizes))
    missing = np.array(split_sizes(len(members), shares), dtype=float)
    target = np.maximum(missing.copy(), 1)
    assignment = np.empty(len(sizes), dtype=int)
    for group in np.lexsort((tie_break, -sizes)):
        assignment[group] = np.argmax(missing / target)
        missing[assignment[group]] -= sizes[group]
    names[members] = np.array(NAMES, dtype=object)[assignment[inverse]]
    return names
