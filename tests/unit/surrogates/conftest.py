"""Fixtures of the surrogates' tests."""

import pytest
from surrogate_cases import make_config, make_positions, write_dataset

from morphion.surrogates import train


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
