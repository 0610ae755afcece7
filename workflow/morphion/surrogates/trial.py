"""A short training on a few structures, to learn how long a whole one takes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from morphion import store
from morphion.config import Config
from morphion.errors import SurrogateError
from morphion.surrogates.data import SETS
from morphion.surrogates.model import read_description
from morphion.surrogates.stage import train
from morphion.surrogates.state import HISTORY_FILE


@dataclass(frozen=True)
class Trial:
    """``samples_per_second`` of the fastest epoch, without validation; ``peak_memory_bytes`` of a
    rank, see ``surrogates.memory.peak_memory``; ``model`` is the trained network's folder."""

    samples_per_second: float
    peak_memory_bytes: int
    model: Path


def trial(
    config: Config,
    dataset: Path,
    network: str,
    folder: Path,
    *,
    batch: int,
    steps: int = 1,
    epochs: int = 2,
    ranks: int = 1,
    device: str = "auto",
) -> Trial:
    """Train a network by the training stage for a few steps of ``batch`` structures.

    ``dataset`` is a data set with at least batch x steps structures to train on and a structure to
    validate with for each rank; ``folder`` takes all that is written; ``device`` is that of a
    single rank. The first epoch allocates and compiles. Raises what ``train`` raises, and
    SurrogateError for a data set that is too small.
    """
    block = config.surrogates.network(network)
    training = block.training.model_copy(
        update={
            "batch_size": batch,
            "max_epochs": epochs,
            "patience": epochs,
            "max_seconds": None,
            "structures": None,
            "ranks": ranks,
        }
    )
    block = block.model_copy(update={"training": training})
    surrogates = config.surrogates.model_copy(update={"networks": {network: block}})
    config = config.model_copy(update={"surrogates": surrogates})
    part, model = folder / "dataset.zarr", folder / "model"
    _write_part(dataset, part, {"train": batch * steps, "validation": ranks})
    train(config, part, network, "random", 0, model, device=device)
    history = pd.read_csv(model / HISTORY_FILE)
    return Trial(
        float(history.samples_per_second.max()),
        int(read_description(model).training["peak_memory_bytes"]),
        model,
    )


def _write_part(dataset: Path, output: Path, sizes: dict[str, int]) -> None:
    """The first structures of each set of the random split as a data set of its own."""
    names = ("positions", "diffusivity", "tensor", "split_random")
    data = store.load(dataset, kind="dataset", names=names)
    rows = []
    for name in SETS:
        found = np.flatnonzero(data.split_random.values == name)[: sizes.get(name, 0)]
        if len(found) < sizes.get(name, 0):
            raise SurrogateError(
                f"{dataset}: {len(found)} structures in the set {name!r}; a trial of this batch "
                f"and these ranks needs {sizes[name]}"
            )
        rows.append(found)
    part = data.isel(structure=np.concatenate(rows))
    store.write(output, part, kind="dataset", provenance={})
