"""Pairs and wedges of particles: what resistor and graph networks see of a structure."""

from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from morphion.errors import SurrogateError

BINS = 8  # of the detour over a third particle, see ``_between``
_DETOUR = 2.0  # sphere diameters beyond which a third particle does not count


class Graph(NamedTuple):
    """Neighbours in B structures of N particles, lengths in sphere diameters.

    A pair is two particles i, j closer than the far cutoff, a wedge two near pairs that share a
    particle. Particles and pairs are counted through the batch.

    ``structure``, ``first``, ``second`` int64 [E] : of each pair
    ``separation`` float32 [E, 3], ``distance`` [E] : minimum-image x_first - x_second
    ``between`` float32 [E, BINS or 0] : third particles by how far from between the two they lie
    ``near`` int64 [M] : the pairs closer than the near cutoff
    ``target``, ``source`` int64 [W] : the two pairs of a wedge, counted among the near ones; each
    wedge stands twice, seen from either
    ``cosine`` float32 [W] : of the angle between them
    ``volume`` : of the box; ``shape`` : B, N. Numbers, as a GPU would have to be waited for.
    """

    structure: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    separation: torch.Tensor
    distance: torch.Tensor
    between: torch.Tensor
    near: torch.Tensor
    target: torch.Tensor
    source: torch.Tensor
    cosine: torch.Tensor
    volume: float
    shape: tuple[int, int]

    def to(self, device: torch.device) -> "Graph":
        """The same on a device, whose work is not waited for."""
        moved = (part.to(device, non_blocking=True) for part in self[:-2])
        return Graph(*moved, volume=self.volume, shape=self.shape)


def build_graph(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    near: float,
    far: float,
    device: torch.device,
    *,
    between: bool = True,
) -> Graph:
    """Graph of structures [B, N, 3], lengths in voxels; the cutoffs in sphere diameters.

    Third particles between pairs, which take most of the time, are left out (0 bins) if
    ``between`` is false.

    Raises SurrogateError if the box has no room for the cutoff.
    """
    box = box_length / diameter
    if box < 2 * far:
        raise SurrogateError(
            f"the box edge is {box:.4g} sphere diameters; a network with cutoff = "
            f"{far:g} needs at least {2 * far:g}, or two particles would meet twice"
        )
    positions = np.asarray(positions, dtype=np.float64) / diameter
    structure, first, second, separation, distance, third = _pairs(
        positions, box, far, BINS if between else 0
    )
    near_pairs = np.flatnonzero(distance < near)
    target, source, cosine = _wedges(
        first[near_pairs],
        second[near_pairs],
        separation[near_pairs] / distance[near_pairs, None],
        positions.shape[0] * positions.shape[1],
    )
    arrays = (
        structure,
        first,
        second,
        separation.astype(np.float32),
        distance.astype(np.float32),
        third,
        near_pairs,
        target,
        source,
        cosine.astype(np.float32),
    )
    tensors = (torch.from_numpy(array) for array in arrays)
    return Graph(*tensors, volume=box**3, shape=positions.shape[:2]).to(device)


@njit(cache=True, nogil=True)
def _pairs(positions, box, cutoff, bins):
    """Structure, first and second particle [E], x_first - x_second [E, 3], its length [E], and
    the third particles between [E, bins] of all pairs."""
    structures, particles, _ = positions.shape
    room = structures * particles * (particles - 1) // 2
    structure = np.empty(room, np.int64)
    first, second = np.empty(room, np.int64), np.empty(room, np.int64)
    separation, distance = np.empty((room, 3)), np.empty(room)
    between = np.empty((room, bins), np.float32)
    away, apart = np.empty((particles, particles, 3)), np.empty((particles, particles))
    close = np.empty(particles, np.int64)
    count = 0
    for b in range(structures):
        for i in range(particles):
            # Third particles take all distances, pairs alone those to particles behind i.
            _measure(positions[b], i, 0 if bins > 0 else i + 1, box, away[i], apart[i])
        for i in range(particles):
            for j in range(i + 1, particles):
                if apart[i, j] < cutoff:
                    structure[count] = b
                    first[count], second[count] = b * particles + i, b * particles + j
                    distance[count] = apart[i, j]
                    for axis in range(3):
                        separation[count, axis] = -away[i, j, axis]
                    if bins > 0:
                        _between(i, j, box, away, apart, close, between[count])
                    count += 1
    return (
        structure[:count].copy(),
        first[:count].copy(),
        second[:count].copy(),
        separation[:count].copy(),
        distance[:count].copy(),
        between[:count].copy(),
    )


@njit(cache=True)
def _measure(centres, i, start, box, away, apart):
    """Fill minimum-image x_k - x_i, ``away[k]``, and their lengths, for k from ``start`` on."""
    for k in range(start, len(centres)):
        square = 0.0
        for axis in range(3):
            d = centres[k, axis] - centres[i, axis]
            d -= box * np.rint(d / box)
            away[k, axis] = d
            square += d * d
        apart[k] = np.sqrt(square)


@njit(cache=True)
def _between(i, j, box, away, apart, close, bins):
    """Fill ``bins`` [BINS] with the third particles k of a pair by the detour d_ik + d_kj - d_ij.

    It is 0 on the line between the two. Each counts in the two nearest of bins that are even in
    the root of the detour, in shares that change continuously and vanish at the last. Of a
    particle every image counts that lies near enough. ``close`` int64 [N] is room for numbers.
    """
    bins[:] = 0
    limit = apart[i, j] + _DETOUR
    reach = (apart[i, j] + limit) / 2  # the most that d_ik can be
    edge = box - reach  # a component beyond it has a second image within reach
    count = 0
    for k in range(apart.shape[0]):
        # Nearest images bound all others from below. Without a branch: most are too far.
        close[count] = k
        count += apart[i, k] + apart[j, k] < limit
    for k in close[:count]:
        if k in (i, j):
            continue
        x, y, z = away[i, k]
        for image in range(8 if max(abs(x), abs(y), abs(z)) > edge else 1):
            one, other = 0.0, 0.0
            for axis in range(3):
                d = away[i, k, axis]
                if image >> axis & 1:
                    d -= box if d > 0 else -box
                one += d * d
                other += (d - away[i, j, axis]) ** 2
            way = np.sqrt(one) + np.sqrt(other)
            if way < limit:
                _count(bins, way - apart[i, j])


@njit(cache=True)
def _count(bins, detour):
    """Add a particle to the bins [BINS] around its detour."""
    place = BINS * np.sqrt(max(detour, 0.0) / _DETOUR)
    low = int(place)
    if low < BINS:
        bins[low] += low + 1 - place
    if low + 1 < BINS:
        bins[low + 1] += place - low


@njit(cache=True, nogil=True)
def _wedges(first, second, direction, particles):
    """Target and source pair [W], and the cosine of the angle between them."""
    degree = np.zeros(particles, np.int64)
    for p in range(len(first)):
        degree[first[p]] += 1
        degree[second[p]] += 1
    start = np.zeros(particles + 1, np.int64)
    start[1:] = np.cumsum(degree)
    member = np.empty(start[-1], np.int64)
    sign = np.empty(start[-1])
    filled = start[:-1].copy()
    for p in range(len(first)):
        for particle, side in ((first[p], -1.0), (second[p], 1.0)):
            member[filled[particle]] = p
            sign[filled[particle]] = side  # side * direction points away from the particle
            filled[particle] += 1
    room = np.sum(degree * (degree - 1))
    target, source = np.empty(room, np.int64), np.empty(room, np.int64)
    cosine = np.empty(room)
    count = 0
    for particle in range(particles):
        for a in range(start[particle], start[particle + 1]):
            for b in range(start[particle], start[particle + 1]):
                if a != b:
                    p, q = member[a], member[b]
                    target[count], source[count] = p, q
                    along = 0.0
                    for axis in range(3):
                        along += direction[p, axis] * direction[q, axis]
                    cosine[count] = sign[a] * sign[b] * along
                    count += 1
    return target, source, cosine
