"""Continuous structures put on voxel centres, where the annealing lives."""

import math

import numpy as np
from numba import njit

from morphion.errors import StructureError
from morphion.progress import log
from morphion.structures.geometry import (
    least_voxel_separation_squared,
    separations,
    validate_structure,
    wrap,
)

# Plain rounding leaves an overlap in nine of ten structures, which a voxel or two mend. A larger
# radius is tried only when the smaller ones fail, up to half a diameter, beyond which particles
# would change places and the result would be another structure.
_RADII = (1.0, 1.5, 2.0, 3.0, 4.0)
_SWEEPS = 40


def relax_to_voxels(
    positions: np.ndarray, voxels: int, diameter: float, *, where: str = "start"
) -> np.ndarray:
    """Voxel indices (centre = index + 1/2) near the given centres, without overlap; int16 [N, 3].

    Each particle goes to the voxel it lies in; those that overlap then move by a bounded,
    deterministic search among the voxels around their places, pairs that stay in conflict
    weighing more with every sweep (Morris, AAAI-93, 40 (1993)). At last each returns as near to
    its place as the others allow. The largest displacement is logged.

    ``positions`` [N, 3] and ``diameter`` are in voxels, the box edge is ``voxels``; ``where``
    starts messages. Raises StructureError if the given spheres overlap or no legal arrangement is
    found within half a diameter.
    """
    validate_structure(positions, float(voxels), diameter, where=where)
    positions = wrap(np.asarray(positions, dtype=np.float64), float(voxels))
    least_squared = least_voxel_separation_squared(diameter)
    placed = np.floor(positions).astype(np.int64)
    weights = np.ones((len(positions), len(positions)))
    for radius in (radius for radius in _RADII if radius <= diameter / 2 + 0.5):
        offsets = _ball(radius)
        if _resolve(placed, positions, offsets, weights, voxels, least_squared, _SWEEPS):
            _settle_back(placed, positions, offsets, voxels, least_squared)
            break
    else:
        raise StructureError(
            f"{where}: cannot be put on the centres of {voxels}^3 voxels without overlap by moving "
            f"particles up to {radius:g} voxels; give a structure with more room between its "
            "particles"
        )
    shifts = np.linalg.norm(separations(positions, placed + 0.5, float(voxels)), axis=1)
    log(
        f"{where}: relaxed onto voxel centres; largest displacement {shifts.max():.2f} voxels "
        f"(particle {int(shifts.argmax())}), mean {shifts.mean():.2f}"
    )
    return placed.astype(np.int16)


def _ball(radius: float) -> np.ndarray:
    """Integer offsets [M, 3] within ``radius`` of the origin."""
    reach = math.floor(radius)
    axis = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return offsets[(offsets**2).sum(axis=1) <= radius**2]


@njit(cache=True)
def _squared(first, second, voxels):
    squared = 0
    for d in range(3):
        distance = abs(first[d] - second[d])
        distance = min(distance, voxels - distance)
        squared += distance * distance
    return squared


@njit(cache=True)
def _displacement_squared(voxel, position):
    """Squared distance of a voxel centre, not yet wrapped, from a particle's own place."""
    squared = 0.0
    for d in range(3):
        squared += (voxel[d] + 0.5 - position[d]) ** 2
    return squared


@njit(cache=True)
def _conflict(placed, weights, particle, voxel, voxels, least_squared):
    """Weighted depth of the overlaps of ``particle`` if it were at ``voxel``."""
    total = 0.0
    for other in range(len(placed)):
        if other != particle:
            squared = _squared(placed[other], voxel, voxels)
            if squared < least_squared:
                depth = math.sqrt(least_squared) - math.sqrt(squared)
                total += weights[particle, other] * depth
    return total


@njit(cache=True)
def _best_voxel(placed, positions, particle, offsets, weights, voxels, least_squared):
    """The candidate with the least conflict, and of those the nearest to the particle's place."""
    best = placed[particle].copy()
    best_conflict = _conflict(placed, weights, particle, best, voxels, least_squared)
    best_shift = np.inf
    free, wrapped = np.empty(3, np.int64), np.empty(3, np.int64)
    for offset in offsets:
        for d in range(3):
            free[d] = math.floor(positions[particle, d]) + offset[d]
            wrapped[d] = free[d] % voxels
        conflict = _conflict(placed, weights, particle, wrapped, voxels, least_squared)
        shift = _displacement_squared(free, positions[particle])
        if conflict < best_conflict or (conflict == best_conflict and shift < best_shift):
            best[:] = wrapped
            best_conflict, best_shift = conflict, shift
    return best


@njit(cache=True)
def _resolve(placed, positions, offsets, weights, voxels, least_squared, sweeps):
    """Move overlapping particles until none overlaps; whether that was reached."""
    count = len(placed)
    for _ in range(sweeps):
        for particle in range(count):
            if _conflict(placed, weights, particle, placed[particle], voxels, least_squared) > 0:
                placed[particle] = _best_voxel(
                    placed, positions, particle, offsets, weights, voxels, least_squared
                )
        overlaps = 0
        for i in range(count):
            for j in range(i):
                if _squared(placed[i], placed[j], voxels) < least_squared:
                    overlaps += 1
                    weights[i, j] += 1.0
                    weights[j, i] += 1.0
        if overlaps == 0:
            return True
    return False


@njit(cache=True)
def _settle_back(placed, positions, offsets, voxels, least_squared):
    """Bring each particle as near to its own place as the others allow, a few times over."""
    weights = np.ones((len(placed), len(placed)))
    for _ in range(8):
        moved = False
        for particle in range(len(placed)):
            best = _best_voxel(placed, positions, particle, offsets, weights, voxels, least_squared)
            if (best != placed[particle]).any():
                placed[particle] = best
                moved = True
        if not moved:
            return
