import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphion.anneal.relax import relax_to_voxels
from morphion.config.geometry import Geometry, Structures
from morphion.errors import StructureError
from morphion.structures.families import FAMILIES, generate, rsa_on_voxels
from morphion.structures.geometry import closest_pair, separations

GEOMETRY = Geometry()


@settings(max_examples=25, deadline=None)
@given(family=st.sampled_from(FAMILIES), index=st.integers(0, 700))
def test_structures_of_all_families_go_onto_voxels_without_overlap(family, index):
    positions = generate(GEOMETRY, Structures(), 1, family, index)
    placed = relax_to_voxels(positions, GEOMETRY.voxels, GEOMETRY.diameter)
    assert placed.dtype == np.int16
    assert placed.min() >= 0
    assert placed.max() < GEOMETRY.voxels
    assert closest_pair(placed + 0.5, GEOMETRY.box_length)[0] >= GEOMETRY.diameter
    shifts = np.linalg.norm(separations(positions, placed + 0.5, GEOMETRY.box_length), axis=1)
    assert shifts.max() < 2.5
    assert shifts.mean() < 0.7


def test_rounding_alone_overlaps_in_most_structures():
    overlapping = 0
    for index in range(30):
        rounded = np.floor(generate(GEOMETRY, Structures(), 1, "chain", index)) + 0.5
        overlapping += closest_pair(rounded, GEOMETRY.box_length)[0] < GEOMETRY.diameter
    assert overlapping > 15


def test_a_structure_on_voxel_centres_stays_as_it_is():
    placed = rsa_on_voxels(75, 91, GEOMETRY.diameter, 4, "test")
    assert np.array_equal(relax_to_voxels(placed + 0.5, 75, GEOMETRY.diameter), placed)


def test_the_largest_displacement_is_logged(capsys):
    positions = generate(GEOMETRY, Structures(), 1, "rsa", 0)
    placed = relax_to_voxels(positions, 75, GEOMETRY.diameter, where="mine.xyz")
    shifts = np.linalg.norm(separations(positions, placed + 0.5, 75.0), axis=1)
    message = capsys.readouterr().err
    assert message.startswith("mine.xyz: relaxed onto voxel centres")
    assert f"largest displacement {shifts.max():.2f} voxels" in message


def test_a_structure_that_fits_only_off_the_voxel_centres_is_refused():
    # Three touching spheres along an edge of 16 need centres 5.33 apart: 5, 5 and 6 on voxels.
    axis = (np.arange(3) + 0.5) * 16 / 3
    touching = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    with pytest.raises(StructureError, match=r"mine\.xyz: cannot be put on the centres of 16\^3"):
        relax_to_voxels(touching, 16, 16 / 3 - 1e-3, where="mine.xyz")


def test_an_overlapping_structure_is_refused_before_it_is_moved():
    positions = generate(GEOMETRY, Structures(), 1, "rsa", 0)
    positions[5] = positions[9] + 1
    with pytest.raises(StructureError, match="particles 5 and 9"):
        relax_to_voxels(positions, 75, GEOMETRY.diameter)
