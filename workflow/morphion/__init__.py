"""Structure-transport design of nanoparticle electrolytes."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from morphion.loops import settle_cache

# OpenMP threads that spin at barriers cost several times the work itself as soon as a job shares
# its cores; set before Numba or torch load their runtime, and left alone where the user set it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
settle_cache(Path(__file__).parent)

try:
    __version__ = version("morphion")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.0.0+source"
