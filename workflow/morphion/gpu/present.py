"""Whether this machine has a CUDA device, found out without loading CuPy or torch."""

import functools
import os
import subprocess

_PATIENCE = 30  # seconds; a driver that is loading answers late


@functools.cache
def gpu_is_present() -> bool:
    """Whether NVIDIA's driver lists a device that this process may see."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return "GPU 0" in listed.stdout
