import itertools

import numpy as np
import pytest
from anneal_systems import VOXELS, Interrupting, Memory, layered_energy

from morphion.anneal.annealer import cooling_schedule, run_annealing
from morphion.anneal.moves import replay
from morphion.errors import StructureError, SurrogateError
from morphion.philox import stream_key
from morphion.structures.families import rsa_on_voxels
from morphion.structures.geometry import closest_pair

DIAMETER = 5.7


def _starts(runs):
    return np.stack([rsa_on_voxels(VOXELS, 8, DIAMETER, 3, "test", run) for run in runs])


def _anneal(
    energy=layered_energy, runs=(0, 1, 2), temperatures=(0.01, 0.002), steps=150, **options
):
    settings = {"voxels": VOXELS, "diameter": DIAMETER, "maximise": True, **options}
    keys = [stream_key(11, "anneal", run) for run in runs]
    return run_annealing(energy, _starts(runs), keys, np.array(temperatures), steps, **settings)


def _same(first, second):
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _final_states(energy, states, temperature, voxels, maximise, runs, steps):
    """Where independent runs stand after ``steps`` at one temperature: place in ``states``."""
    starts = states[np.arange(runs) % len(states)].astype(np.int16)
    keys = [stream_key(5, "boltzmann", run) for run in range(runs)]
    annealed = run_annealing(
        energy,
        starts,
        keys,
        np.array([temperature]),
        steps,
        voxels=voxels,
        diameter=1.0,
        maximise=maximise,
    )
    last = starts.copy()
    for run, particle, voxel in zip(
        annealed.move_run, annealed.move_particle, annealed.move_voxel, strict=True
    ):
        last[run, particle] = voxel
    place = {state.tobytes(): i for i, state in enumerate(states.astype(np.int16))}
    return np.array([place[state.tobytes()] for state in last])


def _chi_squared_deviation(found, weights, runs):
    expected = runs * weights / weights.sum()
    counts = np.bincount(found, minlength=len(weights))
    chi_squared, freedom = ((counts - expected) ** 2 / expected).sum(), len(weights) - 1
    return (chi_squared - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize("maximise", [True, False])
def test_one_particle_at_fixed_temperature_is_boltzmann_distributed(maximise):
    voxels, temperature, runs = 3, 0.4, 8000
    states = np.array(list(itertools.product(range(voxels), repeat=3)))[:, None]
    landscape = np.random.default_rng(1).random((voxels,) * 3)

    def energy(positions):
        return landscape[tuple(positions[:, 0].astype(int).T)]

    found = _final_states(energy, states, temperature, voxels, maximise, runs, steps=60)
    sign = 1 if maximise else -1
    weights = np.exp(sign * landscape[tuple(states[:, 0].T)] / temperature)
    assert weights.max() / weights.min() > 5
    assert abs(_chi_squared_deviation(found, weights, runs)) < 3


def test_with_contacts_each_state_also_weighs_by_its_number_of_legal_moves():
    voxels, temperature, runs = 3, 0.5, 20000
    cells = list(itertools.product(range(voxels), repeat=3))
    states = np.array([(a, b) for a in cells for b in cells if a != b])
    landscape = np.random.default_rng(2).random((voxels,) * 3)

    def energy(positions):
        index = positions.astype(int)
        return landscape[tuple(index[:, 0].T)] + landscape[tuple(index[:, 1].T)]

    found = _final_states(energy, states, temperature, voxels, True, runs, steps=80)
    apart = np.abs(states[:, 0] - states[:, 1])
    contact = np.minimum(apart, voxels - apart).sum(axis=1) == 1
    values = landscape[tuple(states[:, 0].T)] + landscape[tuple(states[:, 1].T)]
    weights = np.where(contact, 10, 12) * np.exp(values / temperature)
    assert abs(_chi_squared_deviation(found, weights, runs)) < 3


@pytest.mark.parametrize("maximise", [True, False])
def test_at_vanishing_temperature_the_prediction_never_gets_worse(maximise):
    annealed = _anneal(temperatures=(1e-300,), steps=600, maximise=maximise)
    sign = 1 if maximise else -1
    for run in range(3):
        path = annealed.move_prediction[annealed.move_run == run]
        assert (sign * np.diff(np.insert(path, 0, annealed.start_prediction[run])) >= 0).all()
        assert annealed.best[run, -1] == path[-1] == annealed.prediction[run, -1]
        assert sign * (path[-1] - annealed.start_prediction[run]) > 0.01


def test_at_infinite_temperature_every_legal_move_is_accepted():
    assert (_anneal(temperatures=(1e300,)).acceptance == 1).all()


def test_acceptance_falls_as_the_temperature_does():
    annealed = _anneal(temperatures=cooling_schedule(0.1, 0.2, 7), steps=300)
    mean = annealed.acceptance.mean(axis=0)
    assert mean[0] > 0.9
    assert mean[-1] < 0.7
    assert mean[-1] < mean[3] < mean[0]


def test_temperatures_follow_equation_3():
    schedule = cooling_schedule(9.8e-3, 0.9, 100)
    assert schedule[0] == 9.8e-3
    assert schedule[1:] == pytest.approx(0.9 * schedule[:-1], rel=1e-14)


def test_minimising_is_maximising_the_negated_prediction():
    least = _anneal(maximise=False)
    greatest = _anneal(lambda positions: -layered_energy(positions), maximise=True)
    assert np.array_equal(least.move_voxel, greatest.move_voxel)
    assert np.array_equal(least.move_step, greatest.move_step)
    assert np.array_equal(least.best, -greatest.best)


def test_every_accepted_structure_is_legal_and_has_the_recorded_prediction():
    annealed = _anneal()
    for run in range(3):
        of_run = annealed.move_run == run
        structures = np.empty((of_run.sum(), 8, 3), np.int16)
        replay(
            annealed.starts[run].copy(),
            annealed.move_particle[of_run],
            annealed.move_voxel[of_run],
            structures,
        )
        assert min(closest_pair(s + 0.5, VOXELS)[0] for s in structures) >= DIAMETER
        assert np.array_equal(layered_energy(structures + 0.5), annealed.move_prediction[of_run])


def test_a_run_does_not_depend_on_its_neighbours_in_the_batch():
    together, alone = _anneal(runs=(0, 1, 2)), _anneal(runs=(2,))
    of_run = together.move_run == 2
    assert of_run.sum() > 50
    assert np.array_equal(together.move_voxel[of_run], alone.move_voxel)
    assert np.array_equal(together.move_step[of_run], alone.move_step)
    assert np.array_equal(together.acceptance[2], alone.acceptance[0])


@pytest.mark.parametrize("calls", [0, 1, 70, 151, 350])
def test_an_interrupted_annealing_ends_as_an_uninterrupted_one(calls):
    memory, temperatures = Memory(), (0.02, 0.01, 0.005)
    with pytest.raises(KeyboardInterrupt):
        _anneal(Interrupting(layered_energy, calls), temperatures=temperatures, checkpoints=memory)
    finished = sum(key.startswith("cycle") for key in memory)
    assert finished == max(0, calls - 1) // 150
    resumed = Interrupting(layered_energy, -1)
    continued = _anneal(resumed, temperatures=temperatures, checkpoints=memory)
    assert -1 - resumed.left == (3 - finished) * 150 + (calls == 0)
    assert _same(continued, _anneal(temperatures=temperatures))


def test_a_prediction_that_is_not_finite_is_an_error_naming_run_and_step():
    def diverging(positions):
        predicted = layered_energy(positions)
        predicted[1] = np.nan if (positions[1] != _starts([1])[0] + 0.5).any() else 1.0
        return predicted

    with pytest.raises(SurrogateError, match=r"run 1, step 0: the network predicts D\* = nan"):
        _anneal(diverging)


def test_an_energy_of_the_wrong_shape_is_an_error():
    with pytest.raises(SurrogateError, match=r"shape \[3, 1\] for 3 structures"):
        _anneal(lambda positions: layered_energy(positions)[:, None])


def test_an_overlapping_start_is_refused():
    starts = _starts([0])
    starts[0, 1] = starts[0, 0]
    with pytest.raises(StructureError, match=r"start of run 0: particles 0 and 1 .* overlap"):
        run_annealing(
            layered_energy,
            starts,
            [(1, 2)],
            np.array([0.1]),
            10,
            voxels=VOXELS,
            diameter=DIAMETER,
            maximise=True,
        )


def test_a_jammed_start_is_refused():
    axis = np.arange(0, 6, 2)
    lattice = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(1, -1, 3)
    with pytest.raises(StructureError, match="run 0, step 0: no particle can move"):
        run_annealing(
            layered_energy,
            lattice,
            [(1, 2)],
            np.array([0.1]),
            10,
            voxels=6,
            diameter=2.0,
            maximise=True,
        )
