"""Descriptors against theory, quadrature, hand-made structures and freud."""

import freud
import numpy as np
import pytest
from scipy import integrate

from morphion.errors import StructureError
from morphion.philox import generator
from morphion.structures import descriptors

BOX = 75.0


def _ideal_gas(structures, particles=91, box_length=BOX):
    random = generator(1, "test-ideal-gas", structures, particles)
    return random.uniform(0, box_length, (structures, particles, 3))


def _sphere_area_in_cube(radius, half):
    """Area of a sphere inside the cube |x|, |y|, |z| < half, by quadrature over its height."""

    def arc(z):
        circle = np.sqrt(radius**2 - z**2)
        if circle <= half:
            return 2 * np.pi * radius
        cut = 4 * 2 * np.arccos(half / circle)
        return max(0.0, 2 * np.pi - cut) * radius

    kinks = [np.sqrt(max(radius**2 - k * half**2, 0)) for k in (1, 2)]
    points = sorted(z for z in kinks if 0 < z < min(half, radius))
    return 2 * integrate.quad(arc, 0, min(half, radius), points=points or None, limit=200)[0]


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.6, 0.7, 0.72, 0.8, 0.86])
def test_ball_in_cube_grows_by_its_area_inside_the_cube(radius):
    grown, _ = integrate.quad(
        _sphere_area_in_cube,
        0,
        radius,
        args=(0.5,),
        points=[p for p in (0.5, 0.7071) if p < radius],
    )
    assert descriptors.ball_in_cube_volume(radius, 1.0) == pytest.approx(grown, rel=1e-7)


def test_ball_in_cube_ends_as_ball_and_as_cube():
    volumes = descriptors.ball_in_cube_volume(np.array([0.0, 2.0, 5.0 * np.sqrt(3), 20.0]), 10.0)
    assert volumes == pytest.approx([0, 4 / 3 * np.pi * 8, 1000, 1000], rel=1e-12, abs=1e-9)


def test_ball_in_cube_agrees_with_monte_carlo_within_three_standard_errors():
    points = generator(2, "test-ball-in-cube").uniform(-0.5, 0.5, (400_000, 3))
    distance = np.linalg.norm(points, axis=1)
    for radius in (0.45, 0.6, 0.75):
        inside = np.mean(distance < radius)
        error = np.sqrt(inside * (1 - inside) / len(points))
        assert abs(inside - descriptors.ball_in_cube_volume(radius, 1.0)) < 3 * error


def test_shells_fill_the_box():
    assert descriptors.shell_volumes(20.0, 18).sum() == pytest.approx(20.0**3, rel=1e-12)


def test_ideal_gas_has_g_of_one_within_three_standard_errors():
    g = descriptors.radial_distributions(_ideal_gas(4000), BOX, central_voxels=False)
    error = g.std(axis=0, ddof=1) / np.sqrt(len(g))
    z = (g.mean(axis=0) - 1)[1:] / error[1:]
    assert np.abs(z).max() < 3
    assert np.sum(z**2) == pytest.approx(38, abs=3 * np.sqrt(2 * 38))


def test_ideal_gas_of_central_voxels_counts_the_voxels_of_each_shell():
    g = descriptors.radial_distributions(_ideal_gas(4000), BOX)
    offsets = np.arange(-37, 38)
    squared = offsets[:, None, None] ** 2 + offsets[:, None] ** 2 + offsets**2
    voxels = np.bincount((np.sqrt(squared) + 0.5).astype(int).ravel())[:39]
    expected = voxels / descriptors.shell_volumes(BOX)
    error = g.std(axis=0, ddof=1) / np.sqrt(len(g))
    assert np.abs((g.mean(axis=0) - expected)[1:] / error[1:]).max() < 3
    assert expected[9] == pytest.approx(1.12, abs=0.005)
    assert expected[31:] == pytest.approx(1, abs=0.025)


def test_g_of_r_agrees_with_freud_up_to_36():
    positions = _ideal_gas(1)[0]
    centres = np.floor(positions) + 0.5
    rdf = freud.density.RDF(bins=36, r_min=0.5, r_max=36.5)
    rdf.compute((freud.box.Box.cube(BOX), (centres - BOX / 2).astype(np.float32)))
    ours = descriptors.radial_distribution(positions, BOX)[1:37]
    # freud counts N^2 / V pairs where we count N (N - 1) / V; both use whole shells here.
    assert ours == pytest.approx(rdf.rdf * 91 / 90, rel=1e-5)
    assert rdf.bin_centers == pytest.approx(np.arange(1, 37), rel=1e-6)


def test_g_of_r_counts_a_pair_by_hand():
    positions = np.array([[0.2, 5.9, 5.5], [73.8, 5.1, 5.5], [40.0, 40.0, 40.0]])
    g = descriptors.radial_distribution(positions, BOX)
    shell = 4 / 3 * np.pi * (2.5**3 - 1.5**3)
    assert g[2] == pytest.approx(2 / (3 * 2 * shell / BOX**3))  # voxels 0 and 73: two apart
    assert g[:2].sum() == 0


def test_batched_g_of_r_is_the_single_one_and_unchanged_by_voxel_shifts():
    batch = _ideal_gas(3, particles=46)
    together = descriptors.radial_distributions(batch, BOX)
    for one, g in zip(batch, together, strict=True):
        np.testing.assert_array_equal(g, descriptors.radial_distribution(one, BOX))
        shifted = np.mod(one + np.array([3, 17, 60]), BOX)
        np.testing.assert_array_equal(g, descriptors.radial_distribution(shifted, BOX))


def test_g_of_r_refuses_what_it_cannot_count():
    with pytest.raises(StructureError, match="at least two"):
        descriptors.radial_distribution(np.zeros((1, 3)), BOX)
    with pytest.raises(StructureError, match="at most 17"):
        descriptors.radial_distribution(np.zeros((2, 3)), 20.0)
    with pytest.raises(StructureError, match=r"shape \[1, 4, 2\]"):
        descriptors.radial_distribution(np.zeros((4, 2)), BOX)
    with pytest.raises(StructureError, match="particle 1 not finite"):
        descriptors.radial_distribution(np.array([[1, 1, 1], [1, np.nan, 1.0]]), BOX)


def test_nearest_distances_see_through_the_boundary():
    positions = np.array([[1.0, 1, 1], [74.0, 1, 1], [1.0, 6, 1]])
    assert descriptors.nearest_distances(positions, BOX) == pytest.approx([2, 2, 5])
    assert descriptors.mean_nearest_distances(positions[None], BOX) == pytest.approx([3])
    with pytest.raises(StructureError, match="at least two particles, not 1"):
        descriptors.mean_nearest_distances(positions[None, :1], BOX)


def test_clusters_join_neighbours_through_the_boundary_only_within_the_cutoff():
    positions = np.array([[2.0, 5, 5], [30.0, 5, 5], [70.0, 5, 5], [44.0, 5, 5]])
    assert descriptors.clusters(positions, BOX, 14.5).tolist() == [0, 1, 0, 1]
    assert descriptors.clusters(positions, BOX, 14.0).tolist() == [0, 1, 0, 2]


def test_a_closed_chain_percolates_along_its_axis_and_an_open_one_does_not():
    chain = np.stack([np.arange(6) * 12.5 + 3, np.full(6, 20.0), np.full(6, 70.0)], axis=1)
    assert descriptors.percolates(chain, BOX, 14.5).tolist() == [True, False, False]
    assert descriptors.percolates(chain[:5], BOX, 14.5).tolist() == [False, False, False]
    assert descriptors.percolates(chain[:, [2, 1, 0]], BOX, 14.5).tolist() == [False, False, True]


def test_a_diagonal_chain_percolates_along_both_axes_it_winds_around():
    steps = np.arange(9) * (BOX / 9)
    chain = np.stack([steps, np.mod(steps + 40, BOX), np.full(9, 10.0)], axis=1)
    assert descriptors.percolates(chain, BOX, 12).tolist() == [True, True, False]


def test_a_ring_that_does_not_cross_the_box_does_not_percolate():
    angle = 2 * np.pi * np.arange(12) / 12
    ring = np.stack([70 + 20 * np.cos(angle), 70 + 20 * np.sin(angle), np.full(12, 1.0)], axis=1)
    ring = np.mod(ring, BOX)
    assert len(set(descriptors.clusters(ring, BOX, 14.5))) == 1
    assert not descriptors.percolates(ring, BOX, 14.5).any()


def test_a_cutoff_beyond_half_the_box_reaches_further_images():
    alone = np.array([[3.0, 3, 3]])
    assert descriptors.percolates(alone, 10.0, 9.9).tolist() == [False] * 3
    assert descriptors.percolates(alone, 10.0, 10.1).tolist() == [True] * 3
    pair = np.array([[0.0, 5, 5], [5.1, 5, 5]])  # linked both ways round
    assert descriptors.percolates(pair, 10.0, 5.2).tolist() == [True, False, False]


def test_batched_connectivity_is_the_single_one():
    batch = _ideal_gas(5)
    labels, axes = descriptors.connectivities(batch, BOX, 14.5)
    for one, label, axis in zip(batch, labels, axes, strict=True):
        np.testing.assert_array_equal(label, descriptors.clusters(one, BOX, 14.5))
        np.testing.assert_array_equal(axis, descriptors.percolates(one, BOX, 14.5))
