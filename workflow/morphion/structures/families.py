"""The three structure families of the data set (section 2.1 of the paper).

A structure is the function of (run seed, family, index) alone: its random stream has these as its
name, and neither shards nor workers appear in it.

==========  ======================================================================================
family      how a particle is inserted
==========  ======================================================================================
``rsa``     uniformly in the box, rejected on overlap
``chain``   near the particle inserted just before, in window ``index`` modulo their number
``gapped``  as ``rsa``, outside slabs free of centres normal to 1 + ``index`` modulo 3 axes
==========  ======================================================================================

Particles are stored in the order of insertion. Distances are judged on the float32 coordinates
that are stored, so that a stored structure never overlaps.
"""

from dataclasses import dataclass

import numpy as np

from morphion.config.geometry import Geometry, Structures
from morphion.errors import StructureError
from morphion.philox import generator, stream_key
from morphion.structures.geometry import least_voxel_separation_squared
from morphion.structures.insertion import (
    MAX_REJECTIONS,
    MAX_STARTS,
    insert_chain,
    insert_on_voxels,
    insert_uniformly,
)

FAMILIES = ("rsa", "chain", "gapped")
_PURPOSE = "structure"


@dataclass(frozen=True)
class Slabs:
    """Slabs free of centres: along axis d, centres avoid (start[d], start[d] + width[d]).

    ``width`` and ``start`` are float64 [3] in voxels, periodic; the width is 0 along axes without
    a slab.
    """

    start: np.ndarray
    width: np.ndarray


def enumerate_structures(structures: Structures) -> list[tuple[str, int]]:
    """All (family, index) of a data set, in the order in which shards hold them.

    Families are interleaved in proportion to their counts, so that every shard is the same mix.
    """
    counts = {family: getattr(structures, family) for family in FAMILIES}
    order = sorted(
        ((index + 0.5) / count, rank, family, index)
        for rank, (family, count) in enumerate(counts.items())
        for index in range(count)
    )
    return [(family, index) for _, _, family, index in order]


def variant(family: str, index: int, structures: Structures) -> int:
    """Number of the window (chain), number of slabs (gapped), or 0 (rsa)."""
    if family == "rsa":
        return 0
    if family == "chain":
        return index % len(structures.chain_windows)
    if family == "gapped":
        return 1 + index % 3
    raise StructureError(f"structure family {family!r} is unknown; the families are {FAMILIES}")


def slabs_of(geometry: Geometry, structures: Structures, seed: int, index: int) -> Slabs:
    """The slabs free of centres of a ``gapped`` structure.

    Which axes have one is random, their widths are uniform in ``structures.slab_width``.
    Raises StructureError if a slab can be as wide as the box.
    """
    low, high = structures.slab_width
    if high >= geometry.box_length:
        raise StructureError(
            f"structures.slab_width = [{low:g}, {high:g}] reaches the box edge of "
            f"{geometry.box_length:g} voxels; slabs must be narrower"
        )
    random = generator(seed, "slabs", "gapped", index)
    axes = random.permutation(3)[: variant("gapped", index, structures)]
    start, width = np.zeros(3), np.zeros(3)
    start[axes] = random.uniform(0, geometry.box_length, len(axes))
    width[axes] = random.uniform(low, high, len(axes))
    return Slabs(start, width)


def generate(
    geometry: Geometry, structures: Structures, seed: int, family: str, index: int
) -> np.ndarray:
    """Centres of structure ``index`` of a family, float32 [N, 3] in [0, L), in voxels.

    Raises StructureError if the particles do not fit: ``MAX_STARTS`` starts from an empty box each
    ended in ``MAX_REJECTIONS`` rejected insertions in a row.
    """
    positions, _ = generate_with_restarts(geometry, structures, seed, family, index)
    return positions


def generate_with_restarts(
    geometry: Geometry, structures: Structures, seed: int, family: str, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """As ``generate``, and a bool [N] array of the particles not placed next to the one before."""
    kind = variant(family, index, structures)
    box, particles = geometry.box_length, geometry.particles
    contact_squared = geometry.diameter**2
    keys = stream_key(seed, _PURPOSE, family, index)
    positions = np.empty((particles, 3))
    restarted = np.ones(particles, dtype=bool)
    origin, extent = np.zeros(3), np.full(3, box)
    if family == "gapped":
        slabs = slabs_of(geometry, structures, seed, index)
        origin, extent = slabs.start + slabs.width, box - slabs.width
    most = 0
    for start in range(MAX_STARTS):
        if family == "chain":
            window = _legal_window(geometry, structures, kind)
            placed = insert_chain(
                positions,
                box,
                contact_squared,
                window,
                structures.chain_tries,
                start,
                *keys,
                restarted,
            )
        else:
            placed = insert_uniformly(
                positions, 0, box, contact_squared, origin, extent, start, *keys
            )
        if placed == particles:
            return positions.astype(np.float32), restarted
        most = max(most, placed)
    raise StructureError(_does_not_fit(f"{family} structure {index}", most, geometry))


def rsa_on_voxels(
    voxels: int, particles: int, diameter: float, seed: int, purpose: str, *indices: int | str
) -> np.ndarray:
    """Voxel indices (centre = index + 1/2) of spheres inserted directly on voxel centres.

    int16 [N, 3] in [0, voxels). Squared distances are at least the first integer not below
    ``diameter``^2 (voxels): 93 at the default geometry. The stream is named by ``seed``,
    ``purpose`` and ``indices``. Raises StructureError as ``generate`` does.
    """
    keys = stream_key(seed, purpose, *indices)
    positions = np.empty((particles, 3))
    separation_squared = float(least_voxel_separation_squared(diameter))
    most = 0
    for start in range(MAX_STARTS):
        placed = insert_on_voxels(positions, float(voxels), separation_squared, start, *keys)
        if placed == particles:
            return np.floor(positions).astype(np.int16)
        most = max(most, placed)
    raise StructureError(
        f"{purpose} {'-'.join(map(str, indices))}: only {most} of {particles} spheres of diameter "
        f"{diameter:.4f} fit on {voxels}^3 voxels; lower geometry.volume_fraction"
    )


def _legal_window(geometry: Geometry, structures: Structures, kind: int) -> tuple[float, float]:
    low, high = structures.chain_windows[kind]
    if low < geometry.diameter:
        raise StructureError(
            f"structures.chain_windows[{kind}] = [{low:g}, {high:g}] starts below the sphere "
            f"diameter {geometry.diameter:.4f} voxels: neighbours would overlap"
        )
    return float(low), float(high)


def _does_not_fit(what: str, placed: int, geometry: Geometry) -> str:
    return (
        f"{what}: only {placed} of {geometry.particles} particles fit at geometry.volume_fraction "
        f"= {geometry.volume_fraction:g} ({MAX_STARTS} starts of up to {MAX_REJECTIONS:,} rejected "
        "insertions in a row); random sequential addition jams near 0.38, earlier where "
        "structures.slab_width takes room: lower the volume fraction"
    )
