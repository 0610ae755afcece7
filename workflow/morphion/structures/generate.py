"""The ``structures`` stage: one shard of the data set's structures."""

import numpy as np
import xarray as xr

from morphion.config.geometry import Structures
from morphion.config.root import Config
from morphion.errors import StructureError
from morphion.progress import progress
from morphion.structures.dataset import structure_dataset
from morphion.structures.families import enumerate_structures, generate, variant


def shard_count(structures: Structures) -> int:
    """Shards that hold all structures; only the last may be smaller than ``shard_size``."""
    return -(-structures.count // structures.shard_size)


def generate_shard(config: Config, shard: int) -> xr.Dataset:
    """Structures [shard * shard_size, (shard + 1) * shard_size) of the data set's fixed order.

    Raises StructureError for a shard that does not exist or particles that do not fit.
    """
    geometry, structures = config.geometry, config.structures
    shards = shard_count(structures)
    if not 0 <= shard < shards:
        raise StructureError(
            f"shard {shard} does not exist: {structures.count} structures in shards of "
            f"structures.shard_size = {structures.shard_size} make shards 0 to {shards - 1}"
        )
    first = shard * structures.shard_size
    entries = enumerate_structures(structures)[first : first + structures.shard_size]
    positions = np.empty((len(entries), geometry.particles, 3), dtype=np.float32)
    with progress(f"structures, shard {shard}", len(entries), "structures") as reporter:
        for row, (family, index) in enumerate(entries):
            positions[row] = generate(geometry, structures, config.seed, family, index)
            reporter.advance()
    return structure_dataset(
        positions,
        geometry.box_length,
        geometry.diameter,
        family=[family for family, _ in entries],
        variant=[variant(family, index, structures) for family, index in entries],
        index=[index for _, index in entries],
        seed=config.seed,
        group=[f"{family}-{index}" for family, index in entries],
    )
