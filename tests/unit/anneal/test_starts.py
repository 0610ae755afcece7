"""Annealing starts come from structure files in any unit of length."""

import numpy as np
import pytest

from morphion.anneal.starts import read_starts
from morphion.config.geometry import Geometry
from morphion.errors import StructureError
from morphion.structures.files import write_structure

GEOMETRY = Geometry(voxels=30, particles=2, volume_fraction=0.05)
CENTRES = np.array([[1.0, 2.0, 3.0], [16.0, 17.0, 18.0]])


def write(path, scale=1.0, diameter=1.0, centres=CENTRES):
    write_structure(path, centres * scale, 30 * scale, GEOMETRY.diameter * scale * diameter)
    return path


def test_files_in_another_unit_give_the_same_start(tmp_path):
    paths = [write(tmp_path / "a.xyz"), write(tmp_path / "b.xyz", scale=0.5)]
    starts = read_starts(paths, GEOMETRY)
    np.testing.assert_allclose(starts, [CENTRES, CENTRES], atol=1e-5)


def test_another_diameter_or_number_is_refused_with_both_values(tmp_path):
    with pytest.raises(StructureError, match=r"a\.xyz: sphere diameter .* the run has"):
        read_starts([write(tmp_path / "a.xyz", diameter=0.9)], GEOMETRY)
    with pytest.raises(StructureError, match=r"b\.xyz: 1 particles; the run has 2"):
        read_starts([write(tmp_path / "b.xyz", centres=CENTRES[:1])], GEOMETRY)
