"""The ray caster: what is nearer hides what is farther, at the right place and size."""

import numpy as np
import pytest

from morphion.analysis.render import Camera, Scene, render
from morphion.analysis.snapshots import picture

RED, GREEN, BLUE = np.eye(3)
NOTHING = np.empty((0, 3))


def _scene(spheres=(), rods=()):
    centres, radii, colours = zip(*spheres, strict=True) if spheres else (NOTHING, [], NOTHING)
    starts, ends, widths, tints = (
        zip(*rods, strict=True) if rods else (NOTHING, NOTHING, [], NOTHING)
    )
    return Scene(*map(np.array, (centres, radii, colours, starts, ends, widths, tints)))


def _look(scene, pixels=61, view=90.0):
    """From (0, -10, 0) along +y: x to the right, z up."""
    camera = Camera(position=np.array([0.0, -10, 0]), target=np.zeros(3), view=view)
    return render(scene, camera, pixels).astype(int)


def _hue(pixel):
    return int(np.argmax(pixel - pixel.min())) if np.ptp(pixel) > 0 else None


@pytest.mark.parametrize("order", [1, -1])
def test_nearest_sphere_hides_the_one_behind_whatever_the_order(order):
    spheres = [((0, -3, 0), 1.0, RED), ((0, 3, 0), 4.0, BLUE)][::order]
    shown = _look(_scene(spheres))
    assert _hue(shown[30, 30]) == 0
    assert _hue(shown[30, 38]) == 2  # beside the small one
    assert (shown[0, 0] == 255).all()


def test_a_sphere_covers_the_angle_it_should():
    shown = _look(_scene([((0, 0, 0), 5.0, RED)]), pixels=201)
    seen = (shown != 255).any(axis=2)
    # The edge is seen at asin(R / d); half the picture is tan(45 degrees).
    radius = np.tan(np.arcsin(0.5)) * 201 / 2
    assert seen.sum() == pytest.approx(np.pi * radius**2, rel=0.02)
    assert seen[100].sum() == pytest.approx(2 * radius, abs=2)


def test_right_is_right_and_up_is_up():
    shown = _look(_scene([((4, 0, 0), 1.0, RED), ((0, 0, 4), 1.0, GREEN)]))
    rows, columns = np.nonzero(shown[..., 0] > shown[..., 1] + 20)
    assert columns.mean() > 40
    assert rows.mean() == pytest.approx(30, abs=1)
    rows, columns = np.nonzero(shown[..., 1] > shown[..., 0] + 20)
    assert rows.mean() < 20
    assert columns.mean() == pytest.approx(30, abs=1)


def test_a_rod_goes_in_front_of_one_sphere_and_behind_another():
    spheres = [((-4, -2, 0), 1.0, RED), ((4, 2, 0), 1.5, RED)]
    shown = _look(_scene(spheres, [((-8, 0, 0), (8, 0, 0), 0.3, BLUE)]), pixels=121)
    across = [_hue(pixel) for pixel in shown[60]]
    assert across[30] == 0  # the sphere at x = -4, y = -2: column 60 - 60 * 4 / 8
    assert across[80] == 2  # the rod before the sphere at x = 4, y = 2
    assert across[60] == 2


def test_a_rod_towards_the_viewer_shows_its_round_end():
    shown = _look(_scene(rods=[((0, -5, 0), (0, 5, 0), 1.0, GREEN)]), pixels=401)
    radius = np.tan(np.arcsin(1 / 5)) * 401 / 2
    assert (shown != 255).any(axis=2).sum() == pytest.approx(np.pi * radius**2, rel=0.05)


def test_what_is_behind_the_viewer_is_not_drawn():
    assert (_look(_scene([((0, -30, 0), 1.0, RED)])) == 255).all()


def _bluest(image):
    excess = image[..., 2].astype(int) - image[..., 0]
    return excess.max()


def test_neighbours_through_the_boundary_share_a_colour_and_single_particles_are_grey():
    through = np.array([[1.0, 20, 20], [39.0, 20, 20]])
    apart = np.array([[10.0, 20, 20], [30.0, 20, 20]])
    assert _bluest(picture(through, 40.0, 6.0, 9.0, 80)) > 60
    assert _bluest(picture(apart, 40.0, 6.0, 9.0, 80)) < 60


def test_a_structure_is_drawn_the_same_from_any_periodic_image():
    positions = np.array([[3.0, 20, 20], [39.0, 4, 11], [12.0, 33, 25]])
    moved = positions + 40.0 * np.array([[1, 0, -2], [0, 3, 0], [0, 0, 1]])
    np.testing.assert_array_equal(
        picture(positions, 40.0, 6.0, 9.0, 60), picture(moved, 40.0, 6.0, 9.0, 60)
    )
