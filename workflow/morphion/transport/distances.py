"""Local diffusivity and free energy from the distances to the two nearest centres."""

import math

import numpy as np
from numba import njit, prange

from morphion.transport.coverage import images_within, sites_within
from morphion.transport.lattice import SMALLEST_DIFFUSIVITY


def largest_distance(grid, particles: int, box_length: float) -> float:
    """Distance beyond which a centre cannot change the interpolated value, voxels.

    Beyond its last node the table is constant; and no point is farther than sqrt(3)/2 L from the
    nearest image of any particle (a single particle's second-nearest image is within 3/2 L).
    """
    table_end = max(grid.first[-1], grid.second[-1])
    return min(table_end, (math.sqrt(3) / 2 if particles > 1 else 1.5) * box_length)


@njit(inline="always")
def _cell(axis, value):
    """Cell of a grid axis and the fraction within it; clamped to the ends."""
    last = axis.shape[0] - 1
    if value <= axis[0]:
        return 0, 0.0
    if value >= axis[last]:
        return last - 1, 1.0
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if axis[middle] <= value:
            low = middle
        else:
            high = middle
    return low, (value - axis[low]) / (axis[low + 1] - axis[low])


@njit(cache=True)
def interpolate(first, second, values, d1, d2):
    """Bilinear interpolation of values[first, second] at (d1, d2), clamped to the ends.

    A corner of weight 0 is not touched, for it may be a node the table does not define.
    """
    i, s = _cell(first, d1)
    j, t = _cell(second, d2)
    total = 0.0
    for di in range(2):
        for dj in range(2):
            weight = (s if di else 1 - s) * (t if dj else 1 - t)
            if weight > 0:
                total += weight * values[i + di, j + dj]
    return total


@njit(cache=True)
def _nearest_two(near2, next2, x2, y2, z, reach2, h):
    """Let one particle image compete for the two nearest places along a row of sites."""
    n = near2.shape[0]
    first, last = sites_within(z, math.sqrt(reach2 - x2 - y2), h)
    for k in range(first, last + 1):
        d2 = x2 + y2 + ((k + 0.5) * h - z) ** 2
        site = k % n
        if d2 < near2[site]:
            next2[site] = near2[site]
            near2[site] = d2
        elif d2 < next2[site]:
            next2[site] = d2


@njit(parallel=True, cache=True)
def fill(positions, box_length, diameter, reach, first, second, log_d, u, diffusivity, energy):
    """Fill ``diffusivity`` and ``energy`` (float32 [n, n, n]); D = 0 where blocked.

    positions: float64 [particles, 3]; first, second: grid axes of (d1, d2) in voxels; log_d, u:
    float64 [first, second]; reach: see :func:`largest_distance`.
    """
    n = diffusivity.shape[0]
    h = box_length / n
    # A site without two centres within reach keeps this distance, at which the table is clamped.
    beyond2 = (reach * (1 + 1e-12)) ** 2
    for i in prange(n):
        near2 = np.full((n, n), beyond2)
        next2 = np.full((n, n), beyond2)
        site = (i + 0.5) * h
        for p in range(positions.shape[0]):
            x, y, z = positions[p]
            low, high = images_within(x, site, box_length, reach)
            for m in range(low, high + 1):
                x2 = (site - x - m * box_length) ** 2
                if x2 > reach * reach:
                    continue
                start, stop = sites_within(y, math.sqrt(reach * reach - x2), h)
                for j in range(start, stop + 1):
                    y2 = ((j + 0.5) * h - y) ** 2
                    if x2 + y2 <= reach * reach:
                        _nearest_two(near2[j % n], next2[j % n], x2, y2, z, reach * reach, h)
        for j in range(n):
            for k in range(n):
                if near2[j, k] < (diameter / 2) ** 2:
                    diffusivity[i, j, k] = 0.0
                    energy[i, j, k] = 0.0
                else:
                    d1, d2 = math.sqrt(near2[j, k]), math.sqrt(next2[j, k])
                    d = math.exp(interpolate(first, second, log_d, d1, d2))
                    diffusivity[i, j, k] = max(d, SMALLEST_DIFFUSIVITY)
                    energy[i, j, k] = interpolate(first, second, u, d1, d2)
