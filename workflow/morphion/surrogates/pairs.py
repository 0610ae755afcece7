"""Pairs and wedges of particles: what resistor and graph networks see of a structure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from morphion.errors import SurrogateError
from morphion.surrogates.facets import meeting_pairs


class Pairs(NamedTuple):
    """Which particles of B structures of N meet, counted through the batch.

    ``structure``, ``first``, ``second`` int64 [E]; ``facet`` float32 [E], the area of the facet
    between the two in square diameters, or [0].
    """

    structure: np.ndarray
    first: np.ndarray
    second: np.ndarray
    facet: np.ndarray
    beside: np.ndarray


class Graph(NamedTuple):
    """Neighbours in B structures of N particles, lengths in sphere diameters.

    A pair is two particles i, j closer than the far cutoff, and if facets are known with a facet
    between them or closer than the near one; a wedge two near pairs that share a particle.
    Particles and pairs are counted through the batch.

    ``structure``, ``first``, ``second`` int64 [E] : of each pair
    ``separation`` float32 [E, 3], ``distance`` [E] : minimum-image x_first - x_second
    ``facet`` float32 [E] or [0] : area of the facet between the two, in square diameters
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
    facet: torch.Tensor
    beside: torch.Tensor
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


def find_pairs(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    near: float,
    far: float,
    *,
    facets: bool,
) -> Pairs:
    """The pairs of a graph of structures [B, N, 3], with the facets between them if asked for,
    which take most of the time. Lengths are in voxels, the cutoffs in sphere diameters.

    Raises SurrogateError if the box has no room for the cutoff.
    """
    box = box_length / diameter
    if box < 2 * far:
        raise SurrogateError(
            f"the box edge is {box:.4g} sphere diameters; a network with cutoff = "
            f"{far:g} needs at least {2 * far:g}, or two particles would meet twice"
        )
    positions = np.asarray(positions, dtype=np.float64) / diameter
    found = Pairs(*meeting_pairs(positions, box, near, far, facets))
    none = np.empty(0, np.float32)
    return found if facets else found._replace(facet=none, beside=none)


class Kept(NamedTuple):
    """The pairs of one structure: ``first``, ``second`` int32 [E], counted in it, ``facet`` [E]."""

    first: np.ndarray
    second: np.ndarray
    facet: np.ndarray
    beside: np.ndarray


def separate(pairs: Pairs, shape: tuple[int, int]) -> list[Kept]:
    """Pairs of ``shape`` = B structures of N as those of each."""
    ends = np.cumsum(np.bincount(pairs.structure, minlength=shape[0]))[:-1]
    first, second = ((end % shape[1]).astype(np.int32) for end in (pairs.first, pairs.second))
    parts = (np.split(part, ends) for part in (first, second, pairs.facet, pairs.beside))
    return [Kept(*part) for part in zip(*parts, strict=True)]


def join(parts: Sequence[Kept], particles: int) -> Pairs:
    """Of what ``separate`` made, the pairs of these structures."""
    structure = np.repeat(np.arange(len(parts)), [len(part.first) for part in parts])
    first, second, *areas = (np.concatenate(column) for column in zip(*parts, strict=True))
    start = structure * particles
    return Pairs(structure, start + first, start + second, *areas)


def build_graph(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    near: float,
    pairs: Pairs,
    device: torch.device,
) -> Graph:
    """Graph of structures [B, N, 3] from their ``pairs``; lengths are in voxels, the near cutoff
    in sphere diameters."""
    box = box_length / diameter
    centres = np.asarray(positions, dtype=np.float64).reshape(-1, 3) / diameter
    separation = centres[pairs.first] - centres[pairs.second]
    separation -= box * np.rint(separation / box)
    distance = np.sqrt(np.square(separation).sum(1))
    near_pairs = np.flatnonzero(distance < near)
    target, source, cosine = _wedges(
        pairs.first[near_pairs],
        pairs.second[near_pairs],
        separation[near_pairs] / distance[near_pairs, None],
        len(centres),
    )
    arrays = (
        pairs.structure,
        pairs.first,
        pairs.second,
        separation.astype(np.float32),
        distance.astype(np.float32),
        pairs.facet,
        pairs.beside,
        near_pairs,
        target,
        source,
        cosine.astype(np.float32),
    )
    tensors = (torch.from_numpy(array) for array in arrays)
    return Graph(*tensors, volume=box**3, shape=np.shape(positions)[:2]).to(device)


@njit(cache=True, nogil=True)
def _wedges(first, second, direction, particles):
    """Target and source pair [W], and the cosine of the angle between them."""
    degree = np.zeros(particles, np.int64)
    for p in range(len(first)):
        degree[first[p]] += 1
        degree[second[p]] += 1
    # Loops: NumPy's sums over arrays would take seconds to compile.
    start, filled = np.zeros(particles + 1, np.int64), np.zeros(particles, np.int64)
    room = 0
    for particle in range(particles):
        start[particle + 1] = start[particle] + degree[particle]
        filled[particle] = start[particle]
        room += degree[particle] * (degree[particle] - 1)
    member = np.empty(start[particles], np.int64)
    sign = np.empty(start[particles])
    for p in range(len(first)):
        for particle, side in ((first[p], -1.0), (second[p], 1.0)):
            member[filled[particle]] = p
            sign[filled[particle]] = side  # side * direction points away from the particle
            filled[particle] += 1
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
