"""Memory that networks on a CPU free and take again thousands of times a second."""

import ctypes
import functools
import sys

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
