"""Which engine a run gets where a GPU cannot be used."""

import pytest

from morphion.errors import DeviceError
from morphion.gpu import choose, device


@pytest.mark.parametrize("compiling", [False, True])
def test_without_a_folder_for_kernels_labels_are_made_on_cpu_cores(monkeypatch, capsys, compiling):
    """CuPy needs one for its compiled kernels, when it is imported or when it compiles."""

    def no_folder():
        error = NotADirectoryError("/dev/null/.cupy")
        if compiling:
            raise DeviceError("the GPU failed") from error
        raise error

    monkeypatch.setattr(device, "CudaDevice", no_folder)
    assert choose("auto") is None
    message = r"CuPy cannot keep its kernels \(/dev/null/\.cupy\); set CUPY_CACHE_DIR"
    with pytest.raises(DeviceError, match=message):
        choose("gpu")
    assert "CPU cores (CuPy cannot keep its kernels" in capsys.readouterr().err


def test_an_unknown_engine_is_refused():
    with pytest.raises(DeviceError, match="engine = tpu: known are auto, cpu and gpu"):
        choose("tpu")
