"""Kernel sources: CUDA C++ files without headers, joined in the order given.

A kernel file may use what a file before it defines. Nothing is included, so that the same text
compiles for every device and, through a small shim, for the host.
"""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Compute capabilities the kernels are written for: V100, A100, H100 and H200.
ARCHITECTURES = ("sm_70", "sm_80", "sm_90")
# No contraction into fused multiply-adds: engines must round alike.
OPTIONS = ("--std=c++17", "--fmad=false")
# CuPy adds these to them. The first cannot be taken back: float32 numbers below the smallest normal
# one become 0 on a device. Neither b nor pi of an open site is that small (transport/checks.py).
ADDED_BY_CUPY = ("-ftz=true", "--device-as-default-execution-space")


def join(files: tuple[str, ...]) -> str:
    """Text of kernel files, named relative to the package, e.g. ``kmc/kernels/walk.cu``."""
    parts = []
    for name in files:
        text = (PACKAGE / name).read_text(encoding="utf-8")
        parts.append(f'#line 1 "{name}"\n{text}')
    return "\n".join(parts)
