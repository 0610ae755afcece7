"""Compiled moves of hard spheres on voxel centres, for several runs in lockstep.

A particle sits at a voxel index (i, j, k), its centre at index + 1/2. One step of a run proposes
one *legal* move: a particle and one of the six face directions, uniform over the pairs that leave
no overlap (proposals that overlap are drawn again, within the step). The paper moves a particle
"while ensuring nonoverlap", and only then does its acceptance start from 1. At a fixed temperature
the chain therefore samples n(i) exp(+-D*(i) / D*_k), n(i) being the legal moves of structure i;
where nothing is in contact n is constant and this is the Boltzmann distribution.

Draws of a step are Philox blocks whose counter holds the step of the run and the redraw, and whose
key belongs to the run, so that a run depends neither on its neighbours in the batch nor on
restarts.
"""

import math

import numpy as np
from numba import njit, uint32, uint64

from morphion.philox import philox4x32, unit_interval

# In a dilute structure nearly every redraw is legal; beyond these the legal moves are listed.
MAX_REDRAWS = 64

_MIX_0 = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@njit(cache=True)
def _neighbour(centre, direction, voxels, target):
    """Voxel index [3] behind face ``direction`` (0..5) of the periodic cube, into ``target``."""
    axis, forward = direction // 2, direction % 2
    for d in range(3):
        target[d] = centre[d]
    moved = centre[axis] + (1 if forward else -1)
    target[axis] = moved + voxels if moved < 0 else (moved - voxels if moved >= voxels else moved)


@njit(cache=True)
def _is_free(occupied, particle, target, voxels, least_squared):
    """Whether no other particle is closer to voxel ``target`` than the smallest legal distance."""
    for other in range(occupied.shape[0]):
        if other == particle:
            continue
        squared = 0
        for d in range(3):
            distance = abs(np.int64(occupied[other, d]) - np.int64(target[d]))
            distance = min(distance, voxels - distance)
            squared += distance * distance
        if squared < least_squared:
            return False
    return True


@njit(cache=True)
def _listed_move(occupied, share, voxels, least_squared, target):
    """One of all legal moves, the one at ``share`` in [0, 1) of their list; -1 if there is none."""
    legal = np.empty(6 * occupied.shape[0], np.int64)
    count = 0
    for choice in range(len(legal)):
        _neighbour(occupied[choice // 6], choice % 6, voxels, target)
        if _is_free(occupied, choice // 6, target, voxels, least_squared):
            legal[count] = choice
            count += 1
    if count == 0:
        return -1
    choice = legal[int(share * count)]
    _neighbour(occupied[choice // 6], choice % 6, voxels, target)
    return choice // 6


@njit(cache=True)
def propose(occupied, trial, particles, targets, chances, keys, step, voxels, least_squared):
    """Draw one legal move of every run and carry it out in ``trial``.

    Parameters
    ----------
    occupied : int16 [B, N, 3], voxel indices of every run
    trial : float32 [B, N, 3], centres; equal to ``occupied`` + 1/2 before, one particle moved after
    particles, targets, chances : int64 [B], int64 [B, 3], float64 [B]
        Filled with the moved particle, its new voxel, and a uniform number for the acceptance.
    keys : uint32 [B, 2], Philox keys
    step : int, step of the run counted from 0
    voxels, least_squared : voxels along the edge, smallest legal squared distance

    Returns the number of a run without any legal move, or -1.
    """
    count = 6 * occupied.shape[1]
    low, high = uint32(uint64(step) & uint64(0xFFFFFFFF)), uint32(uint64(step) >> uint64(32))
    target = np.empty(3, np.int64)
    for run in range(len(occupied)):
        particle = -1
        share = 0.0
        for redraw in range(MAX_REDRAWS + 1):
            w0, w1, w2, w3 = philox4x32(
                low, high, uint32(redraw), uint32(0), keys[run, 0], keys[run, 1]
            )
            share = unit_interval(w0, w1)
            chances[run] = unit_interval(w2, w3)
            choice = int(share * count)
            _neighbour(occupied[run, choice // 6], choice % 6, voxels, target)
            if redraw < MAX_REDRAWS and _is_free(
                occupied[run], choice // 6, target, voxels, least_squared
            ):
                particle = choice // 6
                break
        if particle < 0:
            particle = _listed_move(occupied[run], share, voxels, least_squared, target)
            if particle < 0:
                return run
        particles[run] = particle
        for d in range(3):
            targets[run, d] = target[d]
            trial[run, particle, d] = target[d] + 0.5
    return -1


@njit(cache=True)
def acceptance_probability(gain, temperature):
    """Equation 2 of the paper: 1 if the objective gains, else exp(gain / D*_k)."""
    return 1.0 if gain >= 0 else math.exp(gain / temperature)


@njit(cache=True)
def settle(
    occupied, trial, particles, targets, chances, current, predicted, sign, temperature, accepted
):
    """Accept or undo the proposed move of every run by equation 2.

    ``current`` and ``predicted`` are D* before and after the move, float64 [B]; ``sign`` is +1 to
    maximise and -1 to minimise, where equation 2 takes the negated D*. ``occupied``, ``trial`` and
    ``current`` are updated and ``accepted`` (bool [B]) is filled.
    """
    for run in range(len(occupied)):
        particle = particles[run]
        gain = sign * (predicted[run] - current[run])
        accepted[run] = chances[run] < acceptance_probability(gain, temperature)
        if accepted[run]:
            current[run] = predicted[run]
        for d in range(3):
            if accepted[run]:
                occupied[run, particle, d] = targets[run, d]
            trial[run, particle, d] = occupied[run, particle, d] + 0.5


@njit(cache=True)
def record(particles, targets, predicted, accepted, step, moves, count):
    """Append the accepted moves of a step to ``moves`` from place ``count``; the new count.

    ``moves`` is a tuple of arrays: run, step (int32), particle (int16), voxel (int16 [.., 3]),
    prediction (float64).
    """
    runs, steps, moved, voxel, prediction = moves
    for run in range(len(accepted)):
        if accepted[run]:
            runs[count] = run
            steps[count] = step
            moved[count] = particles[run]
            prediction[count] = predicted[run]
            for d in range(3):
                voxel[count, d] = targets[run, d]
            count += 1
    return count


@njit(cache=True)
def _voxel_key(i, j, k, voxels):
    """A 64-bit number that stands for a voxel (the mixing function of SplitMix64)."""
    linear = (uint64(i) * uint64(voxels) + uint64(j)) * uint64(voxels) + uint64(k)
    mixed = (linear + uint64(1)) * _MIX_0
    mixed = (mixed ^ (mixed >> uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> uint64(27))) * _MIX_2
    return mixed ^ (mixed >> uint64(31))


@njit(cache=True)
def identities(structures, voxels):
    """Numbers uint64 [S] that are equal for equal structures, from voxel indices int16 [S, N, 3].

    The particles are identical, so their order does not count: the sum of the keys of the occupied
    voxels (Zobrist, Tech. Rep. 88, Univ. Wisconsin (1970)). Two of three million different
    structures share a number with a probability of 2e-7.
    """
    result = np.zeros(len(structures), np.uint64)
    for s in range(len(structures)):
        for p in range(structures.shape[1]):
            result[s] += _voxel_key(
                structures[s, p, 0], structures[s, p, 1], structures[s, p, 2], voxels
            )
    return result


@njit(cache=True)
def move_identities(start, particle, voxel, voxels):
    """Identities uint64 [M] after each of M moves from ``start`` (int16 [N, 3])."""
    state = start.copy()
    result = np.empty(len(particle), np.uint64)
    identity = identities(start.reshape(1, start.shape[0], 3), voxels)[0]
    for m in range(len(particle)):
        p = particle[m]
        identity -= _voxel_key(state[p, 0], state[p, 1], state[p, 2], voxels)
        identity += _voxel_key(voxel[m, 0], voxel[m, 1], voxel[m, 2], voxels)
        result[m] = identity
        state[p] = voxel[m]
    return result


@njit(cache=True)
def replay(state, particle, voxel, structures):
    """Carry out M moves on ``state`` (int16 [N, 3]), writing what each leads to.

    ``structures`` (int16 [M, N, 3]) is filled; ``state`` is the last of them afterwards.
    """
    for m in range(len(particle)):
        state[particle[m]] = voxel[m]
        structures[m] = state
