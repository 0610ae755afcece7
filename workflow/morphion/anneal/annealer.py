"""Simulated annealing of structures on voxel centres (section 2.4 of the paper)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from morphion.anneal.moves import propose, record, settle
from morphion.errors import StructureError, SurrogateError
from morphion.progress import Reporter, progress
from morphion.structures.geometry import least_voxel_separation_squared, validate_structure

Energy = Callable[[np.ndarray], np.ndarray]
"""D* of structures: centres float32 [B, N, 3] in voxels -> float64 [B]. It must not keep or change
its argument, which is the annealer's own buffer."""


class Checkpoints(Protocol):
    """Where finished cycles are kept; ``store.Partial`` is one."""

    def save(self, key: str, arrays: Mapping[str, np.ndarray]) -> None: ...

    def load(self, key: str) -> dict[str, np.ndarray] | None: ...


@dataclass(frozen=True)
class Annealed:
    """What the annealing of B runs over K cycles did.

    ``starts`` int16 [B, N, 3] and ``start_prediction`` float64 [B]; traces ``prediction`` (D* at
    the end of a cycle), ``best`` (best D* so far) and ``acceptance`` (accepted moves over steps),
    float64 [B, K]; and the M accepted moves in order of time: ``move_run`` (place in the batch)
    and ``move_step`` (of the run, from 0) int32, ``move_particle`` int16, ``move_voxel`` int16
    [M, 3], the particle's new voxel, ``move_prediction`` float64.
    """

    starts: np.ndarray
    start_prediction: np.ndarray
    prediction: np.ndarray
    best: np.ndarray
    acceptance: np.ndarray
    move_run: np.ndarray
    move_step: np.ndarray
    move_particle: np.ndarray
    move_voxel: np.ndarray
    move_prediction: np.ndarray


def cooling_schedule(initial_temperature: float, cooling: float, cycles: int) -> np.ndarray:
    """Temperatures D*_k = D*_1 alpha^(k-1), k = 1..cycles, float64 (equation 3 of the paper)."""
    return initial_temperature * cooling ** np.arange(cycles, dtype=np.float64)


def run_annealing(
    energy: Energy,
    starts: np.ndarray,
    keys: Sequence[tuple[int, int]],
    temperatures: np.ndarray,
    steps_per_cycle: int,
    *,
    voxels: int,
    diameter: float,
    maximise: bool,
    names: Sequence[str] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Annealed:
    """Anneal several structures at once; each step is one call of ``energy`` for all runs.

    Parameters
    ----------
    energy : D* of a batch, see ``Energy``
    starts : int16 [B, N, 3], voxel indices (centre = index + 1/2) in [0, voxels)
    keys : B Philox keys (``philox.stream_key``); a run is a function of its start and its key
        alone, as far as ``energy`` of a structure does not depend on the rest of its batch (a
        network's rounding may: then runs of other batches part after some thousand steps)
    temperatures : float64 [K], D*_k of every cycle
    steps_per_cycle : proposed legal moves of a run in a cycle
    voxels, diameter : box edge and sphere diameter in voxels
    maximise : True for equation 2, False for equation 2 with negated D*
    names : what errors call the runs; by default their numbers
    checkpoints : where finished cycles are kept and looked for; None keeps none

    Raises StructureError for starts that overlap or cannot move, SurrogateError for predictions
    that are not finite.
    """
    names = names or [f"run {run}" for run in range(len(starts))]
    starts = np.ascontiguousarray(starts, dtype=np.int16)
    for name, start in zip(names, starts, strict=True):
        validate_structure(start + 0.5, float(voxels), diameter, where=f"start of {name}")
    batch = _Batch(energy, starts, keys, voxels, diameter, maximise, names)
    kept = checkpoints.load("start") if checkpoints is not None else None
    if kept is None:
        kept = {"prediction": batch.evaluate(step=-1)}
        if checkpoints is not None:
            checkpoints.save("start", kept)
    start_prediction = kept["prediction"]
    batch.current[:] = start_prediction
    cycles: list[dict[str, np.ndarray]] = []
    while checkpoints is not None and len(cycles) < len(temperatures):
        finished = checkpoints.load(_cycle_key(len(cycles)))
        if finished is None:
            break
        cycles.append(finished)
    if cycles:
        batch.restore(cycles[-1]["occupied"], cycles[-1]["prediction"])
    what = f"annealing, {'maximise' if maximise else 'minimise'}, {len(starts)} runs"
    total = len(temperatures) * steps_per_cycle
    with progress(what, total, "steps", done=len(cycles) * steps_per_cycle) as reporter:
        for cycle in range(len(cycles), len(temperatures)):
            finished = batch.cycle(cycle, float(temperatures[cycle]), steps_per_cycle, reporter)
            if checkpoints is not None:
                checkpoints.save(_cycle_key(cycle), finished)
            cycles.append(finished)
    return _collect(starts, start_prediction, cycles, steps_per_cycle, maximise)


def _cycle_key(cycle: int) -> str:
    return f"cycle-{cycle:04d}"


class _Batch:
    """The present structures of all runs and the buffers of a step."""

    def __init__(self, energy, starts, keys, voxels, diameter, maximise, names):
        count = len(starts)
        self._energy, self._names = energy, names
        self._voxels, self._maximise = voxels, maximise
        self._least_squared = least_voxel_separation_squared(diameter)
        self._keys = np.array(keys, dtype=np.uint32).reshape(count, 2)
        self.occupied = starts.copy()
        self.trial = (starts + 0.5).astype(np.float32)
        self.current = np.zeros(count)
        self._move = np.empty(count, np.int64), np.empty((count, 3), np.int64), np.empty(count)
        self._accepted = np.empty(count, bool)

    def restore(self, occupied: np.ndarray, prediction: np.ndarray) -> None:
        """Continue from the end of a finished cycle."""
        self.occupied[:], self.current[:] = occupied, prediction
        self.trial[:] = self.occupied + 0.5

    def evaluate(self, step: int) -> np.ndarray:
        """D* of the trial structures, float64 [B]."""
        predicted = np.asarray(self._energy(self.trial), dtype=np.float64)
        if predicted.shape != (len(self.trial),):
            raise SurrogateError(
                f"the energy returned shape {list(predicted.shape)} for {len(self.trial)} "
                "structures; expected one value for each"
            )
        if not np.isfinite(predicted).all():
            run = int(np.argmin(np.isfinite(predicted)))
            raise SurrogateError(
                f"{self._names[run]}, step {step}: the network predicts D* = {predicted[run]}; "
                "train it again"
            )
        return predicted

    def cycle(
        self, cycle: int, temperature: float, steps: int, reporter: Reporter
    ) -> dict[str, np.ndarray]:
        """One cycle at one temperature: its accepted moves and the state it ends in."""
        room = steps * len(self.occupied)
        moves = (
            np.empty(room, np.int32),
            np.empty(room, np.int32),
            np.empty(room, np.int16),
            np.empty((room, 3), np.int16),
            np.empty(room),
        )
        particles, targets, chances = self._move
        sign = 1.0 if self._maximise else -1.0
        note = f"cycle {cycle + 1}, D*_k = {temperature:.2e}"
        count = 0
        for step in range(cycle * steps, (cycle + 1) * steps):
            jammed = propose(
                self.occupied,
                self.trial,
                particles,
                targets,
                chances,
                self._keys,
                step,
                self._voxels,
                self._least_squared,
            )
            if jammed >= 0:
                raise StructureError(
                    f"{self._names[jammed]}, step {step}: no particle can move to a neighbouring "
                    "voxel without overlap; lower geometry.volume_fraction"
                )
            predicted = self.evaluate(step)
            settle(
                self.occupied,
                self.trial,
                particles,
                targets,
                chances,
                self.current,
                predicted,
                sign,
                temperature,
                self._accepted,
            )
            count = record(particles, targets, predicted, self._accepted, step, moves, count)
            reporter.advance(1, note)
        names = ("move_run", "move_step", "move_particle", "move_voxel", "move_prediction")
        return {
            **{name: values[:count].copy() for name, values in zip(names, moves, strict=True)},
            "occupied": self.occupied.copy(),
            "prediction": self.current.copy(),
        }


def _collect(
    starts: np.ndarray,
    start_prediction: np.ndarray,
    cycles: Sequence[Mapping[str, np.ndarray]],
    steps_per_cycle: int,
    maximise: bool,
) -> Annealed:
    better = np.maximum if maximise else np.minimum
    runs = len(starts)
    prediction, best, acceptance = (np.empty((runs, len(cycles))) for _ in range(3))
    best_so_far = start_prediction.copy()
    for k, finished in enumerate(cycles):
        better.at(best_so_far, finished["move_run"], finished["move_prediction"])
        prediction[:, k], best[:, k] = finished["prediction"], best_so_far
        accepted = np.bincount(finished["move_run"], minlength=runs)
        acceptance[:, k] = accepted / steps_per_cycle
    names = ("move_run", "move_step", "move_particle", "move_voxel", "move_prediction")
    return Annealed(
        starts=starts,
        start_prediction=start_prediction,
        prediction=prediction,
        best=best,
        acceptance=acceptance,
        **{name: np.concatenate([finished[name] for finished in cycles]) for name in names},
    )
