"""Labelling structures: rasterise, then walk or solve, on CPU cores or on a GPU."""

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numba import get_num_threads

from morphion.config.labels import Labels
from morphion.config.transport import CoverageShell, Transport
from morphion.errors import DeviceMemoryError, MorphionWarning, TransportError, muted
from morphion.exact import ExactSolution, solve
from morphion.exact.solver_cpu import BYTES_PER_SITE
from morphion.gpu import CudaDevice
from morphion.kmc import KmcResult
from morphion.kmc.control import BYTES_PER_SITE as CONTROL_BYTES_PER_SITE
from morphion.kmc.control import Control, control_variate
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.engine_gpu import GpuEngine
from morphion.kmc.run import estimate_all
from morphion.kmc.transient import Transient, transient
from morphion.progress import log
from morphion.transport import rasterise
from morphion.transport.checks import require_memory, sites_for_shell

# Peak of the lattice and then the walk's tables or the solver's vectors; kmc measured at 200^3.
_BYTES_PER_SITE = {"kmc": 44, "exact": 8 + BYTES_PER_SITE}
_VELOCITY_BYTES_PER_SITE = 12  # of a control variate, beside the walk's tables
# Structures that a GPU walks together: their pilots and walkers fill it, and a killed job loses
# the work on this many.
TOGETHER = 64
# Lattices and velocities of control variates that wait in the host's memory for a GPU.
_WAITING_BYTES = 4 << 30
_FEWEST_SITES = 16  # of any lattice


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
    regime and its target, or the solver its residual; ``doubt`` says why not. ``control_variate``
    is the number of sites an edge of the lattice a control variate came from, 0 without one.
    """

    diffusivity: float
    stderr: float
    tensor: np.ndarray
    tensor_stderr: np.ndarray
    converged: bool
    hops: int
    seconds: float
    control_variate: int = 0
    walkers: int = 0
    duration: float = 0.0
    msd: np.ndarray = field(default_factory=lambda: np.empty(0))
    msd_stderr: np.ndarray = field(default_factory=lambda: np.empty(0))
    time: np.ndarray = field(default_factory=lambda: np.empty(0))
    doubt: str = ""


def label_structures(
    tasks: Sequence[Task],
    transport: Transport,
    labels: Labels,
    device: CudaDevice | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Iterator[Label]:
    """Labels of structures, one after another, on a device or on CPU cores.

    Walks are the same bit for bit on both, exact solutions to about 1e-12. On a device structures
    walk together, and CPU cores meanwhile find the lags and control variates of the next ones.
    ``seconds`` is the wall time of the walk or the solve, without compilation, rasterising, the
    transient that tells the walk's lags and the control variate. ``on_progress`` is told in a few
    words how far a long label is. Raises TransportError if a structure cannot be put on the
    requested lattice.
    """
    tell = on_progress or (lambda _: None)
    found = _walks if labels.method == "kmc" else _solutions
    for task, label in zip(tasks, found(tasks, transport, labels, device, tell), strict=True):
        if label.doubt:
            log(f"{task.what}: not converged: {label.doubt}")
        yield label


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
        if labels.control_variate is not None:
            needed += _VELOCITY_BYTES_PER_SITE
        require_memory(labels.lattice, needed, f"the {labels.method} label")
    return rasterise(
        task.positions, task.box_length, task.diameter, transport, labels.lattice, device
    )


def _planning_lattice(task, transport, labels):
    """The coarsest lattice that the shells allow, on CPU cores: it tells the walk's lags."""
    sites = math.ceil(task.box_length)
    if isinstance(transport, CoverageShell):
        thickness = (transport.shell_radius - 0.5) * task.diameter
        sites = sites_for_shell(task.box_length, thickness)
    sites = min(labels.lattice, max(sites, _FEWEST_SITES))
    return rasterise(task.positions, task.box_length, task.diameter, transport, sites)


def _control(task, transport, labels, pool) -> Future[Control | None]:
    """The control variate, found on CPU cores."""
    if labels.control_variate is None:
        nothing: Future[None] = Future()
        nothing.set_result(None)
        return nothing
    box = task.box_length, task.diameter
    require_memory(labels.lattice, 8 + CONTROL_BYTES_PER_SITE, "the control variate")
    fine = rasterise(task.positions, *box, transport, labels.lattice)
    with muted():  # that of a lattice which resolves the shells poorly is one as well
        coarse = rasterise(task.positions, *box, transport, labels.control_variate)
    return pool.submit(control_variate, fine, coarse)


def _solutions(tasks, transport, labels, device, tell) -> Iterator[Label]:
    for task in tasks:
        with _named(task):
            solution = solve(
                _lattice(task, transport, labels, device),
                relative_residual=labels.relative_residual,
                report=lambda axis, iteration, residual: tell(
                    f"axis {'xyz'[axis]}, iteration {iteration}, residual {residual:.1e}"
                ),
                device=device,
            )
        yield _from_solution(solution)


def _walks(tasks, transport, labels, device, tell) -> Iterator[Label]:
    engine = CpuEngine(get_num_threads()) if device is None else GpuEngine(device)
    together = 1 if device is None else TOGETHER
    if labels.control_variate is not None:
        waiting = (8 + _VELOCITY_BYTES_PER_SITE) * labels.lattice**3
        together = min(together, max(_WAITING_BYTES // waiting, 1))
    ahead = 0 if device is None else together
    with ThreadPoolExecutor(1) as pool:
        plans: deque[tuple[Future[Transient], Future[Control | None]]] = deque()
        done = 0
        while done < len(tasks):
            for task in tasks[done + len(plans) : done + together + ahead]:
                with _named(task):
                    lags = pool.submit(transient, _planning_lattice(task, transport, labels))
                    plans.append((lags, _control(task, transport, labels, pool)))
            group = list(zip(tasks[done : done + together], plans, strict=False))
            for label in _walked(group, engine, transport, labels, device, tell):
                done += 1
                plans.popleft()
                yield label


def _walked(group, engine, transport, labels, device, tell) -> list[Label]:
    """Labels of one or more of the first of a group: of as many as fit on the device together."""
    prepared = []
    for task, (lags, control_) in group:
        tell(f"preparing {len(prepared) + 1} of {len(group)}")
        try:
            with _named(task):
                found = control_.result()
                lattice = engine.prepare(_lattice(task, transport, labels, device), found)
        except DeviceMemoryError:
            if not prepared:
                raise
            break
        prepared.append((lattice, task.key, lags.result()))
    results = estimate_all(
        prepared,
        engine,
        target_relative_error=labels.target_relative_error,
        walkers=labels.walkers,
        max_hops=labels.max_hops,
        on_batch=lambda share: tell(f"{share:.0%} of the walk"),
    )
    return [_from_walk(result, labels) for result in results]


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


def _from_walk(walk: KmcResult, labels: Labels) -> Label:
    return Label(
        diffusivity=walk.diffusivity,
        stderr=walk.stderr,
        tensor=walk.tensor,
        tensor_stderr=walk.tensor_stderr,
        converged=walk.converged,
        hops=walk.hops,
        seconds=walk.seconds,
        control_variate=labels.control_variate or 0,
        walkers=walk.walkers,
        duration=walk.duration,
        msd=walk.msd,
        msd_stderr=walk.msd_stderr,
        time=walk.time,
        doubt=walk.reason,
    )
