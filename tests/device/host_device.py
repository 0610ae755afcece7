"""A host in the place of a GPU: the kernels' own sources, compiled by g++ through ``shim.h``."""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from morphion.errors import DeviceMemoryError
from morphion.gpu.device import CudaDevice
from morphion.gpu.source import join

SHIM = Path(__file__).with_name("shim.h")
KERNEL = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')
# Contraction into fused multiply-adds off, as on the device; the fibers' jumps between stacks are
# no faults, as a fortified longjmp believes.
FLAGS = ("-O2", "-std=c++17", "-ffp-contract=off", "-U_FORTIFY_SOURCE")
# A kernel is the one in its own library, whatever the process has of its name.
OUTPUT = ("-shared", "-fPIC", "-Wl,-Bsymbolic", "-w", "-x", "c++")


class HostDevice:
    """What :class:`morphion.gpu.CudaDevice` offers, on NumPy arrays.

    ``backwards`` runs the blocks of a launch, and their threads between barriers, from last to
    first: a kernel without races does not notice.
    """

    xp = np
    name = "host"
    multiprocessors = 1

    def __init__(self, memory: float = 1e9, backwards: bool = False):
        self.memory, self.backwards = memory, backwards
        self.launches: list[str] = []
        self._libraries: dict[tuple[str, ...], ctypes.CDLL] = {}

    def launch(self, files, kernel, blocks, threads, *arguments):
        assert blocks > 0, "to CUDA a grid without blocks is an invalid value"
        if files not in self._libraries:
            self._libraries[files] = ctypes.CDLL(str(compiled(join(files))))
        self.launches.append(kernel)
        values = [_address(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(address for _, address in values))
        library = self._libraries[files]
        ctypes.c_int.in_dll(library, "shim_backwards").value = self.backwards
        library[f"shim_{kernel}"](ctypes.c_uint(int(blocks)), ctypes.c_uint(threads), pointers)

    def array(self, values):
        self._allocate(values.nbytes)
        return np.array(values, order="C")

    def zeros(self, shape, dtype):
        self._allocate(np.prod(shape) * np.dtype(dtype).itemsize)
        return np.zeros(shape, dtype)

    def empty(self, shape, dtype):
        """Filled with ones in every bit, so that what was never written is seen."""
        array = self.zeros(shape, dtype)
        array.view(np.uint8).fill(255)
        return array

    def clear(self, array):
        array.fill(0)

    def host(self, array):
        return np.array(array)

    def address(self, array):
        return array.ctypes.data

    def release(self):
        pass

    def usable_memory(self):
        return int(self.memory)

    require_memory = CudaDevice.require_memory

    def _allocate(self, size):
        if size > self.memory:
            raise DeviceMemoryError(f"{size} bytes on a device of {self.memory}")


def _address(argument):
    """(what must stay alive, its address) of an argument as a kernel parameter."""
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        holder = np.array([argument.ctypes.data], np.uintp)
    else:
        assert isinstance(argument, np.generic), f"{argument!r}: a NumPy scalar is needed"
        holder = np.array([argument])
    return holder, holder.ctypes.data


def compiled(source: str) -> Path:
    """Shared library of kernel sources, cached by their text."""
    compiler = shutil.which("g++")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("g++ is not installed: kernels cannot be executed on the host")
        pytest.skip("g++ is not installed: kernels cannot be executed on the host")
    text = f'#include "{SHIM}"\n{source}\n{_entries(source)}'
    recipe = f"{FLAGS}{OUTPUT}{SHIM.read_text()}{text}"
    name = hashlib.blake2b(recipe.encode(), digest_size=12).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"morphion-kernels-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{name}.so"
    if not library.exists():
        unfinished = folder / f"{name}.{os.getpid()}"
        command = [compiler, *FLAGS, *OUTPUT, "-", "-o", str(unfinished)]
        subprocess.run(command, input=text, text=True, check=True)
        unfinished.replace(library)
    return library


def _entries(source: str) -> str:
    """For every kernel a function shim_<kernel>(blocks, threads, pointers to its arguments)."""
    parts = []
    for match in KERNEL.finditer(source):
        end = source.index(")", match.end())
        parameters = re.sub(r"//[^\n]*", "", source[match.end() : end]).split(",")
        types = [re.sub(r"\b\w+\s*$", "", p.strip()).strip() for p in parameters]
        passed = ", ".join(
            f"*({t.replace('__restrict__', '')}*)a[{i}]" for i, t in enumerate(types)
        )
        name = match.group(1)
        parts.append(
            f'extern "C" void shim_{name}(unsigned blocks, unsigned threads, void** a) {{\n'
            f"    shim::launch([](void** a) {{ {name}({passed}); }}, blocks, threads, a);\n}}"
        )
    return "\n".join(parts)
