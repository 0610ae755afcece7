"""Networks on a device that is not the CPU, simulated: nothing is left on the wrong side."""

import numpy as np
import pytest
import torch
from surrogate_cases import (
    assert_same_network,
    losses,
    make_config,
    networks,
    train_killed_at,
)

from morphion.surrogates import Surrogate, parallel, precision, predict_dataset, train

NAMES = sorted(set(networks()) - {"trees"})  # scikit-learn grows those on CPU cores


@pytest.fixture
def elsewhere(simulated, monkeypatch):
    """The simulated device, which trainings of a test choose."""
    monkeypatch.setattr(parallel, "choose_device", lambda *_: simulated)
    return simulated


def test_what_is_left_on_the_host_is_an_error(elsewhere):
    there, here = torch.ones(3, device=elsewhere), torch.ones(3)
    assert (there + here.to(elsewhere)).cpu().tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="simulated and on the CPU"):
        there + here
    with pytest.raises(RuntimeError, match="not supported"):
        np.asarray(there)


@pytest.mark.parametrize("name", NAMES)
def test_trainings_and_predictions_are_those_of_the_cpu(tmp_path, dataset, elsewhere, name):
    config = make_config(tmp_path, max_epochs=3, precision="float32")
    train(config, dataset, name, "random", 0, tmp_path / "there")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "choose_device", lambda *_: torch.device("cpu"))
        train(config, dataset, name, "random", 0, tmp_path / "here")
    assert losses(tmp_path / "there") == pytest.approx(losses(tmp_path / "here"), rel=1e-4)
    there, here = (
        predict_dataset(Surrogate.load(tmp_path / "here", device), dataset)
        for device in (str(elsewhere), "cpu")
    )
    np.testing.assert_allclose(there.prediction, here.prediction, rtol=1e-4)
    np.testing.assert_allclose(there.spread, here.spread, rtol=1e-3)


@pytest.mark.parametrize("name", ["untiled", "periodic", "rdf"])
def test_float16_with_scaled_gradients_learns_and_resumes(
    tmp_path, dataset, elsewhere, monkeypatch, name
):
    """What a V100 does, which would emulate bfloat16."""
    monkeypatch.setattr(precision, "half_precision", lambda device: torch.float16)
    for folder, choice in (("plain", "float32"), ("mixed", "mixed")):
        config = make_config(tmp_path, max_epochs=8, precision=choice)
        train(config, dataset, name, "random", 0, tmp_path / folder)
    plain, mixed = losses(tmp_path / "plain"), losses(tmp_path / "mixed")
    assert plain != mixed
    if name == "periodic":  # its first gradients overflow, so that steps are left out
        assert mixed[-1] < 0.95 * mixed[0]
    else:
        assert mixed == pytest.approx(plain, rel=0.02)
    train_killed_at(9, monkeypatch, config, dataset, name, tmp_path / "resumed")
    assert_same_network(tmp_path / "mixed", tmp_path / "resumed")
