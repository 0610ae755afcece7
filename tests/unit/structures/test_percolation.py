"""Distances at which clusters merge and wind around the box, against hand-made structures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree

from morphion.structures.descriptors import clusters, percolates
from morphion.structures.percolation import coordination, joining_distances

BOX = 20.0


def chain(*axes, spacing=2.0):
    """Particles 2 apart along each of the axes, through one corner: 10 to an axis."""
    parts = []
    for axis in axes:
        part = np.ones((10, 3))
        part[:, axis] += spacing * np.arange(10)
        parts.append(part)
    return np.unique(np.concatenate(parts), axis=0)


def joined(centres):
    merging, winding = joining_distances(np.asarray(centres, float)[None], BOX)
    return merging[0], winding[0]


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_chains_span_the_axes_they_run_along(axes):
    merging, winding = joined(chain(*axes))
    np.testing.assert_allclose(merging, 2.0)
    np.testing.assert_allclose(winding[list(axes)], 2.0)
    assert (np.delete(winding, axes) > 10 - 1e-9).all()


def test_a_gap_decides_when_a_chain_spans():
    centres = chain(0)
    centres[3:, 0] += 1.0
    merging, winding = joined(centres)
    np.testing.assert_allclose(merging, [1.0] + [2.0] * 8)
    assert winding[0] == pytest.approx(3.0)
    closed = chain(0)[:-1]
    assert joined(closed)[1][0] == pytest.approx(4.0)


def test_a_diagonal_chain_spans_both_axes_it_winds_around():
    centres = np.ones((10, 3))
    centres[:, :2] += 2.0 * np.arange(10)[:, None]
    _, winding = joined(centres)
    np.testing.assert_allclose(winding[:2], np.sqrt(8))
    assert winding[2] == 10.0


def test_isolated_clusters_and_a_closed_ring_span_nothing():
    angle = 2 * np.pi * np.arange(8) / 8
    ring = 5 + 2.5 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    merging, winding = joined(np.concatenate([ring, ring + 10]))
    bond = 5 * np.sin(np.pi / 8)
    np.testing.assert_allclose(merging[:14], bond)
    assert merging[14] == 10.0
    assert (winding == 10.0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.floats(0.5, 9.5))
def test_one_sweep_says_what_each_cutoff_says(seed, particles, cutoff):
    centres = np.random.default_rng(seed).uniform(0, BOX, (particles, 3))
    merging, winding = joined(centres)
    assert particles - (merging < cutoff).sum() == clusters(centres, BOX, cutoff).max() + 1
    np.testing.assert_array_equal(winding < cutoff, percolates(centres, BOX, cutoff))


def test_merging_distances_are_the_edges_of_the_minimum_spanning_tree():
    centres = np.random.default_rng(5).uniform(0, BOX, (60, 3))
    separation = centres[:, None] - centres
    separation -= BOX * np.round(separation / BOX)
    tree = minimum_spanning_tree(np.sqrt((separation**2).sum(-1))).data
    np.testing.assert_allclose(joined(centres)[0], np.sort(tree), rtol=1e-12)


def test_coordination_counts_neighbours_through_the_boundary():
    found = coordination(np.stack([chain(0), chain(0)[:, [2, 1, 0]]]), BOX, 2.5)
    assert (found == 2).all()
    assert (coordination(chain(0)[None], BOX, 1.9) == 0).all()
