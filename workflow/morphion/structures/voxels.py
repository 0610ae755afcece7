"""Images of structures: 1 inside a sphere, 0 outside (section 2.3 of the paper), or soft ones,
the share of each voxel that lies inside spheres."""

import math
from collections.abc import Iterator

import numpy as np
from numba import njit, prange

FULL = 255  # a soft voxel wholly inside a sphere
_HALF_DIAGONAL = math.sqrt(3) / 2
_LEAST_SLOPE = 1e-3  # of a plane: the volume under it divides by its three slopes
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


@njit(cache=True)
def _share_below(level, a, b, c):
    """Volume of the unit cube about 0 in which a x + b y + c z < level; a, b, c > 0.

    Scardovelli & Zaleski, J. Comput. Phys. 2000, doi:10.1006/jcph.2000.6567.
    """
    top = a + b + c
    level += 0.5 * top
    if level <= 0:
        return 0.0
    if level >= top:
        return 1.0
    volume = level**3
    for slope in (a, b, c):
        if level > slope:
            volume -= (level - slope) ** 3
    for slope in (a + b, b + c, a + c):
        if level > slope:
            volume += (level - slope) ** 3
    return min(max(volume / (6 * a * b * c), 0.0), 1.0)


@njit(cache=True, parallel=True)
def _fill_soft(positions, spacing, diameter, image):
    n = image.shape[1]
    radius = 0.5 * diameter / spacing
    reach = math.ceil(radius) + 1
    limit = (radius + _HALF_DIAGONAL) ** 2
    for s in prange(positions.shape[0]):
        for p in range(positions.shape[1]):
            x, y, z = positions[s, p] / spacing
            first_x = math.floor(x) - reach
            first_y = math.floor(y) - reach
            first_z = math.floor(z) - reach
            for k in range(first_z, first_z + 2 * reach + 1):
                dz = abs(k + 0.5 - z)
                for j in range(first_y, first_y + 2 * reach + 1):
                    dy = abs(j + 0.5 - y)
                    plane = dz * dz + dy * dy
                    if plane >= limit:
                        continue
                    row = image[s, k % n, j % n]
                    for i in range(first_x, first_x + 2 * reach + 1):
                        dx = abs(i + 0.5 - x)
                        distance = math.sqrt(plane + dx * dx)
                        inside = radius - distance
                        if inside <= -_HALF_DIAGONAL:
                            continue
                        share = 1.0
                        if inside < _HALF_DIAGONAL and distance > 0:
                            # The sphere curves away from its tangent plane: t^2 / 2 R at a
                            # distance t, and t^2 is 1/6 on average over a voxel.
                            share = _share_below(
                                inside - 1 / (12 * distance),
                                max(dx / distance, _LEAST_SLOPE),
                                max(dy / distance, _LEAST_SLOPE),
                                max(dz / distance, _LEAST_SLOPE),
                            )
                        at = i % n
                        # Spheres share a voxel, never a point of it.
                        row[at] = min(FULL, row[at] + int(FULL * share + 0.5))


def soft_voxels(
    positions: np.ndarray, box_length: float, diameter: float, voxels: int
) -> np.ndarray:
    """Soft images of structures, uint8 [B, n, n, n] indexed [structure, z, y, x].

    A voxel holds the share of its volume inside spheres in units of 1/255: that below the tangent
    plane of the sphere, corrected for its curvature, right to 0.01 for spheres of at least 8
    voxels across. Arguments as for ``voxelise``.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    image = np.zeros((len(positions), voxels, voxels, voxels), dtype=np.uint8)
    _fill_soft(positions, box_length / voxels, float(diameter), image)
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
