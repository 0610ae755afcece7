"""Binary and soft images of structures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphion.structures.voxels import iter_voxel_blocks, voxelise

BOX = 75.0
DIAMETER = (0.6 * BOX**3 / (math.pi * 91)) ** (1 / 3)


def brute_force(positions, box, diameter, n):
    """The definition, voxel by voxel."""
    centres = (np.arange(n) + 0.5) * box / n
    image = np.zeros((n, n, n), bool)
    for x, y, z in positions:
        squared = 0.0
        for axis, c in enumerate((z, y, x)):
            d = centres - c
            d -= box * np.round(d / box)
            squared = squared + (d**2).reshape([-1 if k == axis else 1 for k in range(3)])
        image |= squared < (diameter / 2) ** 2
    return image


@settings(max_examples=20, deadline=None)
@given(st.integers(16, 24), st.floats(2.0, 12.0), st.integers(0, 2**32 - 1))
def test_a_voxel_is_filled_if_its_centre_lies_in_a_periodic_sphere(n, diameter, seed):
    positions = np.random.default_rng(seed).uniform(0, 20, (2, 4, 3))
    images = voxelise(positions, 20.0, diameter, n)
    for image, structure in zip(images, positions, strict=True):
        np.testing.assert_array_equal(image, brute_force(structure, 20.0, diameter, n))


def test_images_are_indexed_z_y_x():
    image = voxelise(np.array([[[2.5, 7.5, 12.5]]]), 20.0, 1.5, 20)[0]
    assert list(np.argwhere(image)[0]) == [12, 7, 2]
    assert image.sum() == 1


def test_filled_share_matches_the_volume_fraction():
    # Spheres on a 5 x 5 x 4 lattice (minus nine) do not overlap; offsets average the voxels' edges.
    grid = np.stack(np.meshgrid(*(np.arange(k) * BOX / k for k in (5, 5, 4)), indexing="ij"), -1)
    lattice = grid.reshape(-1, 3)[:91]
    rng = np.random.default_rng(3)
    positions = (lattice + rng.uniform(0, BOX, (20, 1, 3)) + rng.uniform(0, 1, (20, 91, 3))) % BOX
    share = voxelise(positions, BOX, DIAMETER, 75).mean()
    assert share == pytest.approx(0.1, rel=2e-3)


def test_blocks_join_to_the_whole():
    positions = np.random.default_rng(0).uniform(0, BOX, (7, 10, 3)).astype(np.float32)
    blocks = list(iter_voxel_blocks(positions, BOX, DIAMETER, 25, block=3))
    assert [len(block) for block in blocks] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), voxelise(positions, BOX, DIAMETER, 25))
