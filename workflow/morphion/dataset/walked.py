"""Part of the test split of a data set, to be labelled by kinetic Monte Carlo as well."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morphion import provenance, store
from morphion.config import Config
from morphion.dataset.build import KIND
from morphion.errors import StructureError
from morphion.philox import generator
from morphion.structures.dataset import structure_dataset


def write_walked(config: Config, dataset: Path, outputs: Sequence[Path]) -> None:
    """Draw ``walked.structures`` of the random test split and write the shards.

    A larger draw holds every smaller one. Structures keep family, variant, index, seed and group,
    by which their exact labels are found again. Raises StructureError if the split has fewer.
    """
    names = ("positions", "family", "variant", "index", "seed", "group", "split_random")
    data = store.load(dataset, kind=KIND, names=names)
    test = np.flatnonzero(data.split_random.values == "test")
    asked = config.walked.structures
    if asked > len(test):
        raise StructureError(
            f"walked.structures = {asked}: the test split of {dataset} has {len(test)}; ask for "
            "that many at most"
        )
    rows = np.sort(generator(config.seed, "walked").permutation(test)[:asked])
    drawn = data.isel(structure=rows)
    origin = {name: drawn[name].values for name in names[1:-1]}
    structures = structure_dataset(
        drawn.positions.values, data.attrs["box_length"], data.attrs["diameter"], **origin
    )
    record = provenance.record({}, seed=config.seed, dataset=str(dataset), walked=asked)
    store.write_shards(outputs, structures, record)
