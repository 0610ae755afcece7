"""A small data set whose labels are a known function of the structure, small networks, and what
their trainings are judged by."""

import csv

import numpy as np
import pytest
import xarray as xr

from morphion import store
from morphion.config import Config
from morphion.config.surrogates import (
    DenseNetwork,
    DenseTraining,
    GraphNetwork,
    GraphTraining,
    PaperNetwork,
    PeriodicNetwork,
    PeriodicTraining,
    ResistorNetwork,
    ResistorTraining,
    Training,
    TreesNetwork,
    TreesTraining,
)
from morphion.structures.descriptors import mean_nearest_distances
from morphion.surrogates import train
from morphion.surrogates.loop import Loop
from morphion.surrogates.model import read_tensors

BOX, DIAMETER, PARTICLES = 25.0, 5.0, 12
TRAINING = Training(batch_size=8, max_epochs=6, learning_rate=3e-3)


def make_positions(count=64):
    """Centres [count, 12, 3] in clouds of different width, so that nearest distances differ."""
    rng = np.random.default_rng(7)
    width = np.linspace(4, 12, count)[:, None, None]
    cloud = BOX / 2 + width * rng.uniform(-1, 1, (count, PARTICLES, 3))
    return np.mod(cloud, BOX).astype(np.float32)


def write_dataset(path, positions, diffusivity=None):
    """Data set store of structures; by default D rises with the mean nearest distance."""
    count = len(positions)
    if diffusivity is None:
        diffusivity = 0.01 * np.exp(0.3 * mean_nearest_distances(positions, BOX))
    split = np.array(["train", "train", "train", "validation", "test"], dtype=object)
    by_run = np.array(["train", "validation", "train", "test", "unused"], dtype=object)

    def per_structure(values):
        return "structure", np.asarray(values)

    data = xr.Dataset(
        {
            "positions": (("structure", "particle", "xyz"), positions),
            "family": per_structure(np.full(count, "rsa", dtype=object)),
            "group": per_structure(np.array([f"rsa-{i}" for i in range(count)], dtype=object)),
            "round": per_structure(np.zeros(count, "i4")),
            "diffusivity": per_structure(diffusivity),
            "tensor": (("structure", "axis", "axis2"), diffusivity[:, None, None] * np.eye(3)),
            "stderr": per_structure(0.02 * diffusivity),
            "converged": per_structure(np.ones(count, bool)),
            "split_random": per_structure(np.resize(split, count)),
            "split_by_run": per_structure(np.resize(by_run, count)),
        },
        attrs={
            "box_length": BOX,
            "diameter": DIAMETER,
            "volume_fraction": 0.05,
            "reference_diffusivity": float(np.max(diffusivity)),
            "voxels": 25,
        },
    )
    store.write(path, data, kind="dataset", provenance={})
    return path


def networks(training=TRAINING):
    """One small network of each kind."""
    dense = training.model_copy(update={"augment": False})
    at_once = DenseTraining(**dense.model_dump())
    on_pairs = {**dense.model_dump(), "precision": "float32"}
    return {
        "periodic": PeriodicNetwork(
            kind="periodic",
            filters=4,
            kernels=(3, 3),
            neurons=8,
            training=PeriodicTraining(**dense.model_dump()),
        ),
        "untiled": PaperNetwork(
            kind="paper", tiled=False, filters=(2, 2, 4, 4), neurons=8, training=training
        ),
        "tiled": PaperNetwork(
            kind="paper", tiled=True, filters=(1, 1, 2, 2), neurons=4, training=training
        ),
        "nearest_distance": DenseNetwork(
            kind="dense", descriptor="nearest-distance", neurons=(16,), training=at_once
        ),
        "resistor": ResistorNetwork(
            kind="resistor",
            cutoff=2.2,
            near=1.6,
            radial=8,
            channels=4,
            neurons=8,
            training=ResistorTraining(**on_pairs),
        ),
        "graph": GraphNetwork(
            kind="graph",
            cutoff=2.2,
            near=1.6,
            radial=8,
            rounds=2,
            channels=4,
            neurons=8,
            training=GraphTraining(**on_pairs),
        ),
        "trees": TreesNetwork(
            kind="trees",
            max_distance=18,
            contacts=(1.2, 1.6),
            leaves=6,
            training=TreesTraining(max_iterations=60, min_samples_leaf=5),
        ),
        "rdf": DenseNetwork(
            kind="dense", descriptor="rdf", max_distance=18, neurons=(16,), training=at_once
        ),
    }


def make_config(output, training=TRAINING, **changes):
    """Configuration with the small networks; ``changes`` replace training values."""
    surrogates = {"networks": networks(training.model_copy(update=changes))}
    return Config.model_validate({"output": output, "surrogates": surrogates})


def history(folder):
    """Rows of a training's history, by the names of its columns."""
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def losses(folder):
    """Training loss of every epoch."""
    return [float(row["train_loss"]) for row in history(folder)]


def assert_same_network(first, second):
    """Weights bit for bit, and the history but for its times."""
    one, other = read_tensors(first), read_tensors(second)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    rows = [history(folder) for folder in (first, second)]
    for name in ("epoch", "train_loss", "validation_loss", "learning_rate"):
        assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]]


class Killed(Exception):
    """Stands for a kill in the middle of a training."""


def train_killed_at(at_step, monkeypatch, config, dataset, name, output):
    """Start a training that is killed before a step, and continue it."""
    step = Loop._step

    def interrupted(self, *arguments):
        if self._step_number == at_step:
            raise Killed
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", interrupted)
        with pytest.raises(Killed):
            train(config, dataset, name, "random", 0, output)
    assert not output.exists()
    train(config, dataset, name, "random", 0, output)
