"""A trained resistor network: predictions, what is new to it, files in other boxes."""

import json

import numpy as np
import pytest
import torch
from surrogate_cases import BOX, DIAMETER, make_config

from morphion.errors import SurrogateError
from morphion.structures.files import write_structure
from morphion.surrogates import Surrogate, train
from morphion.surrogates.files import predict_files

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained_resistor(tmp_path_factory, dataset):
    """Folder of a resistor network after some epochs."""
    output = tmp_path_factory.mktemp("model") / "resistor-random"
    train(make_config(output.parent, max_epochs=30), dataset, "resistor", "random", 0, output)
    return output


def test_training_lowers_the_error_and_predictions_have_tensors(trained_resistor, positions):
    history = (trained_resistor / "history.csv").read_text().splitlines()
    losses = [float(row.split(",")[1]) for row in history[1:]]
    assert losses[-1] < 0.7 * losses[0]
    surrogate = Surrogate.load(trained_resistor, "cpu")
    prediction, spread = surrogate.predict(positions, BOX, DIAMETER)
    *_, tensor = surrogate.predict_with_tensor(positions, BOX, DIAMETER)
    np.testing.assert_allclose(np.trace(tensor, axis1=1, axis2=2) / 3, prediction, rtol=1e-6)
    assert (spread > 0).all()


def test_structures_unlike_the_training_set_are_new_to_it_and_doubted(trained_resistor, positions):
    surrogate = Surrogate.load(trained_resistor, "cpu")
    model, crystal = surrogate._model, np.indices((2, 2, 3)).reshape(3, -1).T * BOX / [2, 2, 3]
    with torch.inference_mode():
        known, new = (
            model.novelty(model(surrogate._sees.of(those, BOX, DIAMETER, CPU))).numpy()
            for those in (positions, crystal[None])
        )
    trained = np.arange(len(positions)) % 5 < 3
    assert np.sqrt(np.mean(known[trained] ** 2)) == pytest.approx(1, rel=1e-3)
    assert new[0] > 3 * np.median(known)
    for those, novelty in ((positions, known), (crystal[None], new)):
        prediction, spread = surrogate.predict(those, BOX, DIAMETER)
        expected = surrogate.description.spread.of(prediction, novelty)
        np.testing.assert_allclose(spread, expected, rtol=1e-4)


def test_files_in_any_box_are_predicted_with_their_tensor(tmp_path, trained_resistor):
    rng = np.random.default_rng(0)
    lattice = np.indices((3, 3, 3)).reshape(3, -1).T * 10.0 + rng.uniform(0, 2, (27, 3))
    write_structure(tmp_path / "s.xyz", lattice, 30.0, DIAMETER)
    (row,) = predict_files([tmp_path / "s.xyz"], trained_resistor, "cpu")
    assert np.trace(row["tensor"]) / 3 == pytest.approx(row["diffusivity"], rel=1e-5)
    json.dumps(row)


def test_a_network_without_tensor_says_so(trained, positions):
    with pytest.raises(SurrogateError, match="'dense', which predicts no tensor"):
        Surrogate.load(trained, "cpu").predict_with_tensor(positions, BOX, DIAMETER)
