"""Which engine a run gets where a GPU cannot be used."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from morphion.errors import DeviceError
from morphion.gpu import choose, device


@pytest.mark.parametrize("compiling", [False, True])
def test_without_a_folder_for_kernels_labels_are_made_on_cpu_cores(monkeypatch, capsys, compiling):
    """CuPy needs one for its compiled kernels, when it is imported or when it compiles."""

    def no_folder(index):
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


def test_work_is_done_on_the_device_that_was_chosen():
    """Whatever device is current for others in the process."""
    entered = []

    @contextmanager
    def current(index):
        entered.append(index)
        yield
        entered.append(None)

    second = device.CudaDevice.__new__(device.CudaDevice)
    second._index = 1
    second.xp = SimpleNamespace(
        cuda=SimpleNamespace(Device=current),
        zeros=lambda shape, dtype: entered.append("zeros"),
        get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
        get_default_pinned_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
    )
    second.zeros(3, float)
    second.release()
    assert entered == [1, "zeros", None, 1, None]
