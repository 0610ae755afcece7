"""Ensembles: members differ, their mean predicts, and the spread is calibrated."""

import numpy as np
import pytest
import torch
from surrogate_cases import BOX, DIAMETER, make_config, networks

from morphion.surrogates import Surrogate, train
from morphion.surrogates.build import build, representation
from morphion.surrogates.ensemble import Ensemble
from morphion.surrogates.model import read_description


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory, dataset):
    """Folder of three resistor networks after some epochs."""
    output = tmp_path_factory.mktemp("model") / "resistor-random"
    config = make_config(output.parent, max_epochs=4)
    block = config.surrogates.networks["resistor"].model_copy(update={"members": 3})
    config.surrogates.networks["resistor"] = block
    train(config, dataset, "resistor", "random", 0, output)
    return output


def test_members_start_from_different_weights():
    model = build(networks()["resistor"].model_copy(update={"members": 2}), 25)
    assert isinstance(model, Ensemble)
    model.initialise(torch.Generator().manual_seed(0))
    one, other = model.members
    assert not torch.equal(one.to_particle.weight, other.to_particle.weight)


@pytest.mark.parametrize("name", ["periodic", "rdf", "untiled"])
def test_every_kind_trains_as_an_ensemble_of_different_members(tmp_path, dataset, positions, name):
    config = make_config(tmp_path, max_epochs=2)
    block = config.surrogates.networks[name].model_copy(update={"members": 2})
    config.surrogates.networks[name] = block
    train(config, dataset, name, "random", 0, tmp_path / "model")
    surrogate = Surrogate.load(tmp_path / "model", "cpu")
    members = surrogate._model.members
    inputs = surrogate._sees.of(positions, BOX, DIAMETER, torch.device("cpu"))
    with torch.inference_mode():
        each = torch.stack([member.diffusivity(member(inputs)) for member in members]).numpy()
    assert (each[0] != each[1]).all()
    prediction, spread = surrogate.predict(positions, BOX, DIAMETER)
    np.testing.assert_allclose(prediction, each.mean(axis=0), rtol=1e-5)
    assert (spread > 0).all()
    # Both took the constants of the training set.
    for member in members:
        assert member.log_mean == surrogate._model.log_mean != 0


def test_the_mean_of_the_members_predicts_and_their_disagreement_is_in_the_spread(
    ensemble, positions
):
    surrogate = Surrogate.load(ensemble, "cpu")
    prediction, spread = surrogate.predict(positions, BOX, DIAMETER)
    block = networks()["resistor"]
    sees = representation(block, 25)
    graph = sees.of(positions, BOX, DIAMETER, torch.device("cpu"))
    with torch.inference_mode():
        each = torch.stack(
            [member.diffusivity(member(graph)) for member in surrogate._model.members]
        ).numpy()
    np.testing.assert_allclose(prediction, each.mean(axis=0), rtol=1e-5)
    described = read_description(ensemble)
    disagreement = each.std(axis=0, ddof=1) / each.mean(axis=0)
    assert disagreement.min() > 0
    np.testing.assert_allclose(spread, described.spread.of(prediction, disagreement), rtol=1e-3)
    *_, tensor = surrogate.predict_with_tensor(positions, BOX, DIAMETER)
    np.testing.assert_allclose(np.trace(tensor, axis1=1, axis2=2) / 3, prediction, rtol=1e-5)
