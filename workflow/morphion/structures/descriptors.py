"""Descriptors of a structure: g(r), nearest neighbours, clusters, percolation.

All lengths are in voxels and all separations are to the nearest periodic image.
"""

import math

import numpy as np
from numba import njit, prange

from morphion.errors import StructureError
from morphion.structures.geometry import squared_separation

MAX_DISTANCE = 38  # the paper's last bin, half its box rounded up


def ball_in_cube_volume(radius: float | np.ndarray, edge: float) -> np.ndarray:
    """Volume that a ball shares with a cube around the same centre, float64 in the shape of radius.

    With the half edge a, the ball loses six caps once R > a; two neighbouring caps share a wedge
    {x > a, y > a} once R > sqrt(2) a, counted twice; at R = sqrt(3) a the cube is full. Hence

        V(R) = 4/3 pi R^3 - 6 C + 12 W,    C = pi/3 (R - a)^2 (2R + a)
        W = 2/3 R^3 atan(R t / a^2) - 2 a (R^2 - a^2 / 3) atan(t / a) + 2/3 a^2 t
        t^2 = max(R^2 - 2 a^2, 0)

    ========  ====================================================================
    symbol    meaning
    ========  ====================================================================
    R, a      ``radius``, ``edge`` / 2
    C         cap beyond one face, of height R - a
    W         integral over x from a to sqrt(R^2 - a^2) of the circular segment beyond y = a,
              (R^2 - x^2) acos(a / sqrt(R^2 - x^2)) - a sqrt(R^2 - a^2 - x^2), by parts
    ========  ====================================================================
    """
    half = edge / 2
    ball = np.clip(np.asarray(radius, dtype=np.float64), 0, math.sqrt(3) * half)
    over_face = np.maximum(ball, half)
    cap = np.pi / 3 * (over_face - half) ** 2 * (2 * over_face + half)
    t = np.sqrt(np.maximum(ball**2 - 2 * half**2, 0))
    wedge = (
        2 / 3 * ball**3 * np.arctan(ball * t / half**2)
        - 2 * half * (ball**2 - half**2 / 3) * np.arctan(t / half)
        + 2 / 3 * half**2 * t
    )
    return 4 / 3 * np.pi * ball**3 - 6 * cap + 12 * wedge


def shell_volumes(box_length: float, max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """Volume of separations in [r - 1/2, r + 1/2), r = 0..max_distance, float64; bin 0: [0, 1/2).

    Separations to the nearest image fill a cube of edge L, which cuts the shells beyond L / 2.
    """
    edges = np.concatenate(([0.0], np.arange(max_distance + 1) + 0.5))
    return np.diff(ball_in_cube_volume(edges, box_length))


def farthest_shell(box_length: float) -> int:
    """The last r of g(r) whose shell has any volume, as half a diagonal is the farthest."""
    return math.ceil(math.sqrt(3) / 2 * box_length + 0.5) - 1


def radial_distribution(
    positions: np.ndarray,
    box_length: float,
    max_distance: int = MAX_DISTANCE,
    *,
    central_voxels: bool = True,
) -> np.ndarray:
    """g(r) of one structure at r = 0..max_distance; see ``radial_distributions``.

    ``positions`` [N, 3]; returns float64 [max_distance + 1].
    """
    batch = np.asarray(positions)[np.newaxis]
    return radial_distributions(batch, box_length, max_distance, central_voxels=central_voxels)[0]


def radial_distributions(
    positions: np.ndarray,
    box_length: float,
    max_distance: int = MAX_DISTANCE,
    *,
    central_voxels: bool = True,
) -> np.ndarray:
    """g(r) of structures ``positions`` [B, N, 3]; returns float64 [B, max_distance + 1].

    g(r) = n(r) / [N (N - 1) v(r) / V], with n(r) the ordered pairs separated by [r - 1/2, r + 1/2)
    (bin 0: [0, 1/2)), v(r) the exact volume of that shell inside the box and V = L^3. The pair
    count N (N - 1) makes an ideal gas 1 at any N. As in the paper a particle stands for its
    central voxel, so that g(r) also shows how many voxels each shell happens to hold (12 % too
    many at r = 9, within 2.5 % beyond r = 30); ``central_voxels=False`` uses the positions as they
    are.

    Raises StructureError for a wrong shape, fewer than two particles or positions not finite.
    """
    centres = batch_of(positions)
    if centres.shape[1] < 2:
        raise StructureError(f"g(r) needs at least two particles, not {centres.shape[1]}")
    if max_distance > (most := farthest_shell(box_length)):
        raise StructureError(
            f"g(r) up to r = {max_distance} voxels: no two particles are that far apart in a box "
            f"of edge {box_length:g}; max_distance must be at most {most}"
        )
    volumes = shell_volumes(box_length, max_distance)
    if central_voxels:
        centres = np.floor(centres) + 0.5
    counts = _pair_counts(centres, float(box_length), int(max_distance))
    particles = centres.shape[1]
    return 2 * counts / (particles * (particles - 1) * volumes / box_length**3)


def nearest_distances(positions: np.ndarray, box_length: float) -> np.ndarray:
    """Distance of each particle to its nearest neighbour, float64 [N], from ``positions`` [N, 3].

    Infinite for a single particle.
    """
    return _nearest_distances(batch_of(np.asarray(positions)[np.newaxis])[0], float(box_length))


def mean_nearest_distances(positions: np.ndarray, box_length: float) -> np.ndarray:
    """Mean over particles of the nearest neighbour's distance, float64 [B], of [B, N, 3].

    Raises StructureError for fewer than two particles, or as ``batch_of`` does.
    """
    centres = batch_of(positions)
    if (found := centres.shape[1]) < 2:
        raise StructureError(f"the nearest neighbour needs at least two particles, not {found}")
    return _mean_nearest_distances(centres, float(box_length))


def clusters(positions: np.ndarray, box_length: float, cutoff: float) -> np.ndarray:
    """Cluster of each particle of ``positions`` [N, 3], int64 [N], numbered from 0.

    Particles closer than ``cutoff`` voxels, through the boundary too, share a cluster.
    """
    return _connectivity(batch_of(np.asarray(positions)[np.newaxis])[0], box_length, cutoff)[0]


def percolates(positions: np.ndarray, box_length: float, cutoff: float) -> np.ndarray:
    """Whether some cluster connects to its own periodic image along x, y, z; bool [3].

    An axis percolates if a closed path of links shorter than ``cutoff`` winds around the box
    along it.
    """
    return _connectivity(batch_of(np.asarray(positions)[np.newaxis])[0], box_length, cutoff)[1]


def connectivities(
    positions: np.ndarray, box_length: float, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """``clusters`` [B, N] int64 and ``percolates`` [B, 3] bool of structures [B, N, 3]."""
    return _connectivities(batch_of(positions), float(box_length), float(cutoff))


def batch_of(positions: np.ndarray) -> np.ndarray:
    """Positions [B, N, 3] as contiguous float64.

    Raises StructureError for another shape or positions that are not finite.
    """
    positions = np.asarray(positions, dtype=np.float64)
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise StructureError(f"positions have shape {list(positions.shape)}; expected [..., N, 3]")
    if not np.isfinite(positions).all():
        structure, particle = np.argwhere(~np.isfinite(positions))[0, :2]
        raise StructureError(f"structure {structure}: position of particle {particle} not finite")
    return np.ascontiguousarray(positions)


@njit(cache=True, parallel=True)
def _pair_counts(centres, box_length, max_distance):
    """Unordered pairs in each bin, float64 [B, max_distance + 1]."""
    structures, particles, _ = centres.shape
    counts = np.zeros((structures, max_distance + 1))
    for k in prange(structures):
        for i in range(particles):
            for j in range(i):
                squared = squared_separation(centres[k], i, j, box_length)
                r = int(math.sqrt(squared) + 0.5)
                if r <= max_distance:
                    counts[k, r] += 1
    return counts


@njit(cache=True)
def _nearest_distances(positions, box_length):
    particles = len(positions)
    nearest = np.full(particles, np.inf)
    for i in range(particles):
        for j in range(i):
            squared = squared_separation(positions, i, j, box_length)
            nearest[i] = min(nearest[i], squared)
            nearest[j] = min(nearest[j], squared)
    return np.sqrt(nearest)


@njit(cache=True, parallel=True)
def _mean_nearest_distances(positions, box_length):
    means = np.empty(len(positions))
    for k in prange(len(positions)):
        means[k] = _nearest_distances(positions[k], box_length).mean()
    return means


@njit(cache=True)
def _connectivity(positions, box_length, cutoff):
    """Walk over each cluster, noting in which image of the box every particle was reached.

    A particle reached a second time in another image closes a path that winds around the box.
    """
    particles = len(positions)
    cluster = np.full(particles, -1, dtype=np.int64)
    image = np.zeros((particles, 3), dtype=np.int64)
    winds = np.zeros(3, dtype=np.bool_)
    stack = np.empty(particles, dtype=np.int64)
    step = np.empty(3, dtype=np.int64)
    # Beyond half the edge a link can reach more than the nearest image, and the particle itself.
    reach = math.floor(cutoff / box_length + 0.5)
    found = 0
    for start in range(particles):
        if cluster[start] >= 0:
            continue
        cluster[start] = found
        stack[0], height = start, 1
        while height > 0:
            height -= 1
            i = stack[height]
            for j in range(particles):
                nearest = -np.floor((positions[j] - positions[i]) / box_length + 0.5)
                for shift in range((2 * reach + 1) ** 3):
                    rest = shift
                    squared = 0.0
                    for axis in range(3):
                        step[axis] = int(nearest[axis]) + rest % (2 * reach + 1) - reach
                        rest //= 2 * reach + 1
                        length = positions[j, axis] - positions[i, axis] + step[axis] * box_length
                        squared += length * length
                    if squared >= cutoff * cutoff:
                        continue
                    if cluster[j] < 0:
                        cluster[j] = found
                        image[j] = image[i] + step
                        stack[height] = j
                        height += 1
                    else:
                        winds |= image[j] != image[i] + step
        found += 1
    return cluster, winds


@njit(cache=True, parallel=True)
def _connectivities(positions, box_length, cutoff):
    structures, particles, _ = positions.shape
    cluster = np.empty((structures, particles), dtype=np.int64)
    winds = np.empty((structures, 3), dtype=np.bool_)
    for k in prange(structures):
        cluster[k], winds[k] = _connectivity(positions[k], box_length, cutoff)
    return cluster, winds
