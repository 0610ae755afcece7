"""Distances in a periodic cube and the check that spheres do not overlap."""

import math

import numpy as np
from numba import njit

from morphion.errors import StructureError

# A stored float32 coordinate near L = 75 is off by up to 4e-6 voxels, a distance between two of
# them by up to 1.4e-6 of a diameter; spheres placed exactly in contact must survive that.
CONTACT_TOLERANCE = 1e-5


@njit(cache=True)
def minimum_image_squared(dx, dy, dz, box_length):
    """Squared length of a separation (dx, dy, dz) to the nearest periodic image."""
    dx -= box_length * math.floor(dx / box_length + 0.5)
    dy -= box_length * math.floor(dy / box_length + 0.5)
    dz -= box_length * math.floor(dz / box_length + 0.5)
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, inline="always")
def squared_separation(positions, i, j, box_length):
    """Squared length of the separation of two of the positions [N, 3] to the nearest image."""
    return minimum_image_squared(
        positions[i, 0] - positions[j, 0],
        positions[i, 1] - positions[j, 1],
        positions[i, 2] - positions[j, 2],
        box_length,
    )


@njit(cache=True)
def _closest_pair(positions, box_length):
    closest = np.inf
    first = second = -1
    for i in range(len(positions)):
        for j in range(i):
            squared = squared_separation(positions, i, j, box_length)
            if squared < closest:
                closest, first, second = squared, j, i
    return math.sqrt(closest), first, second


def closest_pair(positions: np.ndarray, box_length: float) -> tuple[float, int, int]:
    """Smallest centre-to-centre distance over all pairs and the two particles, i < j.

    ``positions`` [N, 3] may lie outside the box; the distance counts the nearest periodic image
    and is infinite (with indices -1) for a single particle.
    """
    return _closest_pair(np.asarray(positions, dtype=np.float64), float(box_length))


def separations(from_positions: np.ndarray, to_positions: np.ndarray, box_length: float):
    """Vectors to the nearest periodic image, float64; the two arrays [..., 3] broadcast."""
    difference = np.subtract(to_positions, from_positions, dtype=np.float64)
    return difference - box_length * np.floor(difference / box_length + 0.5)


def wrap(positions: np.ndarray, box_length: float) -> np.ndarray:
    """Coordinates moved into [0, L) in their own dtype.

    The remainder of a tiny negative coordinate rounds to L itself, which is 0.
    """
    wrapped = np.mod(positions, box_length)
    return np.where(wrapped >= box_length, np.zeros((), wrapped.dtype), wrapped)


def least_voxel_separation_squared(diameter: float) -> int:
    """Smallest legal squared distance of two centres on voxel centres: 93 at sigma = 9.6024."""
    return math.ceil(diameter**2 * (1 - 1e-12))


def validate_structure(
    positions: np.ndarray, box_length: float, diameter: float, *, where: str
) -> None:
    """Check that ``positions`` [N, 3] is a legal arrangement of hard spheres in a periodic cube.

    Lengths share one unit. Spheres may be closer than the diameter by a relative 1e-5, the
    rounding of stored coordinates. ``where`` (a file or a structure's name) starts each message.

    Raises StructureError for a wrong shape, a coordinate that is not finite, a diameter or box
    that is not positive, spheres wider than the box, and overlaps, also through the boundary.
    """
    positions = np.asarray(positions)
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
        raise StructureError(
            f"{where}: positions have shape {list(positions.shape)}; expected [N, 3] with N >= 1"
        )
    if not (math.isfinite(box_length) and box_length > 0):
        raise StructureError(f"{where}: box edge {box_length:g} must be finite and positive")
    if not (math.isfinite(diameter) and diameter > 0):
        raise StructureError(f"{where}: sphere diameter {diameter:g} must be finite and positive")
    finite = np.isfinite(positions).all(axis=1)
    if not finite.all():
        index = int(np.argmin(finite))
        raise StructureError(
            f"{where}: position {positions[index].tolist()} of particle {index} "
            "(counted from 0) is not finite"
        )
    smallest = diameter * (1 - CONTACT_TOLERANCE)
    if smallest > box_length:
        raise StructureError(
            f"{where}: spheres of diameter {diameter:.6g} overlap their own periodic images in a "
            f"box of edge {box_length:.6g}; the diameter must not exceed the edge"
        )
    distance, first, second = closest_pair(positions, box_length)
    if distance < smallest:
        raise StructureError(
            f"{where}: particles {first} and {second} (counted from 0) overlap: their centres are "
            f"{distance:.6g} apart in the periodic box, less than the diameter {diameter:.6g}"
        )
