"""Tests of this folder need a CUDA device; ``pytest -m gpu`` runs them."""

import importlib.util
import os

import pytest

from morphion.errors import DeviceError
from morphion.gpu import choose


@pytest.fixture(scope="session")
def device():
    try:
        return choose("gpu")
    except DeviceError as error:
        if os.environ.get("CI") == "true" and importlib.util.find_spec("cupy"):
            pytest.fail(str(error))
        pytest.skip(str(error))
