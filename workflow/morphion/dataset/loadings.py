"""The test split of a data set at another loading."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morphion import provenance, store
from morphion.config import Config
from morphion.config.load import block
from morphion.dataset.build import KIND
from morphion.progress import log
from morphion.structures.loadings import loading_structures


def write_loadings(
    config: Config, dataset: Path, volume_fraction: float, outputs: Sequence[Path]
) -> None:
    """Bring every structure of the random test split to another loading and write the shards.

    Structures that cannot take more particles are named in the log and in the provenance.
    Raises StructureError if the test split is empty or no structure can take the particles.
    """
    data = store.load(dataset, kind=KIND)
    rows = np.flatnonzero(data.split_random.values == "test")
    parents = data.isel(structure=rows)
    structures, full = loading_structures(parents, config.geometry, volume_fraction, config.seed)
    # Parents are counted within the test split there, within the data set here.
    structures["parent"] = structures.parent.copy(data=rows[structures.parent.values])
    refused = [int(rows[i]) for i in full]
    if refused:
        log(f"{len(refused)} of {len(rows)} structures cannot take more particles: {refused}")
    record = provenance.record(
        {"geometry": block(config.geometry)},
        seed=config.seed,
        volume_fraction=volume_fraction,
        dataset=str(dataset),
        refused=refused,
    )
    store.write_shards(outputs, structures, record)
