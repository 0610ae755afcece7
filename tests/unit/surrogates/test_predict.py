"""Prediction: from a model folder, in any batch, only where the network is defined."""

import json
import shutil
import weakref

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from surrogate_cases import BOX, DIAMETER, make_config, networks, write_dataset

from morphion.analysis.predictions import COLUMNS
from morphion.errors import SurrogateError
from morphion.structures.files import write_structure
from morphion.surrogates import Surrogate, predict_dataset, train
from morphion.surrogates.build import build
from morphion.surrogates.files import predict_files
from morphion.surrogates.model import read_tensors
from morphion.surrogates.parallel import choose_device


@pytest.fixture(scope="module")
def periodic(tmp_path_factory, dataset):
    """Folder of a periodic network after one epoch."""
    output = tmp_path_factory.mktemp("model") / "periodic-random"
    train(make_config(output.parent, max_epochs=1), dataset, "periodic", "random", 0, output)
    return output


@pytest.fixture
def copy(tmp_path, periodic):
    """A copy of that folder to damage."""
    return shutil.copytree(periodic, tmp_path / "copy")


def test_a_prediction_does_not_depend_on_its_batch(periodic, positions):
    surrogate = Surrogate.load(periodic, "cpu")
    together, spread = surrogate.predict(positions[:9], BOX, DIAMETER)
    alone = [surrogate.predict(positions[i : i + 1], BOX, DIAMETER)[0][0] for i in range(9)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    np.testing.assert_allclose(spread, surrogate.description.spread.of(together, 0.0))
    assert together.dtype == np.float64


def test_periodic_network_does_not_see_shifts_by_voxels_or_symmetries(periodic, positions):
    surrogate = Surrogate.load(periodic, "cpu")
    before, _ = surrogate.predict(positions[:4], BOX, DIAMETER)
    moved = np.mod(positions[:4].astype(float) + np.array([3, 11, 20]), BOX)
    turned = (BOX - moved)[..., [2, 0, 1]]
    for structures in (moved, turned):
        after, _ = surrogate.predict(structures, BOX, DIAMETER)
        np.testing.assert_allclose(after, before, rtol=1e-4)


def test_any_number_of_particles_is_accepted(periodic, positions):
    prediction, _ = Surrogate.load(periodic, "cpu").predict(positions[:2, :7], BOX, DIAMETER)
    assert (prediction > 0).all()


def test_the_table_lists_every_structure_beside_its_label(trained, dataset):
    table = predict_dataset(Surrogate.load(trained, "cpu"), dataset)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 64
    assert table.label.max() == 1
    np.testing.assert_allclose(table.label_stderr, 0.02 * table.label)
    assert set(table.split) == {"train", "validation", "test"}


def test_spread_covers_the_residuals_of_the_validation_set(trained, dataset):
    surrogate = Surrogate.load(trained, "cpu")
    table = predict_dataset(surrogate, dataset)
    rows = table[table.split == "validation"]
    # Of the largest likelihood, whatever the exponent.
    assert (((rows.prediction - rows.label) / rows.spread) ** 2).mean() == pytest.approx(
        1, abs=1e-3
    )


def test_the_spread_is_of_predictions_as_they_are_made_whatever_the_training_rounded(
    tmp_path, dataset
):
    config = make_config(tmp_path, max_epochs=3, precision="mixed")
    train(config, dataset, "untiled", "random", 0, tmp_path / "model")
    surrogate = Surrogate.load(tmp_path / "model", "cpu")
    table = predict_dataset(surrogate, dataset)
    rows = table[table.split == "validation"]
    # Of the largest likelihood, whatever the exponent.
    assert (((rows.prediction - rows.label) / rows.spread) ** 2).mean() == pytest.approx(
        1, abs=1e-3
    )


def test_a_prediction_that_is_not_finite_is_an_error(tmp_path, trained, positions):
    folder = shutil.copytree(trained, tmp_path / "copy")
    tensors = read_tensors(folder)
    tensors["log_mean"][...] = 1e4
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(SurrogateError, match="structure 0: network 'nearest_distance' predicts D"):
        Surrogate.load(folder, "cpu").predict(positions[:2], BOX, DIAMETER)


def test_predictions_for_a_data_set_are_in_its_unit_of_d(tmp_path, trained, positions):
    surrogate = Surrogate.load(trained, "cpu")
    path = write_dataset(tmp_path / "d.zarr", positions, np.linspace(0.1, 0.9, 64))
    assert surrogate.reference_diffusivity != 0.9
    table = predict_dataset(surrogate, path)
    np.testing.assert_allclose(table.label, np.linspace(0.1, 0.9, 64) / 0.9)
    for found, values in zip(
        surrogate.predict(positions, BOX, DIAMETER), (table.prediction, table.spread), strict=True
    ):
        np.testing.assert_allclose(values * 0.9, found * surrogate.reference_diffusivity)


@pytest.mark.parametrize(
    ("box", "diameter", "message"),
    [(30.0, DIAMETER, "box edge 30 "), (BOX, 6.0, "sphere diameter 6 ")],
)
def test_another_geometry_is_refused(periodic, positions, box, diameter, message):
    with pytest.raises(SurrogateError, match=message):
        Surrogate.load(periodic, "cpu").predict(positions[:1], box, diameter)


def test_a_position_that_is_not_finite_is_refused(periodic, positions):
    broken = positions[:2].copy()
    broken[1, 3, 0] = np.nan
    with pytest.raises(SurrogateError, match="structure 1: position of particle 3"):
        Surrogate.load(periodic, "cpu").predict(broken, BOX, DIAMETER)


def test_nothing_of_a_batch_outlives_the_next(periodic, positions, monkeypatch):
    # What is kept tears the freed memory to pieces, and the next batch takes more of it.
    surrogate = Surrogate.load(periodic, "cpu")
    surrogate._batch, outputs, forward = 4, [], surrogate._model.forward

    def watched(inputs):
        assert sum(kept() is not None for kept in outputs) <= 1
        output = forward(inputs)
        outputs.append(weakref.ref(output))
        return output

    monkeypatch.setattr(surrogate._model, "forward", watched)
    found = surrogate.predict(positions[:10], BOX, DIAMETER)
    assert len(outputs) == 3
    expected = Surrogate.load(periodic, "cpu").predict(positions[:10], BOX, DIAMETER)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert surrogate.predict(positions[:0], BOX, DIAMETER)[0].shape == (0,)


def test_weights_of_another_network_are_refused(copy, trained):
    shutil.copy(trained / "model.safetensors", copy / "model.safetensors")
    with pytest.raises(SurrogateError, match=r"model\.safetensors: .*another network"):
        Surrogate.load(copy, "cpu")


def test_a_tensor_of_another_shape_is_named(copy):
    tensors = read_tensors(copy)
    name = "convolutions.0.weight"
    tensors[name] = tensors[name][:2].copy()
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(SurrogateError, match=rf"'{name}' is float32 \[2, 8, 4\]"):
        Surrogate.load(copy, "cpu")


def test_a_truncated_file_of_weights_is_refused(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SurrogateError, match=r"model\.safetensors: cannot be read"):
        Surrogate.load(copy, "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "store"}, "kind must be 'surrogate'"),
        ({"format": 99}, "format 99"),
        ({"diameter": None}, "no key 'diameter'"),
        ({"network": {"kind": "periodic", "width": 3}}, "network.periodic.width"),
        ({"network": "dense"}, r"network = 'dense': "),
        ({"reference_diffusivity": -1}, r"reference_diffusivity = -1: .*greater than 0"),
        ({"spread": {"relative": float("nan")}}, r"spread\.relative = nan: "),
        ({"spread": 0.01}, r"spread = 0\.01: "),
        ({"voxels": "many"}, r"voxels = 'many': "),
        ({"split": "foo"}, r"split = 'foo': .*'by_run'"),
        ({"labels": {"lattice": "q"}}, r"labels: lattice = 'q'"),
        ({"transport": {"model": "x"}}, r"model\.json: transport: model: .*'x'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(copy, change, message):
    path = copy / "model.json"
    content = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(SurrogateError, match=message):
        Surrogate.load(copy, "cpu")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(SurrogateError, match=r"model\.json: cannot be read"):
        Surrogate.load(tmp_path)


def test_an_unknown_device_is_refused(periodic):
    with pytest.raises(SurrogateError, match="'tpu2' is unknown"):
        Surrogate.load(periodic, "tpu2")


def test_files_in_another_unit_of_length_are_scaled(tmp_path, trained, dataset):
    # Spheres far enough apart to be a legal structure.
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)[:12]
    positions = (grid * 8.0 + 1.0).astype(float)
    surrogate = Surrogate.load(trained, "cpu")
    expected, spread = surrogate.predict(positions[None], BOX, DIAMETER)
    write_structure(tmp_path / "s.xyz", positions * 0.4, BOX * 0.4, DIAMETER * 0.4)
    (found,) = predict_files([tmp_path / "s.xyz"], trained, "cpu")
    unit = surrogate.reference_diffusivity
    assert found["diffusivity"] == pytest.approx(expected[0] * unit, rel=1e-4)
    assert found["spread"] == pytest.approx(spread[0] * unit, rel=1e-4)


def test_files_of_another_shape_are_refused(tmp_path, trained):
    write_structure(tmp_path / "s.xyz", np.array([[1.0, 1.0, 1.0]]), 25.0, 7.0)
    with pytest.raises(SurrogateError, match="was trained with"):
        predict_files([tmp_path / "s.xyz"], trained, "cpu")


@pytest.mark.parametrize("name", sorted(networks().keys() - {"resistor", "graph", "trees"}))
def test_an_untrained_network_is_positive_and_of_the_right_shape(name):
    block = networks()[name]
    size = {"nearest_distance": 1, "rdf": 19}.get(name, 25)
    shape = (3, size) if block.kind == "dense" else (3, 1, size, size, size)
    shape = (3, 8, 5, 5, 5) if block.kind == "periodic" else shape
    model = build(block, size)
    model.initialise(torch.Generator().manual_seed(1))
    with torch.inference_mode():
        predicted = model.diffusivity(model(torch.rand(shape)))
    assert predicted.shape == (3,)
    assert (predicted > 0).all()


def test_a_network_of_small_operators_takes_one_thread_and_gives_the_others_back(
    trained, positions, monkeypatch
):
    surrogate = Surrogate.load(trained, "cpu")
    before, seen = torch.get_num_threads(), []
    forward = surrogate._model.forward
    monkeypatch.setattr(
        surrogate._model, "forward", lambda x: seen.append(torch.get_num_threads()) or forward(x)
    )
    monkeypatch.setattr(surrogate._sees, "one_thread", True)
    try:
        torch.set_num_threads(2)
        surrogate.predict(positions, BOX, DIAMETER)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_memory_that_does_not_suffice_is_said(periodic, positions, monkeypatch):
    surrogate = Surrogate.load(periodic, "cpu")

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(surrogate._model, "forward", full)
    with pytest.raises(SurrogateError, match=r"cpu has too little memory left .*'periodic' and 2 "):
        surrogate.predict(positions[:2], BOX, DIAMETER)


def test_a_gpu_that_pytorch_has_no_code_for_is_not_used(monkeypatch, capsys):
    def missing(*_, device):
        if device.type == "cuda":
            raise RuntimeError("no kernel image is available for execution on the device\nhints")
        return ones(1)

    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", missing)
    assert choose_device().type == "cpu"
    assert "cannot use cuda (no kernel image is available" in capsys.readouterr().err
    with pytest.raises(SurrogateError, match=r"'cuda:0': PyTorch .* cannot use cuda:0 \(no kernel"):
        choose_device("cuda:0")
