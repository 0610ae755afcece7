"""A published network predicts the same, names no machine, and says what it is worth."""

import json
import platform
import sys

import numpy as np
import pytest
from surrogate_cases import BOX, DIAMETER, make_config

from morphion.cli import main
from morphion.errors import MorphionError, SurrogateError
from morphion.surrogates import Surrogate, predict_dataset, train
from morphion.surrogates.metrics import score
from morphion.surrogates.publish import publish

FILES = {"README.md", "SHA256SUMS", "model.json", "model.safetensors"}


@pytest.fixture(scope="module")
def table(trained, dataset):
    return predict_dataset(Surrogate.load(trained, "cpu"), dataset)


@pytest.fixture(scope="module")
def published(tmp_path_factory, trained, table):
    folder = tmp_path_factory.mktemp("published") / "model"
    publish(trained, folder, table, source="table.csv", licence="CC0-1.0")
    return folder


def test_a_published_network_predicts_what_the_trained_one_does(published, trained, positions):
    assert {path.name for path in published.iterdir()} == FILES
    one, other = (
        Surrogate.load(folder, "cpu").predict(positions, BOX, DIAMETER)
        for folder in (trained, published)
    )
    np.testing.assert_array_equal(one, other)


def test_only_a_published_network_is_replaced_by_one(published, trained, table, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for _ in range(2):
        publish(trained, folder, table, source="table.csv")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("Dear")
    before = {path.name for path in trained.iterdir()}
    for other, held in ((tmp_path / "letters", r"a\.txt"), (trained, r"events")):
        message = rf"{other.name}: holds '{held}' and is not a published network"
        with pytest.raises(MorphionError, match=message):
            publish(trained, other, table, source="table.csv")
    assert (tmp_path / "letters" / "a.txt").read_text() == "Dear"
    assert {path.name for path in trained.iterdir()} == before


def test_nothing_of_the_machine_is_published(published, dataset):
    text = (published / "model.json").read_text() + (published / "README.md").read_text()
    assert platform.node() not in text
    assert str(dataset.parent) not in text
    content = json.loads((published / "model.json").read_text())
    assert content["dataset"]["path"] == dataset.name
    assert not {"command", "hardware"} & content["provenance"].keys()


def test_others_may_read_what_is_published(published):
    umask = 0o777 & ~(published / "README.md").stat().st_mode
    assert 0o777 & ~(published / "model.safetensors").stat().st_mode == umask


def test_the_card_has_the_errors_and_the_domain(published, table):
    card = (published / "README.md").read_text()
    test = table[table.split == "test"]
    found = score(test.label.to_numpy(), test.prediction.to_numpy(), test.group.to_numpy())
    cell = f"{found['mape']:#.3g} [{found['mape_low']:#.3g}, {found['mape_high']:#.3g}]"
    assert f"| test | {len(test)} | {cell} |" in card
    assert "license: cc0-1.0" in card
    assert "| volume fraction |  | 0.05027 | training structures |" in card
    assert "affinity | 8.0" in card
    assert max(map(len, card.splitlines())) < 130


@pytest.mark.parametrize("name", ["trees", "periodic"])
def test_every_kind_of_network_is_published(tmp_path, dataset, trained, table, name):
    train(make_config(tmp_path, max_epochs=2), dataset, name, "random", 0, tmp_path / "model")
    own = predict_dataset(Surrogate.load(tmp_path / "model", "cpu"), dataset)
    publish(tmp_path / "model", tmp_path / "published", own, source="t.csv")
    message = rf"t\.csv: the mean squared error .*, network '{name}' had .*: predictions of another"
    with pytest.raises(SurrogateError, match=message):
        publish(tmp_path / "model", tmp_path / "other", table, source="t.csv")


def test_predictions_of_another_network_are_refused_and_nothing_is_left(tmp_path, trained, table):
    others = table.assign(spread=1.01 * table.spread)
    with pytest.raises(SurrogateError, match=r"t\.csv: .*predictions of another network"):
        publish(trained, tmp_path / "model", others, source="t.csv")
    with pytest.raises(SurrogateError, match=r"t\.csv: 0 structures in the set 'test', .* had 12"):
        publish(trained, tmp_path / "model", table[table.split != "test"], source="t.csv")
    assert list(tmp_path.iterdir()) == []


def test_predictions_of_another_network_that_tells_what_is_new_are_refused(
    tmp_path, dataset, trained
):
    train(
        make_config(tmp_path, max_epochs=10), dataset, "resistor", "random", 0, tmp_path / "model"
    )
    surrogate = Surrogate.load(tmp_path / "model", "cpu")
    assert surrogate.description.spread.novelty > 0
    table = predict_dataset(surrogate, dataset)
    publish(tmp_path / "model", tmp_path / "published", table, source="table.csv")
    others = predict_dataset(Surrogate.load(trained, "cpu"), dataset)
    others["prediction"], others["spread"] = table.prediction, 1.02 * table.spread
    with pytest.raises(SurrogateError, match=r"t\.csv: .*here 0\.98.*predictions of another"):
        publish(tmp_path / "model", tmp_path / "others", others, source="t.csv")


def test_an_altered_published_network_is_refused(tmp_path, trained, table):
    publish(trained, tmp_path / "model", table, source="table.csv")
    path = tmp_path / "model" / "model.json"
    path.write_text(path.read_text().replace('"seed": ', '"seed": 1'))
    with pytest.raises(SurrogateError, match=r"model\.json: differs from SHA256SUMS"):
        Surrogate.load(tmp_path / "model", "cpu")


def test_the_command_publishes_from_a_table_on_disk(tmp_path, trained, table, monkeypatch):
    table.to_csv(tmp_path / "table.csv", index=False)
    arguments = [trained, tmp_path / "out", "--predictions", tmp_path / "table.csv"]
    monkeypatch.setattr(sys, "argv", ["morphion", "publish", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
