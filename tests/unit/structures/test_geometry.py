"""Periodic distances and the check of hard-sphere structures."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from morphion.errors import StructureError
from morphion.structures.geometry import (
    closest_pair,
    least_voxel_separation_squared,
    separations,
    validate_structure,
    wrap,
)

coordinates = st.floats(-200, 200, allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, (2, 3), elements=coordinates), st.floats(1, 100))
def test_minimum_image_is_the_nearest_of_all_images(pair, box_length):
    inside = wrap(pair, box_length)
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) * box_length
    nearest = np.linalg.norm(inside[1] - inside[0] + images, axis=1).min()
    assert closest_pair(pair, box_length)[0] == pytest.approx(nearest, abs=1e-9)
    assert np.linalg.norm(separations(pair[0], pair[1], box_length)) == pytest.approx(
        nearest, abs=1e-9
    )


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.float32, (4, 3), elements=st.floats(-200, 200, width=32)),
    st.sampled_from([16.0, 75.0, 33.3]),
)
def test_wrapped_coordinates_lie_in_the_half_open_box(positions, box_length):
    for dtype in (np.float32, np.float64):
        wrapped = wrap(positions.astype(dtype), box_length)
        assert wrapped.dtype == dtype
        assert (wrapped >= 0).all()
        assert (wrapped < box_length).all()


def test_a_coordinate_just_below_zero_wraps_to_zero_not_to_the_edge():
    assert wrap(np.array([-1e-30]), 75.0)[0] == 0
    assert wrap(np.array([-1e-9], dtype=np.float32), 75.0)[0] == 0


def test_voxel_separation_of_the_default_geometry_is_93():
    assert least_voxel_separation_squared(9.602432) == 93
    assert least_voxel_separation_squared(5.0) == 25


def test_overlap_through_the_periodic_boundary_is_found_and_named():
    positions = np.array([[37.0, 37, 37], [1, 20, 20], [74, 20, 20]])
    with pytest.raises(StructureError, match=r"here: particles 1 and 2 .* 2 apart.*diameter 9.6"):
        validate_structure(positions, 75.0, 9.6, where="here")
    validate_structure(positions, 75.0, 2.0, where="here")


def test_spheres_in_contact_survive_float32():
    diameter = 9.602432
    chain = np.array([[70.0, 74.9, 0.03]]) + np.arange(4)[:, None] * diameter / np.sqrt(3)
    stored = wrap(chain, 75.0).astype(np.float32)
    validate_structure(stored, 75.0, diameter, where="chain in contact")
    with pytest.raises(StructureError, match="overlap"):
        validate_structure(stored, 75.0, diameter * 1.0001, where="chain overlapping")


def test_a_sphere_may_touch_but_not_overlap_its_own_image():
    one = np.array([[1.0, 2, 3]])
    validate_structure(one, 10.0, 10.0, where="cubic array")
    with pytest.raises(StructureError, match="own periodic images"):
        validate_structure(one, 10.0, 10.1, where="cubic array")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_coordinate_that_is_not_finite_is_named_by_particle(bad):
    positions = np.array([[0.0, 0, 0], [20, 20, bad], [40, 40, 40]])
    with pytest.raises(StructureError, match=r"file\.xyz: .* of particle 1 .*not finite"):
        validate_structure(positions, 75.0, 9.6, where="file.xyz")


@pytest.mark.parametrize("shape", [(0, 3), (5, 2), (3,), (2, 2, 3)])
def test_positions_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(StructureError, match=r"expected \[N, 3\]"):
        validate_structure(np.zeros(shape), 75.0, 9.6, where="x")


@pytest.mark.parametrize(
    ("box_length", "diameter", "message"),
    [(0.0, 1.0, "box edge 0"), (np.nan, 1.0, "box edge nan"), (9.0, -1.0, "diameter -1")],
)
def test_lengths_that_are_not_positive_are_refused(box_length, diameter, message):
    with pytest.raises(StructureError, match=message):
        validate_structure(np.zeros((1, 3)), box_length, diameter, where="x")
