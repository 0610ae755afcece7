"""Time of a label and of a prediction, measured in one run."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from morphion import store
from morphion.config import Config
from morphion.errors import StoreError
from morphion.files import atomic_file
from morphion.provenance import hardware
from morphion.surrogates import Surrogate

_STRUCTURES = 16
_REPEATS = 5


def speed_table(dataset: Path, model: Path, config: Config, output: Path) -> None:
    """Write the mean time of a label beside the median time of a prediction, in seconds.

    Labels were timed when they were made (walk or solve alone); predictions are timed here, on a
    batch of the same structures, from positions to D*. Raises StoreError without labels.
    """
    names = ("positions", "seconds", "converged")
    data = store.load(dataset, kind="dataset", names=names)
    rows = np.flatnonzero(data.converged.values)[:_STRUCTURES]
    if len(rows) == 0:
        raise StoreError(f"{dataset}: no converged label to time")
    surrogate = Surrogate.load(model)
    arguments = (data.positions.values[rows], data.attrs["box_length"], data.attrs["diameter"])
    surrogate.predict(*arguments)  # the first call compiles and allocates
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        surrogate.predict(*arguments)
        times.append((time.perf_counter() - begin) / len(rows))
    table = pd.DataFrame(
        {
            "seconds_per_label": [float(data.seconds.values[data.converged.values].mean())],
            "seconds_per_prediction": [float(np.median(times))],
            "seconds_per_prediction_low": [min(times)],
            "seconds_per_prediction_high": [max(times)],
            "batch": [len(rows)],
            "label_method": [config.labels.method],
            "lattice": [config.labels.lattice],
            "processor": [hardware()["processor"]],
            "cores": [hardware()["cores"]],
        }
    )
    with atomic_file(output) as scratch:
        table.to_csv(scratch, index=False, float_format="%.6g")
