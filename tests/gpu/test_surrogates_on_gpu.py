"""Networks on a real GPU: predictions of CPU cores, trainings that repeat, several devices."""

import numpy as np
import pytest
import torch
from surrogate_cases import (
    assert_same_network,
    losses,
    make_config,
    make_positions,
    networks,
    train_killed_at,
    write_dataset,
)

from morphion.surrogates import Surrogate, predict_dataset, train
from morphion.surrogates.model import read_description
from morphion.surrogates.precision import half_precision

pytestmark = pytest.mark.gpu

NAMES = sorted(set(networks()) - {"trees"})  # scikit-learn grows those on CPU cores


@pytest.fixture(autouse=True)
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "round0.zarr", make_positions())


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_those_of_cpu_cores(tmp_path, dataset, name):
    config = make_config(tmp_path, max_epochs=2, precision="float32")
    train(config, dataset, name, "random", 0, tmp_path / "model")
    assert read_description(tmp_path / "model").training["device"].startswith("cuda")
    surrogates = {device: Surrogate.load(tmp_path / "model", device) for device in ("cuda", "cpu")}
    if name.startswith("resistor"):
        pytest.importorskip("cupy")
        assert surrogates["cuda"]._model.takes_structures(torch.device("cuda"))
    there, here = (predict_dataset(one, dataset) for one in surrogates.values())
    np.testing.assert_allclose(there.prediction, here.prediction, rtol=1e-4)
    np.testing.assert_allclose(there.spread, here.spread, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_repeat_bit_for_bit(tmp_path, dataset, name):
    train(make_config(tmp_path, max_epochs=2), dataset, name, "random", 0, tmp_path / "model")
    tables = [predict_dataset(Surrogate.load(tmp_path / "model"), dataset) for _ in range(3)]
    for table in tables[1:]:
        np.testing.assert_array_equal(table.prediction, tables[0].prediction)


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_training_equals_an_uninterrupted_one(tmp_path, dataset, monkeypatch, name):
    config = make_config(tmp_path, max_epochs=3)
    train(config, dataset, name, "random", 0, tmp_path / "whole")
    train_killed_at(7, monkeypatch, config, dataset, name, tmp_path / "resumed")
    assert_same_network(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.parametrize("name", ["untiled", "tiled", "periodic", "rdf"])
@pytest.mark.parametrize("change", [{"precision": "auto"}, {"precision": "auto", "compile": True}])
def test_mixed_precision_and_compilation_train_alike(tmp_path, dataset, name, change):
    for folder, changes in (("plain", {"precision": "float32"}), ("changed", change)):
        config = make_config(tmp_path, max_epochs=8, **changes)
        train(config, dataset, name, "random", 0, tmp_path / folder)
    plain, changed = losses(tmp_path / "plain"), losses(tmp_path / "changed")
    assert plain != changed
    if name == "periodic" and half_precision(torch.device("cuda")) == torch.float16:
        assert changed[-1] < 0.95 * changed[0]  # the first steps are left out: gradients overflow
    else:
        assert changed == pytest.approx(plain, rel=0.1)


@pytest.mark.parametrize("name", ["periodic", "resistor"])
def test_a_rank_to_each_device_loses_what_one_loses(tmp_path, dataset, name):
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device: NCCL needs one to each rank")
    for ranks in (1, 2):
        config = make_config(tmp_path, max_epochs=3, ranks=ranks, precision="float32")
        train(config, dataset, name, "random", 0, tmp_path / str(ranks))
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), rel=1e-3)
