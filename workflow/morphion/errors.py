"""Exceptions a user can cause; the commands print them as one line and exit with status 2."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class MorphionError(Exception):
    """What was wrong, where (file, key, index, value) and what would be right."""


class ConfigError(MorphionError):
    """A configuration or transport file that is invalid."""


class StructureError(MorphionError):
    """A structure or structure file that is not a legal arrangement of hard spheres."""


class TransportError(MorphionError):
    """A transport model that cannot be evaluated or put on the requested lattice."""


class StoreError(MorphionError):
    """A Zarr store that is missing, of another kind, truncated or altered."""


class VerdictError(MorphionError):
    """Labels that do not agree with the exact solution of their lattice, or may not be judged."""


class SurrogateError(MorphionError):
    """A checkpoint or data set that a network cannot use, or a training that diverged."""


class SelectionError(MorphionError):
    """An annealing store from which the requested structures cannot be selected."""


class DeviceError(MorphionError):
    """A GPU that was asked for and is not there, or that failed."""


class DeviceMemoryError(DeviceError):
    """Something that does not fit in the memory of the GPU."""


class MorphionWarning(UserWarning):
    """Something legal whose result a user should not trust blindly."""


@contextmanager
def muted() -> Iterator[None]:
    """Within, no MorphionWarning is shown: it was said before, or does not matter there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MorphionWarning)
        yield
