"""Structures of a data set at other volume fractions (figure 8 of the paper)."""

import numpy as np
import xarray as xr

from morphion.config.geometry import RSA_JAMMING, Geometry
from morphion.errors import StructureError
from morphion.progress import progress
from morphion.structures.addition import at_loading
from morphion.structures.dataset import structure_dataset


def loading_structures(
    parents: xr.Dataset, geometry: Geometry, volume_fraction: float, seed: int
) -> tuple[xr.Dataset, list[int]]:
    """Every parent at another volume fraction, and the parents that cannot take more particles.

    Parameters
    ----------
    parents : data set with positions, family, variant, index and group
    geometry : gives the box and the sphere diameter, which do not change
    volume_fraction : the loading; ``geometry.particles_at`` says how many particles that is
    seed : run seed

    Returns the structures and the places in ``parents`` of those that failed. A structure has its
    parent's family, variant and group; ``index`` and ``parent`` are the parent's place.
    Raises StructureError if the loading leaves no particle or no parent can be brought to it.
    """
    count = parents.sizes["structure"]
    target = _particles(geometry, volume_fraction, count)
    origins = [
        (str(family), int(index), str(group))
        for family, index, group in zip(
            parents["family"].values, parents["index"].values, parents["group"].values, strict=True
        )
    ]
    parent_positions = parents["positions"].values
    made, kept, failed = [], [], []
    with progress(f"loading {volume_fraction:g}", count, "structures") as reporter:
        for parent, origin in enumerate(origins):
            positions = at_loading(
                parent_positions[parent],
                geometry.box_length,
                geometry.diameter,
                target,
                seed,
                "loading",
                target,
                *origin,
            )
            if positions is None:
                failed.append(parent)
            else:
                made.append(positions)
                kept.append(parent)
            reporter.advance()
    if not made:
        raise StructureError(
            f"loading {volume_fraction:g}: none of {count} structures can be brought to {target} "
            "particles; random sequential addition jams near 0.38: lower the volume fraction"
        )
    dataset = structure_dataset(
        np.stack(made),
        geometry.box_length,
        geometry.diameter,
        family=parents["family"].values[kept],
        variant=parents["variant"].values[kept],
        index=kept,
        seed=seed,
        group=parents["group"].values[kept],
        parent=np.asarray(kept, dtype=np.int64),
    )
    return dataset, failed


def _particles(geometry: Geometry, volume_fraction: float, count: int) -> int:
    """Particles at a loading that ``count`` structures are to be brought to.

    Raises StructureError for a loading that none can be brought to, or no structures.
    """
    if not 0 < volume_fraction < RSA_JAMMING:
        raise StructureError(
            f"loading {volume_fraction:g} is no volume fraction between 0 and {RSA_JAMMING}, where "
            "random sequential addition jams"
        )
    target = geometry.particles_at(volume_fraction)
    if target < 1:
        raise StructureError(
            f"loading {volume_fraction:g} leaves no particle of diameter {geometry.diameter:.4f} "
            f"in a box of edge {geometry.box_length:g} voxels; choose a larger volume fraction"
        )
    if count == 0:
        raise StructureError(
            f"loading {volume_fraction:g}: the test split is empty; make more structures or raise "
            "the third value of split"
        )
    return target
