"""The in-memory form of many structures, shared by every stage that makes some."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

KIND = "structures"


def structure_dataset(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    family: Sequence[str] | str,
    variant: Sequence[int] | int,
    index: Sequence[int],
    seed: Sequence[int] | int,
    group: Sequence[str],
    **extra: np.ndarray | xr.Variable,
) -> xr.Dataset:
    """Data set of structures, as the store writes it.

    Parameters
    ----------
    positions : float array [structures, N, 3]
        Centres in [0, L) in voxels; held as float32.
    box_length, diameter : float
        Box edge L and sphere diameter in voxels.
    family, variant, index, seed, group : [structures], or one value for all where one makes sense
        Origin of each structure. (seed, family, index) rebuild it; structures that are not
        independent of each other share a ``group``, which no leak-free split divides.
    extra : [structures] arrays, or xarray Variables whose first dimension is ``structure``
        Further quantities, such as a prediction.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float32)
    count, particles, _ = positions.shape

    def per_structure(values, dtype):
        return "structure", np.broadcast_to(np.asarray(values, dtype=dtype), (count,)).copy()

    variables = {
        "positions": (("structure", "particle", "xyz"), positions, {"units": "voxel"}),
        "family": per_structure(family, str),
        "variant": per_structure(variant, np.int32),
        "index": per_structure(index, np.int64),
        "seed": per_structure(seed, np.int64),
        "group": per_structure(group, str),
    }
    for name, values in extra.items():
        variables[name] = values if isinstance(values, xr.Variable) else per_structure(values, None)
    volume_fraction = particles * math.pi * diameter**3 / (6 * box_length**3)
    return xr.Dataset(
        variables,
        coords={"xyz": ["x", "y", "z"]},
        attrs={
            "kind": KIND,
            "box_length": float(box_length),
            "diameter": float(diameter),
            "volume_fraction": volume_fraction,
        },
    )
