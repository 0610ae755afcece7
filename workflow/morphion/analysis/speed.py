"""Time of a label and of a prediction by every network, measured in one run."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from morphion import store
from morphion.analysis.tables import write_table
from morphion.config import Config
from morphion.errors import StoreError
from morphion.provenance import hardware
from morphion.surrogates import Surrogate
from morphion.surrogates.origin import require_own_labels
from morphion.surrogates.parallel import choose_device

_BATCHES = (1, 64)  # of every network, so that any two can be compared
_REPEATS = 7
_FEWEST = 3
_PATIENCE = 30.0  # seconds for the repeats of a batch; a slower network gets fewer of them


def speed_table(dataset: Path, models: Mapping[str, Path], config: Config, output: Path) -> None:
    """Write the mean time of a label beside the median times of predictions, in seconds.

    ``models`` are name -> model folder. Labels were timed when they were made (walk or solve
    alone); predictions of single structures and of batches are timed here, from positions to D*,
    on the CPU and on a GPU where there is one, on the same structures. Raises StoreError without
    labels, SurrogateError for labels made otherwise than ``config`` says.
    """
    names = ("positions", "seconds", "converged")
    data = store.load(dataset, kind="dataset", names=names)
    require_own_labels(str(dataset), data.attrs, config)
    rows = np.flatnonzero(data.converged.values)
    if len(rows) == 0:
        raise StoreError(f"{dataset}: no converged label to time")
    positions = data.positions.values[rows[: _BATCHES[-1]]]
    lengths = (data.attrs["box_length"], data.attrs["diameter"])
    label = {
        "seconds_per_label": float(data.seconds.values[rows].mean()),
        "label_method": config.labels.method,
        "lattice": config.labels.lattice,
    }
    devices = ("cpu", "cuda") if choose_device().type == "cuda" else ("cpu",)
    table = [
        {"network": name, "device": device} | times | label | _where(device)
        for name, path in models.items()
        for device in devices
        for times in prediction_times(Surrogate.load(path, device), positions, *lengths)
    ]
    write_table(table, output)


def prediction_times(
    surrogate: Surrogate, positions: np.ndarray, box_length: float, diameter: float
) -> list[dict[str, float]]:
    """Median, least and largest seconds a structure, for single structures and for batches.

    Keys: ``batch``, ``seconds_per_prediction`` and its ``_low`` and ``_high``.
    """
    # The first call compiles and allocates.
    surrogate.predict(positions[:1], box_length, diameter)
    found: list[dict[str, float]] = []
    for batch in sorted({min(batch, len(positions)) for batch in _BATCHES}):
        begin = time.perf_counter()
        surrogate.predict(positions[:batch], box_length, diameter)
        slow = time.perf_counter() - begin
        times = []
        for repeat in range(max(_FEWEST, min(_REPEATS, int(_PATIENCE / slow)))):
            first = repeat * batch % (len(positions) - batch + 1)
            part = positions[first : first + batch]
            begin = time.perf_counter()
            surrogate.predict(part, box_length, diameter)
            times.append((time.perf_counter() - begin) / batch)
        found.append(
            {
                "batch": batch,
                "seconds_per_prediction": float(np.median(times)),
                "seconds_per_prediction_low": min(times),
                "seconds_per_prediction_high": max(times),
            }
        )
    return found


def _where(device: str) -> dict[str, str | int]:
    if device == "cuda":
        return {"processor": torch.cuda.get_device_name(), "threads": 1}
    return {"processor": hardware()["processor"], "threads": torch.get_num_threads()}
