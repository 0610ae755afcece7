"""Memory of trainings: kept where it is freed thousands of times a second, and its peak."""

import ctypes
import functools
import resource
import sys

import torch

from morphion.progress import log

# Options of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_ROOM = 64 * 2**20


@functools.cache
def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, for the rest of the process; False where there is no glibc.

    By default every array of some megabytes is mapped afresh and returned to the kernel, and each
    of its pages costs a fault when first written: a training step then spends several times as
    long in the kernel as in arithmetic, most of all on virtual machines.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    done = [mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _NEVER), mallopt(_TOP_PAD, _ROOM)]
    if not all(done):
        log("malloc cannot be told to keep freed memory; training is slower")
    return all(done)


def peak_memory(device: torch.device) -> int:
    """Most bytes held at once so far: by torch on a GPU, by the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
