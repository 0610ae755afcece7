"""Structure files that annealing runs start from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morphion.config.geometry import Geometry
from morphion.errors import StructureError
from morphion.structures.files import read_structure_files

_EQUAL = 1e-4  # relative; files may hold float32 or few digits


def read_starts(paths: Sequence[Path], geometry: Geometry) -> np.ndarray:
    """Centres of structure files in voxels, float64 [files, N, 3].

    Files may be in another unit of length. Raises StructureError if the number of particles or
    the diameter relative to the box differs from the run's.
    """
    starts = []
    for structure in read_structure_files(paths):
        path = structure.path
        scale = geometry.box_length / structure.box_length
        diameter, count = structure.diameter * scale, len(structure.positions)
        if count != geometry.particles:
            raise StructureError(f"{path}: {count} particles; the run has {geometry.particles}")
        if abs(diameter / geometry.diameter - 1) > _EQUAL:
            raise StructureError(
                f"{path}: sphere diameter {diameter:.5g} voxels in a box of {geometry.voxels}; "
                f"the run has {geometry.diameter:.5g}"
            )
        starts.append(structure.positions * scale)
    return np.stack(starts)
