"""Compile CUDA C++ for a compute capability with NVRTC, which needs neither device nor driver."""

import ctypes
import importlib.util
import os
from functools import cache
from pathlib import Path

import pytest


@cache
def library() -> ctypes.CDLL:
    """NVRTC of the CUDA 12 wheel; CUDA 13's has no V100."""
    spec = importlib.util.find_spec("nvidia.cuda_nvrtc") if _has_nvidia() else None
    for folder in spec.submodule_search_locations if spec else ():
        for path in sorted(Path(folder).glob("lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    if os.environ.get("CI") == "true":
        pytest.fail("NVRTC for CUDA 12 is not installed: kernels cannot be compiled")
    pytest.skip("NVRTC for CUDA 12 is not installed: kernels cannot be compiled")


def _has_nvidia() -> bool:
    return importlib.util.find_spec("nvidia") is not None


def compile_cubin(source: str, architecture: str, options: tuple[str, ...]) -> bytes:
    """Machine code of a source for an architecture such as sm_70; fails with the compiler's log."""
    nvrtc = library()
    program = ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"k.cu", 0, None, None))
    flags = [option.encode() for option in (f"-arch={architecture}", *options)]
    result = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
    size = ctypes.c_size_t()
    if result != 0:
        _check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetProgramLog(program, text))
        raise AssertionError(text.value.decode())
    _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)))
    code = ctypes.create_string_buffer(size.value)
    _check(nvrtc.nvrtcGetCUBIN(program, code))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw


def _check(result: int) -> None:
    assert result == 0, f"NVRTC error {result}"
