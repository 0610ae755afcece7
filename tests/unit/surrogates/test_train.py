"""Training: what it learns, that it resumes to the identical result, and when it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
from surrogate_cases import (
    Killed,
    assert_same_network,
    history,
    losses,
    make_config,
    make_positions,
    train_killed_at,
    write_dataset,
)

from morphion import store
from morphion.currents import solve_shard
from morphion.errors import ConfigError, SurrogateError
from morphion.surrogates import Surrogate, predict_dataset, train
from morphion.surrogates.data import read_labelled, training_part, with_currents
from morphion.surrogates.loop import Loop
from morphion.surrogates.model import read_description, read_tensors
from morphion.surrogates.schedule import averaged, learning_rate
from morphion.transport.files import transport_record

IMAGE_NETWORKS = ("periodic", "untiled", "tiled")
DENSE_NETWORKS = ("nearest_distance", "rdf")


@pytest.mark.parametrize("name", DENSE_NETWORKS)
def test_dense_networks_beat_the_mean_of_the_training_set(tmp_path, name):
    dataset = write_dataset(tmp_path / "round0.zarr", make_positions(320))
    config = make_config(tmp_path, max_epochs=30, learning_rate=1e-2)
    train(config, dataset, name, "random", 0, tmp_path / "model")
    table = predict_dataset(Surrogate.load(tmp_path / "model"), dataset)
    test, mean = table[table.split == "test"], table[table.split == "train"].label.mean()
    error = ((test.prediction - test.label) ** 2).mean()
    assert error < 0.5 * ((mean - test.label) ** 2).mean()


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_image_networks_lower_their_loss(tmp_path, dataset, name):
    epochs = 3 if name == "tiled" else 10
    config = make_config(tmp_path, max_epochs=epochs, augment=False)
    train(config, dataset, name, "random", 0, tmp_path / "model")
    rows, lost = history(tmp_path / "model"), losses(tmp_path / "model")
    assert lost[-1] < lost[0]
    assert len(rows) == epochs
    assert float(rows[-1]["learning_rate"]) < float(rows[0]["learning_rate"])
    assert 0 < float(rows[-1]["loader_share"]) < 1


def test_mixed_precision_trains_on_cpus_as_single_precision_does(tmp_path, dataset):
    for precision in ("mixed", "float32"):
        config = make_config(tmp_path, max_epochs=10, precision=precision)
        train(config, dataset, "untiled", "random", 0, tmp_path / precision)
    mixed, single = losses(tmp_path / "mixed"), losses(tmp_path / "float32")
    assert mixed != single
    assert mixed == pytest.approx(single, rel=0.1)
    assert all(values.dtype == np.float32 for values in read_tensors(tmp_path / "mixed").values())


@pytest.mark.parametrize(
    ("name", "at_step"), [("periodic", 7), ("rdf", 15), ("periodic", 29), ("resistor", 12)]
)
def test_an_interrupted_training_equals_an_uninterrupted_one(
    tmp_path, config, dataset, monkeypatch, name, at_step
):
    train(config, dataset, name, "random", 0, tmp_path / "whole")
    train_killed_at(at_step, monkeypatch, config, dataset, name, tmp_path / "resumed")
    assert_same_network(tmp_path / "whole", tmp_path / "resumed")
    assert not (tmp_path / "resumed.partial").exists()


@pytest.fixture(scope="module")
def currents(tmp_path_factory, dataset):
    """Currents of the structures of ``dataset``."""
    output = tmp_path_factory.mktemp("currents") / "part-0000.zarr"
    solve_shard(make_config(output.parent), dataset, 0, 0, 1, output)
    return output


def test_a_network_learns_currents_and_resumes_with_them(tmp_path, dataset, currents, monkeypatch):
    config = make_config(tmp_path, max_epochs=6, max_gradient=1.0)
    train(config, dataset, "resistor", "random", 0, tmp_path / "plain")
    train(config, dataset, "resistor", "random", 0, tmp_path / "whole", [currents])
    monkeypatch.setattr(Loop, "_close_epoch", _kill_after(Loop._close_epoch))
    with pytest.raises(Killed):
        train(config, dataset, "resistor", "random", 0, tmp_path / "resumed", [currents])
    monkeypatch.undo()
    train(config, dataset, "resistor", "random", 0, tmp_path / "resumed", [currents])
    assert_same_network(tmp_path / "whole", tmp_path / "resumed")
    # Currents count in the first 40 % of the steps, occupancies to the end.
    plain, learnt = losses(tmp_path / "plain"), losses(tmp_path / "whole")
    assert learnt[0] > plain[0] + 0.5
    assert learnt[-1] < learnt[0] - 0.5


def test_occupancies_are_told_in_units_of_their_mean_and_what_solvent_conducts_with_them(
    tmp_path, dataset, currents
):
    config, data = make_config(tmp_path, max_epochs=1), read_labelled(dataset, "random")
    told = with_currents(data, [currents], transport_record(config.transport))
    exact = store.load(currents, kind="currents").occupancy.values
    np.testing.assert_allclose(told.currents.occupancy, exact / exact.mean(), rtol=1e-6)
    of_solvent = 1 / data.attrs["reference_diffusivity"]
    assert told.solvent == pytest.approx(of_solvent / exact.mean())
    assert data.solvent is None


def test_a_round_that_the_configuration_has_not_is_refused(tmp_path, dataset):
    config = make_config(tmp_path, max_epochs=1)
    with pytest.raises(ConfigError, match=f"round 7: .* has rounds = {config.rounds}"):
        train(config, dataset, "rdf", "random", 7, tmp_path / "model")


def test_a_training_without_currents_says_so(tmp_path, dataset, currents, capsys):
    config = make_config(tmp_path, max_epochs=1)
    train(config, dataset, "resistor", "random", 0, tmp_path / "without")
    assert "warning: " in (said := capsys.readouterr().err)
    assert "without: currents of 0 of " in said
    train(config, dataset, "resistor", "random", 0, tmp_path / "with", [currents])
    assert "warning: " not in capsys.readouterr().err
    counts = [Surrogate.load(tmp_path / name).description.dataset for name in ("without", "with")]
    assert [count["currents"] for count in counts] == [0, counts[1]["train"]]


def test_a_network_that_learns_no_currents_ignores_them(tmp_path, dataset, currents):
    config = make_config(tmp_path, max_epochs=1)
    train(config, dataset, "rdf", "random", 0, tmp_path / "one")
    train(config, dataset, "rdf", "random", 0, tmp_path / "other", [currents])
    assert_same_network(tmp_path / "one", tmp_path / "other")


def test_weights_start_anew_each_round_and_for_each_split(tmp_path, dataset):
    config = make_config(tmp_path, max_epochs=1, learning_rate=1e-12)
    starts = {}
    for round_, split in ((0, "random"), (1, "random"), (0, "by_run")):
        folder = tmp_path / f"{split}{round_}"
        train(config, dataset, "rdf", split, round_, folder)
        starts[round_, split] = read_tensors(folder)["dense.0.weight"]
    assert len({weights.tobytes() for weights in starts.values()}) == 3


def test_a_changed_setting_does_not_continue_an_old_training(
    tmp_path, config, dataset, monkeypatch
):
    monkeypatch.setattr(Loop, "_close_epoch", _kill_after(Loop._close_epoch))
    with pytest.raises(Killed):
        train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    monkeypatch.undo()
    other = make_config(tmp_path, learning_rate=1e-4)
    train(other, dataset, "rdf", "random", 0, tmp_path / "model")
    train(other, dataset, "rdf", "random", 0, tmp_path / "fresh")
    assert_same_network(tmp_path / "model", tmp_path / "fresh")


def _kill_after(method):
    def wrapped(self, *arguments):
        method(self, *arguments)
        raise Killed

    return wrapped


def test_early_stopping_keeps_the_best_epoch(tmp_path, dataset):
    config = make_config(tmp_path, max_epochs=300, patience=3, learning_rate=0.05)
    train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    validation = [float(row["validation_loss"]) for row in history(tmp_path / "model")]
    best = read_description(tmp_path / "model").training["best_epoch"]
    assert best == int(np.argmin(validation))
    assert len(validation) == best + 4
    table = predict_dataset(Surrogate.load(tmp_path / "model"), dataset)
    chosen = table[table.split == "validation"]
    found = ((chosen.prediction - chosen.label) ** 2).mean()
    assert found == pytest.approx(min(validation), rel=1e-5)


def test_a_training_that_validates_less_often_learns_the_same(tmp_path, dataset):
    for every in (1, 4):
        config = make_config(tmp_path, max_epochs=10, validate_every=every)
        train(config, dataset, "rdf", "random", 0, tmp_path / str(every))
    always, seldom = (pd.DataFrame(history(tmp_path / every)).astype(float) for every in ("1", "4"))
    assert list(seldom.train_loss) == list(always.train_loss)
    validated = seldom.validation_loss.dropna()
    assert list(validated.index) == [3, 7, 9]  # and the last
    assert list(validated) == list(always.validation_loss[validated.index])
    best = read_description(tmp_path / "4").training["best_epoch"]
    assert best == validated.idxmin()


@pytest.mark.parametrize("changes", [{"patience": 3}, {"max_seconds": 1e-3}])
def test_a_training_stops_early_where_it_validates(tmp_path, dataset, changes):
    config = make_config(tmp_path, max_epochs=300, validate_every=5, **{"patience": 300, **changes})
    train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    epochs = read_description(tmp_path / "model").training["epochs"]
    assert epochs < 300
    assert epochs % 5 == 0
    assert history(tmp_path / "model")[-1]["validation_loss"] != "nan"


def test_a_training_ends_after_the_epoch_that_passes_its_time(tmp_path, dataset):
    config = make_config(tmp_path, max_epochs=300, patience=300, max_seconds=1e-3)
    train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    assert read_description(tmp_path / "model").training["epochs"] == 1


def test_the_mean_of_the_weights_forgets_as_fast_as_its_decay_and_faster_at_first():
    model = torch.nn.Linear(1, 1, bias=False)
    mean = averaged(model, 0.9)
    expected, weights = 0.0, np.random.default_rng(0).normal(size=200).astype(np.float32)
    for count, weight in enumerate(weights):
        torch.nn.init.constant_(model.weight, float(weight))
        mean.update_parameters(model)
        kept = 0.0 if count == 0 else min(0.9, (1 + count) / (10 + count))
        expected = kept * expected + (1 - kept) * weight
    assert mean.module.weight.item() == pytest.approx(expected, rel=1e-4)


def test_the_network_kept_is_the_mean_of_the_weights_unless_told_otherwise(tmp_path, dataset):
    means = {}
    for decay in (None, 0.99):
        config = make_config(tmp_path, max_epochs=3, weight_average=decay)
        train(config, dataset, "rdf", "random", 0, tmp_path / f"{decay}")
        means[decay] = losses(tmp_path / f"{decay}"), read_tensors(tmp_path / f"{decay}")
    assert means[None][0] == means[0.99][0]  # the steps are the same ones
    first, second = (means[decay][1]["dense.0.weight"] for decay in (None, 0.99))
    assert not np.allclose(first, second, rtol=1e-4)


def test_an_empty_set_is_refused(tmp_path, config):
    path = write_dataset(tmp_path / "d.zarr", make_positions(3))
    with pytest.raises(SurrogateError, match="in the set 'validation'"):
        train(config, path, "rdf", "random", 0, tmp_path / "model")


def test_fewer_structures_than_ranks_are_refused(tmp_path, dataset):
    config = make_config(tmp_path, ranks=14)
    with pytest.raises(SurrogateError, match="14 ranks"):
        train(config, dataset, "rdf", "random", 0, tmp_path / "model")


def test_a_label_that_is_not_positive_is_refused(tmp_path, config):
    diffusivity = np.full(10, 0.02)
    diffusivity[1] = 0.0
    path = write_dataset(tmp_path / "d.zarr", make_positions(10), diffusivity)
    with pytest.raises(SurrogateError, match=r"diffusivity\[1\] = 0"):
        train(config, path, "rdf", "random", 0, tmp_path / "model")


def test_an_unknown_network_is_refused(tmp_path, config, dataset):
    with pytest.raises(ConfigError, match="no 'forest'"):
        train(config, dataset, "forest", "random", 0, tmp_path / "model")


def test_the_rate_warms_up_and_falls_to_one_percent():
    rates = [learning_rate(1.0, step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.05, rel=1e-2)
    assert max(rates) > 0.99
    assert rates[-1] == pytest.approx(0.01, rel=1e-2)


def test_tensorboard_events_hold_every_epoch(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "events")).Reload()
    assert len(events.Scalars("epoch/validation_loss")) == 200
    assert len(events.Scalars("loss/step")) == 200 * 5


def with_structures(config, name, structures):
    """The configuration with a limit on a network's training structures."""
    block = config.surrogates.networks[name]
    training = block.training.model_copy(update={"structures": structures})
    config.surrogates.networks[name] = block.model_copy(update={"training": training})
    return config


def test_a_training_on_fewer_structures_says_so_and_scores_those_alone(tmp_path, config, dataset):
    train(config, dataset, "rdf-12", "random", 0, tmp_path / "model")
    described = read_description(tmp_path / "model")
    assert described.network_name == "rdf-12"
    assert (described.dataset["train"], described.dataset["validation"]) == (12, 13)
    counts = predict_dataset(Surrogate.load(tmp_path / "model"), dataset).split.value_counts()
    whole = {"train": 12, "unused": 27, "validation": 13, "test": 12}
    assert counts.to_dict() == whole


def test_smaller_training_sets_are_parts_of_larger_ones_for_every_network():
    membership = np.resize(np.array(["train", "train", "test"], dtype=object), 90)
    parts = {
        size: set(np.flatnonzero(training_part(membership, size, 5, 0, "random") == "train"))
        for size in (10, 20, 60)
    }
    assert [len(part) for part in parts.values()] == [10, 20, 60]
    assert parts[10] < parts[20] < parts[60]
    assert parts[20] != set(sorted(parts[60])[:20])
    other = training_part(membership, 10, 6, 0, "random")
    assert set(np.flatnonzero(other == "train")) != parts[10]


def test_another_number_of_structures_does_not_continue_an_old_training(
    tmp_path, config, dataset, monkeypatch
):
    monkeypatch.setattr(Loop, "_close_epoch", _kill_after(Loop._close_epoch))
    with pytest.raises(Killed):
        train(with_structures(config, "rdf", 20), dataset, "rdf", "random", 0, tmp_path / "model")
    monkeypatch.undo()
    config = with_structures(config, "rdf", 24)
    train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    train(config, dataset, "rdf", "random", 0, tmp_path / "fresh")
    assert_same_network(tmp_path / "model", tmp_path / "fresh")


def test_more_structures_than_there_are_are_refused(tmp_path, config, dataset):
    with pytest.raises(SurrogateError, match=r"structures = 40, .* holds 39"):
        train(config, dataset, "rdf-40", "random", 0, tmp_path / "model")
