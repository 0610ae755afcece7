"""Labelling structures: rasterise, then walk or solve, on CPU cores or on a GPU."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numba import get_num_threads

from morphion.config.labels import Labels
from morphion.config.transport import Transport
from morphion.errors import DeviceMemoryError, MorphionWarning, TransportError
from morphion.exact import ExactSolution, solve
from morphion.exact.solver_cpu import BYTES_PER_SITE
from morphion.gpu import CudaDevice
from morphion.kmc import KmcResult
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.engine_gpu import GpuEngine
from morphion.kmc.run import estimate_all
from morphion.progress import log
from morphion.transport import rasterise
from morphion.transport.checks import require_memory

# Peak of the lattice and then the walk's tables or the solver's vectors; kmc measured at 200^3.
_BYTES_PER_SITE = {"kmc": 44, "exact": 8 + BYTES_PER_SITE}
# Structures that a GPU walks together: their pilots and walkers fill it, and a killed job loses
# the work on this many.
TOGETHER = 64


@dataclass(frozen=True)
class Task:
    """A structure to label.

    positions: float [N, 3] in voxels; box_length and diameter in voxels; key: Philox key of its
    walk; what: its name in logs.
    """

    positions: np.ndarray
    box_length: float
    diameter: float
    key: tuple[np.uint32, np.uint32]
    what: str


@dataclass(frozen=True)
class Label:
    """Diffusivities in units of the solvent's, times in voxel^2 over the solvent's diffusivity.

    ``msd``, ``msd_stderr`` and ``time`` are [lags] for kMC and empty for the exact solver, whose
    standard errors and hops are 0. ``converged`` tells whether the walk reached the diffusive
    regime and its target, or the solver its residual; ``doubt`` says why not.
    """

    diffusivity: float
    stderr: float
    tensor: np.ndarray
    tensor_stderr: np.ndarray
    converged: bool
    hops: int
    seconds: float
    walkers: int = 0
    duration: float = 0.0
    msd: np.ndarray = field(default_factory=lambda: np.empty(0))
    msd_stderr: np.ndarray = field(default_factory=lambda: np.empty(0))
    time: np.ndarray = field(default_factory=lambda: np.empty(0))
    doubt: str = ""


def at_once(labels: Labels, device: CudaDevice | None) -> int:
    """Structures that are best labelled by one call of :func:`label_structures`."""
    return TOGETHER if device is not None and labels.method == "kmc" else 1


def label_structures(
    tasks: Sequence[Task],
    transport: Transport,
    labels: Labels,
    device: CudaDevice | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> list[Label]:
    """Labels of structures, on a device or on CPU cores; they do not depend on which.

    ``seconds`` is the wall time of the walk or the solve, without compilation and rasterising.
    ``on_progress`` is told in a few words how far a long label is. Raises TransportError if a
    structure cannot be put on the requested lattice.
    """
    tell = on_progress or (lambda _: None)
    found: list[Label] = []
    while len(found) < len(tasks):
        rest = tasks[len(found) :]
        if labels.method == "exact":
            found.append(_solved(rest[0], transport, labels, device, tell))
        else:
            found += _walked(rest, transport, labels, device, tell)
    for task, label in zip(tasks, found, strict=True):
        if label.doubt:
            log(f"{task.what}: not converged: {label.doubt}")
    return found


@contextmanager
def _named(task: Task) -> Iterator[None]:
    """Put the structure's name before warnings and errors about its lattice."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MorphionWarning)
            yield
    except TransportError as error:
        raise TransportError(f"{task.what}: {error}") from None
    for message in {str(warning.message) for warning in caught}:
        log(f"warning: {task.what}: {message}")


def _lattice(task, transport, labels, device):
    if device is None:
        needed = _BYTES_PER_SITE[labels.method]
        require_memory(labels.lattice, needed, f"the {labels.method} label")
    return rasterise(
        task.positions, task.box_length, task.diameter, transport, labels.lattice, device
    )


def _solved(task, transport, labels, device, tell) -> Label:
    with _named(task):
        solution = solve(
            _lattice(task, transport, labels, device),
            relative_residual=labels.relative_residual,
            report=lambda axis, iteration, residual: tell(
                f"axis {'xyz'[axis]}, iteration {iteration}, residual {residual:.1e}"
            ),
            device=device,
        )
    return _from_solution(solution)


def _walked(tasks, transport, labels, device, tell) -> list[Label]:
    """Labels of one or more of the first tasks: of as many as fit on the device together."""
    engine = CpuEngine(get_num_threads()) if device is None else GpuEngine(device)
    prepared = []
    for task in tasks[: at_once(labels, device)]:
        try:
            with _named(task):
                lattice = engine.prepare(_lattice(task, transport, labels, device))
        except DeviceMemoryError:
            if not prepared:
                raise
            break
        prepared.append((lattice, task.key))
    results = estimate_all(
        prepared,
        engine,
        target_relative_error=labels.target_relative_error,
        walkers=labels.walkers,
        max_hops=labels.max_hops,
        on_batch=lambda share: tell(f"{share:.0%} of the walk"),
    )
    return [_from_walk(result) for result in results]


def _from_solution(solution: ExactSolution) -> Label:
    reached = f"residual {solution.relative_residual.max():.1e}"
    return Label(
        diffusivity=solution.diffusivity,
        stderr=0.0,
        tensor=solution.tensor,
        tensor_stderr=np.zeros((3, 3)),
        converged=solution.converged,
        hops=0,
        seconds=solution.seconds,
        doubt="" if solution.converged else reached,
    )


def _from_walk(walk: KmcResult) -> Label:
    return Label(
        diffusivity=walk.diffusivity,
        stderr=walk.stderr,
        tensor=walk.tensor,
        tensor_stderr=walk.tensor_stderr,
        converged=walk.converged,
        hops=walk.hops,
        seconds=walk.seconds,
        walkers=walk.walkers,
        duration=walk.duration,
        msd=walk.msd,
        msd_stderr=walk.msd_stderr,
        time=walk.time,
        doubt=walk.reason,
    )
