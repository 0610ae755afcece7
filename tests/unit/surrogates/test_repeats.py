"""Rows of a repeated image hold all that its blocks compute, and of what repeats one of each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphion.surrogates.repeats import repeated_blocks, row_of_windows


def blocks_of(row, count):
    """Blocks along an edge by their definition."""
    fields = [row]
    for _ in range(count):
        padded = np.pad(fields[-1], 1)
        active = np.maximum(padded[:-2] - 2 * padded[1:-1] + 0.7 * padded[2:] + 0.1, 0)
        half = len(active) // 2
        fields.append(active[: 2 * half].reshape(half, 2).mean(1))
    return fields[1:]


@given(st.integers(1, 40), st.integers(1, 4), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_blocks_by_rows_are_those_of_the_whole_edge(voxels, copies, blocks, seed):
    if voxels * copies < 2**blocks:
        return
    image = np.random.default_rng(seed).normal(size=voxels)
    first, *_, last = blocks_of(np.tile(image, copies), blocks)
    cells, pools = repeated_blocks(voxels, copies, blocks)
    row = np.zeros(cells.length)
    starts, members = cells.places
    for kind, cell in enumerate(cells.cells):
        row[members[starts[kind] : starts[kind + 1]]] = first[cell]
    for pairs, places, length in pools:
        active = np.maximum(row[:-2] - 2 * row[1:-1] + 0.7 * row[2:] + 0.1, 0)
        assert len(active) == length
        row = np.where(pairs[:, 0] < 0, 0, active[pairs].mean(1))
        # What the gradient takes: the places by voxel are the voxels by place.
        by_voxel = [
            (int(place), voxel)
            for voxel in range(length)
            for place in places.members[places.starts[voxel] : places.starts[voxel + 1]]
        ]
        by_place = [(i, int(v)) for i, pair in enumerate(pairs) for v in pair if v >= 0]
        assert sorted(by_voxel) == sorted(by_place)
    np.testing.assert_allclose(row, last)


def test_blocks_of_the_paper_convolve_a_third_of_its_image():
    cells, (second, third, fourth) = repeated_blocks(75, 3, 4)
    assert (len(cells.cells), cells.length) == (76, 82)  # of 112 cells
    # A period of 75 cells of 112, then of 75 of 56: later blocks see nothing twice.
    assert (second.length, third.length, fourth.length) == (80, 56, 28)
    assert len(fourth.pairs) == 14


@pytest.mark.parametrize("voxels", [75, 76])
def test_an_image_by_itself_is_only_padded(voxels):
    cells, (second, _) = repeated_blocks(voxels, 1, 3)
    used = voxels // 2 // 2 * 2
    assert cells.length == min(voxels // 2 + 2, used + 2)
    assert second.length == used
    averaged = second.pairs[second.pairs[:, 0] >= 0]
    np.testing.assert_array_equal(averaged.ravel(), np.arange(used))


def test_a_window_that_occurs_again_takes_no_place():
    windows = np.array([[0, 1, 2, 3], [2, 3, 4, 5], [0, 1, 2, 3], [4, 5, 6, 7]])
    row, starts = row_of_windows(windows, 2)
    np.testing.assert_array_equal(row, np.arange(8))
    np.testing.assert_array_equal(starts, [0, 2, 0, 4])
