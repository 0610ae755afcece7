"""Images of structures: 1 inside a sphere, 0 outside (section 2.3 of the paper)."""

import math
from collections.abc import Iterator

import numpy as np
from numba import njit, prange

_BLOCK = 64  # structures to a block: 27 MB of 75^3 images


@njit(cache=True, parallel=True)
def _fill(positions, box_length, diameter, image):
    n = image.shape[1]
    spacing = box_length / n
    reach = math.ceil(0.5 * diameter / spacing) + 1
    limit = (0.5 * diameter) ** 2
    for s in prange(positions.shape[0]):
        for p in range(positions.shape[1]):
            x, y, z = positions[s, p, 0], positions[s, p, 1], positions[s, p, 2]
            first_x = math.floor(x / spacing) - reach
            first_y = math.floor(y / spacing) - reach
            first_z = math.floor(z / spacing) - reach
            for k in range(first_z, first_z + 2 * reach + 1):
                dz = (k + 0.5) * spacing - z
                for j in range(first_y, first_y + 2 * reach + 1):
                    dy = (j + 0.5) * spacing - y
                    plane = dz * dz + dy * dy
                    if plane >= limit:
                        continue
                    row = image[s, k % n, j % n]
                    wrapped = first_x % n
                    for i in range(first_x, first_x + 2 * reach + 1):
                        dx = (i + 0.5) * spacing - x
                        if plane + dx * dx < limit:
                            row[wrapped] = True
                        wrapped = wrapped + 1 if wrapped + 1 < n else 0


def voxelise(positions: np.ndarray, box_length: float, diameter: float, voxels: int) -> np.ndarray:
    """Binary images of structures, bool [B, n, n, n] indexed [structure, z, y, x].

    A voxel is 1 if its centre lies closer than diameter / 2 to the nearest periodic image of a
    sphere's centre. ``positions`` [B, N, 3] (x, y, z) and lengths are in the project's unit;
    n = ``voxels`` along the box edge, with centres at (i + 1/2) L / n.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    image = np.zeros((len(positions), voxels, voxels, voxels), dtype=np.bool_)
    _fill(positions, float(box_length), float(diameter), image)
    return image


def iter_voxel_blocks(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    voxels: int,
    block: int = _BLOCK,
) -> Iterator[np.ndarray]:
    """Images as ``voxelise`` gives them, ``block`` structures at a time, so that a data set of any
    size needs the memory of one block."""
    for start in range(0, len(positions), block):
        yield voxelise(positions[start : start + block], box_length, diameter, voxels)
