"""What a lattice must satisfy before and after it is filled."""

import math
import warnings

import numpy as np

from morphion.errors import MorphionWarning, TransportError
from morphion.memory import available_memory

SMALLEST = 16
_RESERVE = 0.95  # share of the available memory that a lattice may take
# kT; exp(-87.3) is the smallest normal float32. With the smallest diffusivity 1.2e-38 the least b
# is 1.4e-38, normal as well: a GPU takes smaller float32 numbers for 0.
LARGEST_SPREAD = 87.0


def require_sites(n: int) -> None:
    """Raise TransportError if n is not a whole number of at least 16 sites along the edge."""
    if n != int(n) or n < SMALLEST:
        raise TransportError(
            f"lattice = {n}: a lattice has a whole number of at least {SMALLEST} sites an edge"
        )


def require_memory(n: int, bytes_per_site: float, what: str) -> None:
    """Raise TransportError if n^3 sites of ``what`` do not fit in the memory available now."""
    available = available_memory() * _RESERVE
    needed = bytes_per_site * n**3
    if needed > available:
        fits = int((available / bytes_per_site) ** (1 / 3))
        raise TransportError(
            f"lattice = {n}: {what} needs {needed / 2**30:.1f} GiB, {available / 2**30:.1f} GiB "
            f"are available; the largest lattice that fits has {fits} sites an edge"
        )


def require_positions(positions: np.ndarray, box_length: float, diameter: float) -> np.ndarray:
    """Positions as a contiguous float64 [particles, 3] array wrapped into the box.

    Raises TransportError if the array has another shape or a value that is not finite, or if a
    length is not positive.
    """
    positions = np.asarray(positions, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
        raise TransportError(f"positions of shape {positions.shape}: [particles, 3] is needed")
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise TransportError(f"position of particle {bad[0]} is {positions[bad[0]]}: not finite")
    for name, value in (("box length", box_length), ("sphere diameter", diameter)):
        if not (math.isfinite(value) and value > 0):
            raise TransportError(f"{name} = {value}: must be positive and finite")
    return np.ascontiguousarray(positions % box_length)


def require_open(is_any_open: bool) -> None:
    """Raise TransportError if spheres block every site."""
    if not is_any_open:
        raise TransportError("no open lattice site: every site lies inside a particle")


def sites_for_shell(box_length: float, thickness: float) -> int:
    """Fewest sites along an edge of which two span a shell; lengths in voxels."""
    return math.ceil(2 * box_length / thickness - 1e-9)


def require_shell(n: int, box_length: float, thickness: float, sites_met: int) -> None:
    """Raise TransportError if no open site lies in a shell, warn if fewer than two span it.

    thickness: r_s - sigma / 2 in voxels; sites_met: open sites found between sigma / 2 and r_s.
    """
    enough = sites_for_shell(box_length, thickness)
    if sites_met == 0:
        raise TransportError(
            f"lattice = {n}: no open site lies in a ligand shell {thickness:.3g} voxels thick at "
            f"a spacing of {box_length / n:.3g}; use at least {enough} sites an edge"
        )
    if n < enough:
        warnings.warn(
            f"lattice = {n}: fewer than two sites span the ligand shell ({thickness:.3g} voxels "
            f"at a spacing of {box_length / n:.3g}); {enough} sites an edge would do",
            MorphionWarning,
            stacklevel=5,  # the caller of rasterise
        )


def require_spread(spread: float) -> None:
    """Raise TransportError if the free energies (kT) spread too far for float32 weights."""
    if not spread <= LARGEST_SPREAD:
        raise TransportError(
            f"free energies spread over {spread:.0f} kT: weights underflow float32; "
            f"keep affinity differences below {LARGEST_SPREAD:.0f} kT"
        )
