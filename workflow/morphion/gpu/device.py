"""A CUDA device: arrays, kernels, and errors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from morphion.errors import DeviceError, DeviceMemoryError
from morphion.gpu.source import OPTIONS, join
from morphion.progress import log

_NOTHING = 'extern "C" __global__ void nothing() {}'
_USABLE = 0.9  # share of the free memory; the allocator rounds and keeps blocks


class CudaDevice:
    """A CUDA device, through CuPy: of an ``index``, or the one that is current now.

    Everything that runs on a device goes through these few methods, so that tests can put a host
    in its place. ``xp`` is the array module (CuPy).
    """

    def __init__(self, index: int | None = None) -> None:
        import cupy

        self.xp = cupy
        self._index = index
        self._modules: dict[tuple[str, ...], Any] = {}
        self._kernels: dict[tuple[tuple[str, ...], str], Any] = {}
        with self.guard():
            self._index = cupy.cuda.Device(index).id
            properties = cupy.cuda.runtime.getDeviceProperties(self._index)
            # A GPU whose compiler is missing is found out here, not in the middle of a label.
            cupy.RawModule(code=_NOTHING, options=OPTIONS).get_function("nothing")
        self.name = properties["name"].decode()
        self.compute_capability = f"{properties['major']}.{properties['minor']}"
        self.multiprocessors = int(properties["multiProcessorCount"])

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Work on this device; turn CuPy's errors into DeviceMemoryError and DeviceError."""
        try:
            with self.xp.cuda.Device(self._index):
                yield
        except self.xp.cuda.memory.OutOfMemoryError as error:
            self.release()
            raise DeviceMemoryError(
                f"the GPU is out of memory: {error}; a coarser lattice takes less, and engine: cpu "
                "none of it"
            ) from error
        except self._errors as error:
            raise DeviceError(
                f"the GPU failed: {error}. Run the same command again (a shard keeps its finished "
                "structures), or on CPU cores with engine: cpu"
            ) from error

    @cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        # The errors of CUDA's runtime and driver are RuntimeErrors, and so is a missing NVRTC;
        # compiled kernels are kept in files.
        return (RuntimeError, OSError, self.xp.cuda.compiler.CompileException)

    def launch(
        self, files: tuple[str, ...], kernel: str, blocks: int, threads: int, *arguments: Any
    ) -> None:
        """Run a kernel of joined source files; arguments are device arrays and NumPy scalars."""
        with self.guard():
            function = self._kernels.get((files, kernel))
            if function is None:
                if files not in self._modules:
                    self._modules[files] = self.xp.RawModule(code=join(files), options=OPTIONS)
                function = self._modules[files].get_function(kernel)
                self._kernels[files, kernel] = function
            function((int(blocks),), (threads,), arguments)

    def array(self, values: np.ndarray) -> Any:
        """Copy of a host array on the device, in C order; what lies there is not copied."""
        with self.guard():
            return self.xp.ascontiguousarray(self.xp.asarray(values))

    def zeros(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """Array of zeros on the device."""
        with self.guard():
            return self.xp.zeros(shape, dtype)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """Array on the device whose values are not defined."""
        with self.guard():
            return self.xp.empty(shape, dtype)

    def clear(self, array: Any) -> None:
        """Fill an array on the device with zeros."""
        with self.guard():
            array.fill(0)

    def host(self, array: Any) -> np.ndarray:
        """Copy of a device array on the host; waits for the kernels that fill it."""
        with self.guard():
            return self.xp.asnumpy(array)

    def address(self, array: Any) -> int:
        """Address of a device array, for kernels that follow pointers."""
        return int(array.data.ptr)

    def release(self) -> None:
        """Give cached memory back to the device, and to the host what copies went through."""
        with self.xp.cuda.Device(self._index):
            self.xp.get_default_memory_pool().free_all_blocks()
            self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def usable_memory(self) -> int:
        """Bytes that new arrays can take."""
        with self.guard():
            free, _ = self.xp.cuda.runtime.memGetInfo()
            pool = self.xp.get_default_memory_pool()
            return int(_USABLE * (free + pool.free_bytes()))

    def require_memory(self, n: int, bytes_per_site: float, what: str) -> None:
        """Raise DeviceMemoryError if n^3 sites of ``what`` do not fit on the device."""
        usable, needed = self.usable_memory(), bytes_per_site * n**3
        if needed > usable:
            fits = int((usable / bytes_per_site) ** (1 / 3))
            raise DeviceMemoryError(
                f"lattice = {n}: {what} needs {needed / 2**30:.1f} GiB on the GPU, "
                f"{usable / 2**30:.1f} GiB are free; the largest lattice that fits has {fits} "
                "sites an edge"
            )


def choose(engine: str, index: int | None = None) -> CudaDevice | None:
    """The device of engine ``auto``, ``cpu`` or ``gpu``; None stands for CPU cores. Of several
    GPUs the one of an ``index`` is meant, or the current one.

    ``auto`` takes a GPU that works and says why if there is none. Raises DeviceError if ``gpu``
    finds none.
    """
    if engine == "cpu":
        return None
    if engine not in ("auto", "gpu"):
        raise DeviceError(f"engine = {engine}: known are auto, cpu and gpu")
    try:
        device = CudaDevice(index)
    except (ImportError, AttributeError) as error:  # the latter from a CuPy older than its NumPy
        reason = f"CuPy cannot be imported ({error})"
    except (OSError, DeviceError) as error:
        cause = error.__cause__ or error
        reason = str(cause)
        if isinstance(cause, OSError):
            reason = (
                f"CuPy cannot keep its kernels ({cause}); set CUPY_CACHE_DIR to a folder of yours"
            )
    else:
        log(f"engine: GPU {device.name}, compute capability {device.compute_capability}")
        return device
    if engine == "gpu":
        raise DeviceError(
            f"engine = gpu, but no GPU can be used: {reason}. Ask for a node with a GPU and use "
            "the environment cuda12 or cuda13, or set engine to cpu or auto"
        )
    log(f"engine: CPU cores ({reason})")
    return None
