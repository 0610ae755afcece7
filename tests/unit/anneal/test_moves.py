import numpy as np
import pytest

from morphion.anneal.moves import (
    acceptance_probability,
    identities,
    move_identities,
    propose,
    replay,
    settle,
)
from morphion.philox import stream_key
from morphion.structures.families import rsa_on_voxels
from morphion.structures.geometry import closest_pair, least_voxel_separation_squared

DIAMETER = 9.602432


def _proposals(start, voxels, least_squared, runs, step=0):
    """The first move of many runs from one start: particle [runs], voxel [runs, 3]."""
    occupied = np.repeat(start[None].astype(np.int16), runs, axis=0)
    trial = (occupied + 0.5).astype(np.float32)
    particles, targets = np.empty(runs, np.int64), np.empty((runs, 3), np.int64)
    chances = np.empty(runs)
    keys = np.array([stream_key(1, "test", run) for run in range(runs)], np.uint32)
    jammed = propose(
        occupied, trial, particles, targets, chances, keys, step, voxels, least_squared
    )
    return jammed, particles, targets, chances, occupied, trial


def _legal_moves(start, voxels, least_squared):
    """All (particle, x, y, z) of legal moves, by direct enumeration of all pairs."""
    legal = set()
    for particle in range(len(start)):
        others = np.delete(start, particle, axis=0)
        for step in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
            target = (start[particle] + step) % voxels
            distance = np.abs(others - target)
            distance = np.minimum(distance, voxels - distance)
            if ((distance**2).sum(axis=1) >= least_squared).all():
                legal.add((particle, *map(int, target)))
    return legal


def _lattice_with_a_hole():
    """Touching spheres of diameter 2 on 6^3 voxels, one removed: 6 of 156 moves are legal."""
    axis = np.arange(0, 6, 2)
    full = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.delete(full, 13, axis=0).astype(np.int16), full.astype(np.int16)


@pytest.mark.parametrize("crowded", [False, True])
def test_moves_are_uniform_over_exactly_the_legal_ones(crowded):
    if crowded:
        start, voxels, least_squared, runs = _lattice_with_a_hole()[0], 6, 4, 6000
    else:
        start, voxels, least_squared, runs = rsa_on_voxels(20, 8, 5.7, 3, "test"), 20, 33, 24000
    legal = _legal_moves(start.astype(int), voxels, least_squared)
    assert len(legal) == 6 if crowded else len(legal) > 30
    _, particles, targets, _, _, _ = _proposals(start, voxels, least_squared, runs)
    drawn, counts = np.unique(np.column_stack([particles, targets]), axis=0, return_counts=True)
    assert {tuple(map(int, move)) for move in drawn} == legal
    expected = runs / len(legal)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    freedom = len(legal) - 1
    assert abs(chi_squared - freedom) < 3 * np.sqrt(2 * freedom)


def test_a_full_lattice_is_reported_as_jammed():
    jammed, *_ = _proposals(_lattice_with_a_hole()[1], 6, 4, runs=3)
    assert jammed == 0


@pytest.mark.parametrize(
    ("separation", "allowed"), [((9, 5, 2), True), ((10, 3, 1), False)], ids=["93", "91"]
)
def test_centres_may_come_to_93_but_not_to_91_through_the_boundary(separation, allowed):
    least_squared = least_voxel_separation_squared(DIAMETER)
    assert least_squared == 93
    first = np.array([3, 1, 74])
    pair = np.stack([first, (first - separation) % 75]).astype(np.int16)
    closer = (1, *map(int, (pair[1] + [1, 0, 0]) % 75))
    _, particles, targets, _, _, _ = _proposals(pair, 75, least_squared, runs=500)
    drawn = {tuple(map(int, move)) for move in np.column_stack([particles, targets])}
    assert (closer in drawn) is allowed
    assert drawn == _legal_moves(pair.astype(int), 75, least_squared)


def test_a_move_crosses_the_periodic_boundary():
    start = np.array([[0, 10, 19]], np.int16)
    _, _, targets, _, _, trial = _proposals(start, 20, 1, runs=200)
    assert {tuple(map(int, target)) for target in targets} == {
        (1, 10, 19),
        (19, 10, 19),
        (0, 11, 19),
        (0, 9, 19),
        (0, 10, 0),
        (0, 10, 18),
    }
    assert np.array_equal(trial[:, 0], (targets + 0.5).astype(np.float32))


def test_acceptance_is_equation_2():
    assert acceptance_probability(0.0, 0.01) == 1.0
    assert acceptance_probability(0.3, 0.01) == 1.0
    assert acceptance_probability(-0.02, 0.01) == pytest.approx(np.exp(-2.0), rel=1e-14)
    assert acceptance_probability(-1.0, 1e-300) == 0.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("gain", [-0.03, -0.01, -0.002, 0.0, 0.004])
def test_accepted_share_agrees_with_equation_2_within_three_standard_errors(gain, sign):
    runs, temperature = 20000, 0.01
    start = rsa_on_voxels(20, 8, 5.7, 3, "test")
    _, particles, targets, chances, occupied, trial = _proposals(start, 20, 33, runs)
    current, accepted = np.full(runs, 0.7), np.empty(runs, bool)
    predicted = current + sign * gain
    move = particles, targets, chances
    settle(occupied, trial, *move, current, predicted, sign, temperature, accepted)
    expected = min(1.0, np.exp(gain / temperature))
    error = np.sqrt(expected * (1 - expected) / runs)
    assert abs(accepted.mean() - expected) <= 3 * error
    assert np.array_equal(current, np.where(accepted, predicted, 0.7))
    moved = (occupied != start).any(axis=(1, 2))
    assert np.array_equal(moved, accepted)
    assert np.array_equal(trial, (occupied + 0.5).astype(np.float32))


def test_identities_ignore_the_order_of_particles_and_tell_structures_apart():
    structures = np.stack([rsa_on_voxels(75, 91, DIAMETER, 1, "test", i) for i in range(50)])
    shuffled = structures[:, np.random.default_rng(0).permutation(91)]
    assert np.array_equal(identities(structures, 75), identities(shuffled, 75))
    assert len(np.unique(identities(structures, 75))) == 50
    one_move = structures.copy()
    one_move[:, 0, 0] = (one_move[:, 0, 0] + 1) % 75
    assert not (identities(structures, 75) == identities(one_move, 75)).any()


def test_replayed_moves_have_the_identities_of_the_structures_they_lead_to():
    random = np.random.default_rng(5)
    start = rsa_on_voxels(75, 91, DIAMETER, 2, "test")
    particle = random.integers(0, 91, 300).astype(np.int16)
    voxel = random.integers(0, 75, (300, 3)).astype(np.int16)
    structures = np.empty((300, 91, 3), np.int16)
    state = start.copy()
    replay(state, particle, voxel, structures)
    assert np.array_equal(state, structures[-1])
    assert np.array_equal(move_identities(start, particle, voxel, 75), identities(structures, 75))
    assert closest_pair(start + 0.5, 75.0)[0] >= DIAMETER
