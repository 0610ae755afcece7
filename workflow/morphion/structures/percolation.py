"""At which distance of contact the particles of a structure join, and span the periodic box.

Instead of one cutoff, all are looked at in one sweep: pairs join their clusters in the order of
their distance (single linkage), and a union-find that also keeps the periodic image in which each
particle lies tells when a cluster first meets its own image (Newman and Ziff, Phys. Rev. E 64,
016706, 2001, doi:10.1103/PhysRevE.64.016706; for winding see Machta et al., Phys. Rev. E 54, 1332,
1996, doi:10.1103/PhysRevE.54.1332). All lengths are in voxels.
"""

import numpy as np
from numba import njit, prange

from morphion.structures.descriptors import batch_of
from morphion.structures.geometry import squared_separation


def joining_distances(positions: np.ndarray, box_length: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances at which clusters merge, float64 [B, N - 1], and wind around the box, [B, 3].

    For structures ``positions`` [B, N, 3]. The first ascend: with a cutoff c, particles form N less
    the number of entries below c clusters. The second are along x, y, z: an axis ``percolates``
    (``morphion.structures.descriptors``) for each cutoff above. Distances are those to the nearest
    image; where half the box edge does not suffice, half the edge stands.
    """
    return _joining(batch_of(positions), float(box_length))


def coordination(positions: np.ndarray, box_length: float, cutoff: float) -> np.ndarray:
    """Neighbours of each particle within ``cutoff`` voxels (nearest images), int64 [B, N]."""
    return _coordination(batch_of(positions), float(box_length), float(cutoff))


@njit(cache=True)
def _sorted_pairs(positions, limit, box_length):
    """Pairs closer than ``limit`` in the order of their distance: [P, 2], distances [P]."""
    particles = len(positions)
    room = particles * (particles - 1) // 2
    pair = np.empty((room, 2), dtype=np.int64)
    distance = np.empty(room)
    count = 0
    for i in range(particles):
        for j in range(i):
            squared = squared_separation(positions, i, j, box_length)
            if squared < limit * limit:
                pair[count, 0], pair[count, 1] = i, j
                distance[count] = np.sqrt(squared)
                count += 1
    order = np.argsort(distance[:count], kind="mergesort")
    return pair[order], distance[order]


@njit(cache=True)
def _find(parent, image, i):
    """Root of a particle; afterwards ``image[i]`` is the particle's image relative to the root."""
    root = i
    while parent[root] != root:
        root = parent[root]
    total = np.zeros(3, dtype=np.int64)
    j = i
    while parent[j] != j:
        total += image[j]
        j = parent[j]
    while parent[i] != root and i != root:
        above, own = parent[i], image[i].copy()
        image[i] = total
        parent[i] = root
        total = total - own
        i = above
    return root


@njit(cache=True)
def _join(positions, box_length):
    particles, limit = len(positions), 0.5 * box_length
    merging, winding = np.full(particles - 1, limit), np.full(3, limit)
    parent = np.arange(particles)
    image = np.zeros((particles, 3), dtype=np.int64)
    pairs, distances = _sorted_pairs(positions, limit, box_length)
    merged = 0
    for k in range(len(pairs)):
        i, j = pairs[k]
        # x_j + step L is the image of j nearest to i.
        step = -np.floor((positions[j] - positions[i]) / box_length + 0.5).astype(np.int64)
        root, other = _find(parent, image, i), _find(parent, image, j)
        loop = image[i] + step - image[j]
        if root != other:
            parent[other], image[other] = root, loop
            merging[merged] = distances[k]
            merged += 1
            continue
        for axis in range(3):
            if loop[axis] != 0:
                winding[axis] = min(winding[axis], distances[k])
        if merged == particles - 1 and winding.max() < limit:
            break
    return merging, winding


@njit(cache=True, parallel=True)
def _joining(positions, box_length):
    structures, particles, _ = positions.shape
    merging = np.empty((structures, max(particles - 1, 0)))
    winding = np.empty((structures, 3))
    for k in prange(structures):
        merging[k], winding[k] = _join(positions[k], box_length)
    return merging, winding


@njit(cache=True, parallel=True)
def _coordination(positions, box_length, cutoff):
    structures, particles, _ = positions.shape
    found = np.zeros((structures, particles), dtype=np.int64)
    for k in prange(structures):
        for i in range(particles):
            for j in range(particles):
                squared = squared_separation(positions[k], i, j, box_length)
                if i != j and squared < cutoff * cutoff:
                    found[k, i] += 1
    return found
