"""What networks cost: parameters, operations and training; of those left out, an estimate."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from morphion import store
from morphion.analysis.speed import prediction_times
from morphion.analysis.tables import write_table
from morphion.config import Config
from morphion.errors import MorphionError
from morphion.provenance import hardware
from morphion.surrogates import Surrogate
from morphion.surrogates.flops import flops_per_structure
from morphion.surrogates.trial import trial

_COUNTED = 8  # structures; a network of particles has other operations for each
# A batch of the paper's network takes a GB or more for each structure.
_TRIAL_BATCH = 2


def costs_table(dataset: Path, models: Mapping[str, Path], output: Path) -> None:
    """Write parameters, floating-point operations and training of networks; name -> model folder.

    ``flops`` are those of one prediction, as ``surrogates.flops`` counts them, on structures of
    ``dataset``; the rest stands in the models. What a network does not have is empty.
    """
    data = store.load(dataset, kind="dataset", names=("positions",))
    lengths = (data.attrs["box_length"], data.attrs["diameter"])
    rows = []
    for name, path in models.items():
        surrogate = Surrogate.load(path, "cpu")
        described = surrogate.description
        training = described.training
        rows.append(
            {
                "network": name,
                "kind": described.network["kind"],
                "training_structures": described.dataset["train"],
                "parameters": training.get("parameters"),
                "flops": flops_per_structure(surrogate, data.positions.values[:_COUNTED], *lengths),
                "epochs": training.get("epochs"),
                "training_seconds": training.get("seconds"),
                "samples_per_second": training.get("samples_per_second"),
                "ranks": training.get("ranks"),
                "device": training.get("device"),
                "peak_memory_gb": training.get("peak_memory_bytes", np.nan) / 1e9,
            }
        )
    write_table(rows, output)


def left_out_table(dataset: Path, networks: Sequence[str], config: Config, output: Path) -> None:
    """Write how long the trainings would take here that a run without a GPU leaves out.

    ``networks`` are their names (``Surrogates.network``). Each network takes a few steps of its
    training now and predicts on the CPU; ``hours`` is for all epochs it may take, without
    validation.
    """
    if not networks:
        raise MorphionError(f"{output}: the table of what is left out needs at least one training")
    data = store.load(dataset, kind="dataset", names=("split_random", "positions"))
    lengths = (data.attrs["box_length"], data.attrs["diameter"])
    measured: dict[str, dict[str, float]] = {}
    rows = []
    for name in networks:
        key = name.partition("-")[0]
        if key not in measured:
            measured[key] = _tried(config, dataset, key, data.positions.values, *lengths)
        training = config.surrogates.network(name).training
        structures = training.structures or int((data.split_random.values == "train").sum())
        hours = measured[key]["seconds_per_sample"] * structures * training.max_epochs / 3600
        rows.append(
            {
                "network": name,
                "kind": config.surrogates.network(name).kind,
                "training_structures": structures,
                "max_epochs": training.max_epochs,
                "hours": hours,
                **measured[key],
                "batch": _TRIAL_BATCH,
                "threads": torch.get_num_threads(),
                "processor": hardware()["processor"],
            }
        )
    write_table(rows, output)


def _tried(
    config: Config,
    dataset: Path,
    network: str,
    positions: np.ndarray,
    box_length: float,
    diameter: float,
) -> dict[str, float]:
    """Times of a few steps and of predictions, parameters and operations of a network."""
    with tempfile.TemporaryDirectory(prefix="morphion-trial-") as folder:
        tried = trial(config, dataset, network, Path(folder), batch=_TRIAL_BATCH, device="cpu")
        surrogate = Surrogate.load(tried.model, "cpu")
        times = prediction_times(surrogate, positions[:64], box_length, diameter)
    return {
        "parameters": surrogate.description.training["parameters"],
        "flops": flops_per_structure(surrogate, positions[:_COUNTED], box_length, diameter),
        "seconds_per_sample": 1 / tried.samples_per_second,
        "seconds_single": times[0]["seconds_per_prediction"],
        "seconds_batched": times[-1]["seconds_per_prediction"],
        "batch_predicted": times[-1]["batch"],
    }
