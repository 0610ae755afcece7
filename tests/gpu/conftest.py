"""Tests of this folder need a CUDA device; ``pytest -m gpu`` runs them."""

import pytest

from morphion.errors import DeviceError
from morphion.gpu import choose


@pytest.fixture(scope="session")
def device():
    try:
        return choose("gpu")
    except DeviceError as error:
        pytest.skip(str(error))
