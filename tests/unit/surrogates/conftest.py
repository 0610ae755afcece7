"""Fixtures of the surrogates' tests."""

import pytest
import torch
from surrogate_cases import make_config, make_positions, write_dataset
from torch_device import SimulatedDevice, simulated_device

from morphion.surrogates import train

try:
    # Before any gradient: the first starts a thread for each device that torch knows then.
    SIMULATED = simulated_device()
except NotImplementedError as error:
    SIMULATED, MISSING = None, str(error)


@pytest.fixture
def simulated(monkeypatch):
    """A device of torch's that is not the CPU, simulated on it while a test runs."""
    if SIMULATED is None:
        pytest.skip(MISSING)
    # Views of its tensors have no version to count in inference mode.
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    with SimulatedDevice():
        yield SIMULATED


@pytest.fixture(scope="session")
def positions():
    """Centres of the structures in ``dataset``."""
    return make_positions()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, positions):
    """Path of the data set."""
    return write_dataset(tmp_path_factory.mktemp("data") / "round0.zarr", positions)


@pytest.fixture
def config(tmp_path):
    """Configuration of quick trainings."""
    return make_config(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, dataset):
    """Folder of a network on the mean nearest distance, trained for some seconds."""
    output = tmp_path_factory.mktemp("model") / "nearest_distance-random"
    config = make_config(output.parent, max_epochs=200, patience=200, learning_rate=1e-2)
    train(config, dataset, "nearest_distance", "random", 0, output)
    return output
