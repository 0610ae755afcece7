"""What differs along an edge of a repeated image, so that blocks work out the same only once.

A block is a zero-padded convolution by 3, ReLU and a pool by 2, along each axis alike. Two of its
cells, the outputs of its pool, are of one kind if they see the same kinds of what the block before
left, and the field of a block keeps one of each kind for every window that the next block looks at.
"""

from typing import NamedTuple

import numpy as np


class Groups(NamedTuple):
    """Numbers by group, int64: those of group g are ``members[starts[g] : starts[g + 1]]``."""

    starts: np.ndarray
    members: np.ndarray


class Cells(NamedTuple):
    """Along an edge, the cells of a first block, one of each kind, int64, and the places that each
    takes in a row of ``length``; other places are padding, 0."""

    cells: np.ndarray
    places: Groups
    length: int


class Pool(NamedTuple):
    """Along an edge, the voxels ``pairs`` int64 [P, 2] of a convolution that each place of the next
    row averages, -1 where that is padding; and by voxel of ``length`` the places it counts in."""

    pairs: np.ndarray
    places: Groups
    length: int


def repeated_blocks(voxels: int, copies: int, blocks: int) -> tuple[Cells, list[Pool]]:
    """Rows of ``blocks`` blocks, 2 or more, on ``copies`` images of ``voxels`` after each other.

    The first block leaves the row of its cells, each other convolves it without padding, and its
    pool leaves the next; the last one leaves all cells in their order.
    """
    kinds, cells = _kinds(voxels_seen(voxels, copies))
    row, starts = _row_to_convolve(kinds)
    first = Cells(cells, _groups(row, len(cells)), len(row))
    pools = []
    for more in reversed(range(blocks - 1)):
        length, pairs = len(row) - 2, starts.reshape(-1, 2)
        kinds, some = _kinds(pairs)
        row, starts = _row_to_convolve(kinds) if more else (kinds, None)
        pools.append(_pool(pairs[some], row, length))
    return first, pools


def voxels_seen(voxels: int, copies: int) -> np.ndarray:
    """Voxels that each cell of a first block sees along an edge, int64 [cells, 4], those of one
    image; -1 beyond the edge."""
    edge = voxels * copies
    seen = 2 * np.arange(edge // 2)[:, None] + np.arange(-1, 3)
    return np.where((seen >= 0) & (seen < edge), seen % voxels, -1)


def row_of_windows(windows: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """A row in which each of the ``windows`` int64 [W, size] occurs, and where in it, int64 [W].

    Each window is like the one before, ``step`` values on, except where the row would hold it
    twice. Windows begin at multiples of ``step``.
    """
    size, row = windows.shape[1], []
    places: dict[tuple[int, ...], int] = {}
    for window in map(tuple, windows.tolist()):
        if window in places:
            continue
        shared = size - step
        row += window[shared:] if row and tuple(row[-shared:]) == window[:shared] else window
        places[window] = len(row) - size
    return np.array(row), np.array([places[window] for window in map(tuple, windows.tolist())])


def _row_to_convolve(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row of kinds, -1 being padding, whose convolution by 3 has all that the pool takes from an
    edge of ``kinds``; and where, for each voxel of that edge but the last of an odd number."""
    padded = np.concatenate([[-1], kinds, [-1]])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3)
    return row_of_windows(windows[: len(kinds) // 2 * 2], 1)


def _pool(pairs: np.ndarray, row: np.ndarray, length: int) -> Pool:
    """The pool into a row of kinds from ``pairs`` [kinds, 2] of ``length`` voxels."""
    averaged = np.where(row[:, None] < 0, -1, pairs[row])
    places = np.repeat(np.arange(len(row)), 2)
    groups = _groups(averaged.ravel(), length)
    return Pool(averaged, Groups(groups.starts, places[groups.members]), length)


def _kinds(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each row, int64, equal for equal rows, and the first row of each kind."""
    _, first, kinds = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # kinds are numbered as they occur
    return np.argsort(order)[kinds.ravel()], first[order]


def _groups(groups: np.ndarray, count: int) -> Groups:
    """Places by group 0 ... ``count`` - 1; those of none (-1) are left out."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(count + 1))
    return Groups(starts - starts[0], order[starts[0] :])
