"""Particles added to, or removed from, an existing structure."""

import numpy as np

from morphion.philox import generator, stream_key
from morphion.structures.geometry import wrap
from morphion.structures.insertion import MAX_STARTS, insert_uniformly


def add_particles(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    target: int,
    seed: int,
    purpose: str,
    *indices: int | str,
) -> np.ndarray | None:
    """Positions float32 [target, 3]: the given ones, then randomly inserted ones without overlap.

    The given particles [N, 3] keep their places and come first. Returns None if ``MAX_STARTS``
    independent attempts each met ``insertion.MAX_REJECTIONS`` rejections of a particle in a row:
    such a structure cannot take more. The stream is named by ``seed``, ``purpose``, ``indices``.
    """
    keys = stream_key(seed, purpose, *indices)
    given = wrap(np.asarray(positions, dtype=np.float32), np.float32(box_length))
    filled = np.empty((target, 3))
    origin, extent = np.zeros(3), np.full(3, float(box_length))
    for start in range(MAX_STARTS):
        filled[: len(given)] = given
        placed = insert_uniformly(
            filled, len(given), float(box_length), diameter**2, origin, extent, start, *keys
        )
        if placed == target:
            return filled.astype(np.float32)
    return None


def remove_particles(
    positions: np.ndarray, target: int, seed: int, purpose: str, *indices: int | str
) -> np.ndarray:
    """A uniformly random subset of ``target`` of the particles, float32 [target, 3], in order."""
    random = generator(seed, purpose, *indices)
    kept = np.sort(random.choice(len(positions), target, replace=False))
    return np.asarray(positions, dtype=np.float32)[kept]


def at_loading(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    target: int,
    seed: int,
    purpose: str,
    *indices: int | str,
) -> np.ndarray | None:
    """Positions float32 [target, 3]: some added or removed at random; None if they do not fit."""
    if target <= len(positions):
        return remove_particles(positions, target, seed, purpose, *indices)
    return add_particles(positions, box_length, diameter, target, seed, purpose, *indices)
