"""Facets between particles: known areas, quadrature, and what freud finds."""

import freud
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphion.surrogates.pairs import find_pairs, join, separate

NEAR = 1.2


def areas(positions, box, far):
    """Area of the facet of each pair (i, j), i < j, that is found in one structure."""
    found = find_pairs(np.asarray(positions)[None], box, 1.0, NEAR, far, facets=True)
    return {
        (int(i), int(j)): float(area)
        for i, j, area in zip(found.first, found.second, found.facet, strict=True)
    }


def whole_areas(positions, box, far):
    """Of each pair all of the facet."""
    positions = np.asarray(positions)
    found = find_pairs(positions[None], box, 1.0, NEAR, far, facets=True)
    away = positions[found.first] - positions[found.second]
    distance = np.linalg.norm(away - box * np.round(away / box), axis=1)
    pairs = zip(found.first.tolist(), found.second.tolist(), strict=True)
    return dict(zip(pairs, found.facet + found.beside * distance, strict=True))


def disc(distance, far):
    return np.pi * (far**2 / 4 - distance**2 / 4)


def test_the_facet_of_two_alone_is_the_disc_within_reach_of_both():
    for distance in (1.0, 2.0, 2.9):
        (area,) = areas([[0, 0, 0], [0, distance, 0]], 20.0, 3.0).values()
        assert area == pytest.approx(disc(distance, 3.0), rel=1e-6)


def test_a_third_between_two_leaves_them_none():
    found = areas([[0, 0, 0], [2.0, 0, 0], [1.0, 0, 0]], 20.0, 3.0)
    assert set(found) == {(0, 2), (1, 2)}


def test_a_third_beside_two_takes_the_part_nearer_to_it():
    """Its bisector cuts the disc along a chord, straight above the middle."""
    height = 1.0
    found = areas([[0, 0, 0], [1.5, 0, 0], [0.75, height, 0]], 20.0, 3.0)
    radius = np.sqrt(disc(1.5, 3.0) / np.pi)
    # Where |x - third| = |x - first| in the plane between first and second.
    chord = (height**2 - 0.75**2) / (2 * height)
    segment = radius**2 * np.arccos(chord / radius) - chord * np.sqrt(radius**2 - chord**2)
    assert found[0, 1] == pytest.approx(disc(1.5, 3.0) - segment, rel=1e-6)


def test_cells_of_a_cubic_lattice_are_cubes():
    edge = 1.25
    positions = edge * np.indices((4, 4, 4)).reshape(3, -1).T
    found = areas(positions, 4 * edge, 2.4)
    whole = {pair: area for pair, area in found.items() if area > 1e-9}
    assert len(whole) == 3 * 64
    np.testing.assert_allclose(list(whole.values()), edge**2, rtol=1e-6)


def test_cells_of_a_face_centred_lattice_are_rhombic_dodecahedra():
    edge = 1.6
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cells = np.indices((3, 3, 3)).reshape(3, -1).T
    positions = edge * (cells[:, None] + basis).reshape(-1, 3)
    found = areas(positions, 3 * edge, 2.4)
    whole = [area for area in found.values() if area > 1e-6]
    assert len(whole) == 12 * len(positions) // 2
    np.testing.assert_allclose(whole, edge**2 / np.sqrt(32), rtol=1e-6)


def random_structure(seed, particles, box):
    """Centres at least 0.9 apart."""
    rng = np.random.default_rng(seed)
    kept = []
    while len(kept) < particles:
        centre = rng.uniform(0, box, 3)
        away = np.array(kept).reshape(-1, 3) - centre
        away -= box * np.round(away / box)
        if not len(kept) or np.linalg.norm(away, axis=1).min() > 0.9:
            kept.append(centre)
    return np.array(kept)


@pytest.mark.parametrize("seed", range(3))
def test_dense_structures_have_the_facets_that_freud_finds(seed):
    """So dense that every corner of a cell lies within reach."""
    box, far = 7.0, 3.4
    positions = random_structure(seed, 180, box)
    voronoi = freud.locality.Voronoi()
    cube = freud.box.Box.cube(box)
    voronoi.compute((cube, cube.wrap(positions)))
    reached = [
        np.linalg.norm(corners - centre, axis=1).max()
        for corners, centre in zip(voronoi.polytopes, cube.wrap(positions), strict=True)
    ]
    pairs = voronoi.nlist
    expected = np.zeros((len(positions), len(positions)))
    np.add.at(expected, (pairs.query_point_indices, pairs.point_indices), pairs.weights)
    found = areas(positions, box, far)
    compared = 0
    for i, j in zip(*np.triu_indices(len(positions), 1), strict=True):
        if max(reached[i], reached[j]) < far / 2:
            assert found.get((i, j), 0.0) == pytest.approx(expected[i, j], abs=2e-5)
            compared += expected[i, j] > 0
        else:
            assert found.get((i, j), 0.0) <= expected[i, j] + 2e-5
    assert compared > 500


@pytest.mark.parametrize("particles", [5, 12, 40])
def test_what_lies_beyond_reach_makes_them_whole(particles):
    """Particles with voids between them, whose facets are larger than the reach, and some corners
    farther away than half of the box."""
    box, far = 7.0, 3.4
    positions = random_structure(particles, particles, box)
    voronoi = freud.locality.Voronoi()
    cube = freud.box.Box.cube(box)
    voronoi.compute((cube, cube.wrap(positions)))
    pairs, expected = voronoi.nlist, {}
    for i, j, distance, area in zip(
        pairs.query_point_indices, pairs.point_indices, pairs.distances, pairs.weights, strict=True
    ):
        # Of two particles that meet twice only the nearest images make a pair.
        if i < j and distance < far and area > 1e-5:
            expected[int(i), int(j)] = distance, area
    found = whole_areas(positions, box, far)
    assert len(expected) > particles / 2
    for pair, (distance, area) in expected.items():
        left = found.pop(pair)
        if distance < 0.95 * far:
            assert left == pytest.approx(area, rel=1e-4, abs=2e-5)
        else:
            assert left <= area + 2e-5
    assert all(area < 2e-5 for area in found.values())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40))
def test_areas_are_those_of_points_nearest_to_both(seed, particles):
    """By quadrature over the disc between two particles of a structure with voids."""
    box, far, steps = 7.0, 3.4, 120
    positions = random_structure(seed, particles, box)
    found = areas(positions, box, far)
    away = positions[1] - positions[0]
    away -= box * np.round(away / box)
    distance = np.linalg.norm(away)
    square = far**2 / 4 - distance**2 / 4
    if square <= 0:
        assert (0, 1) not in found
        return
    normal = away / distance
    across = np.linalg.svd(normal[None])[2][1:]
    # Midpoints of rings of equal area, and of sectors.
    radius = np.sqrt((np.arange(steps) + 0.5) / steps * square)
    angle = 2 * np.pi * (np.arange(steps) + 0.5) / steps
    u, v = (radius[:, None] * turned(angle) for turned in (np.cos, np.sin))
    points = away / 2 + np.stack((u, v), -1).reshape(-1, 2) @ across
    others = np.delete(positions, (0, 1), axis=0) - positions[0]
    others = (others - box * np.round(others / box)).reshape(-1, 3)
    squares = np.square(points[:, None] - others).sum(2).min(1, initial=np.inf)
    share = np.mean(squares >= np.square(points).sum(1))
    assert found.get((0, 1), 0.0) == pytest.approx(share * np.pi * square, abs=0.02)


def test_what_lies_beyond_reach_vanishes_without_a_jump():
    """As two particles part to the cutoff."""
    before = None
    for distance in np.linspace(2.5, 3.01, 103):
        found = find_pairs(
            np.array([[[0, 0, 0], [distance, 0, 0]]]), 20.0, 1.0, NEAR, 3.0, facets=True
        )
        beside = float(found.beside.sum())
        assert before is None or before - 6 < beside <= before
        before = beside
    assert before == 0


def test_areas_vanish_without_a_jump():
    """A third particle that passes between two closes their facet bit by bit."""
    before = None
    for height in np.linspace(1.6, 0.0, 161):
        found = areas([[0, 0, 0], [2.0, 0, 0], [1.0, height, 0]], 20.0, 3.0)
        area = found.get((0, 1), 0.0)
        assert before is None or area == pytest.approx(before, abs=0.06)
        assert before is None or area <= before + 1e-9
        before = area
    assert before == 0


def test_a_ring_of_many_particles_leaves_a_polygon_of_as_many_corners():
    """Overlapping ones, which no file may hold: whatever is given, memory stays whole."""
    angle = 2 * np.pi * np.arange(100) / 100
    ring = np.stack((np.full(100, 0.75), 1.2 * np.cos(angle), 1.2 * np.sin(angle)), 1)
    found = areas([[0, 0, 0], [1.5, 0, 0], *ring], 20.0, 3.0)
    inner = (1.2**2 - 0.75**2) / (2 * 1.2)  # of the circle that 100 chords touch
    assert found[0, 1] == pytest.approx(100 * inner**2 * np.tan(np.pi / 100), rel=1e-6)


def test_a_facet_is_the_same_from_either_end_and_with_any_number_of_threads():
    positions = random_structure(7, 60, 7.0)
    order = np.random.default_rng(0).permutation(60)
    found, turned = areas(positions, 7.0, 3.4), areas(positions[order], 7.0, 3.4)
    for (i, j), area in turned.items():
        pair = tuple(sorted((int(order[i]), int(order[j]))))
        assert found.pop(pair) == pytest.approx(area, abs=1e-6)
    assert not found
    lengths = positions[None], 7.0, 1.0, NEAR, 3.4
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = find_pairs(*lengths, facets=True)
    finally:
        numba.set_num_threads(threads)
    for a, b in zip(one, find_pairs(*lengths, facets=True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_near_pairs_are_kept_without_a_facet_and_far_ones_are_not():
    between = [[0, 0, 0], [1.1, 0, 0], [0.55, 0, 0]]
    assert areas(between, 20.0, 3.0)[0, 1] == 0
    apart = [[0, 0, 0], [2.2, 0, 0], [1.1, 0, 0]]
    assert (0, 1) not in areas(apart, 20.0, 3.0)


def test_pairs_of_structures_are_separated_and_joined():
    lonely = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]], dtype=float)
    met = np.array([[0, 0, 0], [1, 0, 0], [0, 1.5, 0]], dtype=float)
    whole = np.stack((met, lonely, met + 0.25))
    pairs = find_pairs(whole, 20.0, 1.0, NEAR, 3.0, facets=True)
    kept = separate(pairs, whole.shape[:2])
    assert [len(part.first) for part in kept] == [3, 0, 3]
    for a, b in zip(join(kept, 3), pairs, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
