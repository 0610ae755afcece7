"""Structure-transport design of nanoparticle electrolytes."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("morphion")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.0.0+source"
