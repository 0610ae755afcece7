"""Boosted trees: their descriptors, their evaluation against scikit-learn, their training."""

import csv

import numpy as np
import pytest
import torch
from surrogate_cases import BOX, DIAMETER, make_config, make_positions, networks, write_dataset

from morphion.errors import SurrogateError
from morphion.surrogates import Surrogate, boosting, predict_dataset, train
from morphion.surrogates.build import build
from morphion.surrogates.images import SYMMETRIES
from morphion.surrogates.model import read_description, read_tensors
from morphion.surrogates.trees import describe, descriptor_of

BLOCK = networks()["trees"]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Path of a data set of 320 structures."""
    folder = tmp_path_factory.mktemp("large")
    return write_dataset(folder / "round0.zarr", make_positions(320))


def grown(folder, dataset, name="model"):
    train(make_config(folder), dataset, "trees", "random", 0, folder / name)
    return folder / name


def test_descriptors_are_invariant_and_as_many_as_announced():
    positions = make_positions(4).astype(np.float64)
    before = describe(BLOCK, positions, BOX, DIAMETER)
    assert before.shape == (4, descriptor_of(BLOCK).size)
    rng = np.random.default_rng(0)
    for order, signs in SYMMETRIES[::5]:
        moved = positions[:, rng.permutation(positions.shape[1])][:, :, order] * signs
        moved = np.mod(moved + rng.uniform(0, BOX, 3), BOX)
        np.testing.assert_allclose(describe(BLOCK, moved, BOX, DIAMETER), before, rtol=1e-9)


def test_trees_predict_what_scikit_learn_predicts(tmp_path, large, monkeypatch):
    machines = []
    take = boosting.Boosting._take
    monkeypatch.setattr(
        boosting.Boosting, "_take", lambda self, m: machines.append(m) or take(self, m)
    )
    folder = grown(tmp_path, large)
    surrogate, positions = Surrogate.load(folder, "cpu"), make_positions(320)
    inputs = descriptor_of(BLOCK).of(positions, BOX, DIAMETER, torch.device("cpu"))
    kept = read_description(folder).training["best_epoch"]
    staged = list(machines[0].staged_predict(inputs.double().numpy()))[kept]
    tensors = read_tensors(folder)
    expected = np.exp(float(tensors["log_mean"]) + float(tensors["log_scale"]) * staged)
    found, spread = surrogate.predict(positions, BOX, DIAMETER)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(spread, read_description(folder).spread.of(found, 0.0))


def test_fitted_numbers_are_those_of_the_trees_kept():
    model = build(BLOCK, descriptor_of(BLOCK).size)
    assert model.fitted_numbers() == 0
    model.feature[0, 0] = 3  # a node with two leaves: entry, threshold, two values
    assert model.fitted_numbers() == 4
    model.feature[0, 1] = 5  # one leaf divided: entry, threshold, one value more
    assert model.fitted_numbers() == 7


def test_trees_beat_the_mean_and_the_best_iteration_is_kept(tmp_path, large):
    folder = grown(tmp_path, large)
    table = predict_dataset(Surrogate.load(folder, "cpu"), large)
    test, mean = table[table.split == "test"], table[table.split == "train"].label.mean()
    assert ((test.prediction - test.label) ** 2).mean() < 0.3 * ((mean - test.label) ** 2).mean()
    rows = list(csv.DictReader((folder / "history.csv").open()))
    losses = [float(row["validation_loss"]) for row in rows]
    assert len(losses) == BLOCK.training.max_iterations
    chosen = table[table.split == "validation"]
    found = ((chosen.prediction - chosen.label) ** 2).mean()
    assert found == pytest.approx(min(losses), rel=1e-6)
    assert read_description(folder).training["best_epoch"] == int(np.argmin(losses))


def test_the_same_seed_grows_the_same_trees(tmp_path, large):
    one, other = grown(tmp_path, large, "one"), grown(tmp_path, large, "other")
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_another_box_is_refused(tmp_path, large):
    surrogate = Surrogate.load(grown(tmp_path, large), "cpu")
    with pytest.raises(SurrogateError, match="box edge 30 "):
        surrogate.predict(make_positions(1), 30.0, DIAMETER)
