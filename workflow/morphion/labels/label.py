"""Labelling structures: rasterise, then walk or solve, on CPU cores or on a GPU."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numba import get_num_threads, set_num_threads, threading_layer

from morphion.config.labels import Labels
from morphion.config.transport import Transport
from morphion.errors import DeviceMemoryError, MorphionWarning, TransportError, muted
from morphion.exact import ExactSolution, solve
from morphion.exact.solver_cpu import BYTES_PER_SITE
from morphion.gpu import CudaDevice
from morphion.kmc import KmcResult
from morphion.kmc.control import BYTES_PER_SITE as CONTROL_BYTES_PER_SITE
from morphion.kmc.control import COARSE_BYTES_PER_SITE, Control, control_variate
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.engine_gpu import GpuEngine
from morphion.kmc.run import estimate_all
from morphion.kmc.transient import Transient
from morphion.labels.lags import at_once, lags, planning_sites
from morphion.progress import log
from morphion.transport import rasterise
from morphion.transport.checks import require_memory

# Peak of the lattice and then the walk's tables or the solver's vectors; kmc measured at 200^3.
_BYTES_PER_SITE = {"kmc": 44, "exact": 8 + BYTES_PER_SITE}
_VELOCITY_BYTES_PER_SITE = 12  # of a control variate, beside the walk's tables
# Structures that a GPU walks together: their pilots and walkers fill it, and a killed job loses
# the work on this many.
TOGETHER = 64
# Lattices and velocities of control variates that wait in the host's memory for a GPU.
_WAITING_BYTES = 4 << 30


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


def _control(task, transport, labels, submit) -> Future[Control | None]:
    """The control variate, found on CPU cores."""
    if labels.control_variate is None:
        return at_once(lambda: None)
    box = task.box_length, task.diameter
    coarse_bytes = COARSE_BYTES_PER_SITE * (labels.control_variate / labels.lattice) ** 3
    needed = 8 + CONTROL_BYTES_PER_SITE + coarse_bytes
    require_memory(labels.lattice, needed, "the control variate")
    fine = rasterise(task.positions, *box, transport, labels.lattice)
    with muted():  # that of a lattice which resolves the shells poorly is one as well
        coarse = rasterise(task.positions, *box, transport, labels.control_variate)
    return submit(control_variate, fine, coarse)


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
    together, ahead = 1, 0
    if device is not None:
        together = ahead = _together(tasks, transport, labels)
    with _planner(device is not None) as submit:
        plans: deque[tuple[Future[Transient], Future[Control | None]]] = deque()
        done = 0
        while done < len(tasks):
            for task in tasks[done + len(plans) : done + together + ahead]:
                plans.append(_planned(task, transport, labels, submit))
            group = list(zip(tasks[done : done + together], plans, strict=False))
            for label in _walked(group, engine, transport, labels, device, tell):
                done += 1
                plans.popleft()
                yield label


def _together(tasks, transport, labels) -> int:
    """How many structures a GPU walks together while as many wait in the host's memory."""
    sites = (
        planning_sites(task.box_length, task.diameter, transport, labels.lattice) for task in tasks
    )
    waiting = 8 * max(sites, default=1) ** 3
    waiting *= 9  # and the lattice of twice as many sites an edge
    if labels.control_variate is not None:
        waiting += (8 + _VELOCITY_BYTES_PER_SITE) * labels.lattice**3
    return min(TOGETHER, max(_WAITING_BYTES // (2 * waiting), 1))


@contextmanager
def _planner(ahead: bool) -> Iterator[Callable[..., Future]]:
    """What computes plans: a thread of its own if they are made ``ahead``, or at once.

    Threads that compiled loops share (Numba's workqueue, where there is no OpenMP) must not be
    used from two threads.
    """
    threads = get_num_threads()  # starts them, so that their kind is known
    if not ahead or threading_layer() == "workqueue":
        yield at_once
        return
    pool = ThreadPoolExecutor(1, initializer=set_num_threads, initargs=(threads,))
    try:
        yield pool.submit
    finally:
        pool.shutdown(cancel_futures=True)


def _planned(task, transport, labels, submit):
    """Lags and control variate of a structure; what is wrong with it is said at its turn."""
    try:
        with _named(task):
            structure = task.positions, task.box_length, task.diameter
            known = lags(*structure, transport, labels.lattice, submit)
            return known, _control(task, transport, labels, submit)
    except TransportError as error:
        unusable: Future = Future()
        unusable.set_exception(error)
        return unusable, unusable


def _walked(group, engine, transport, labels, device, tell) -> list[Label]:
    """Labels of one or more of the first of a group: of as many as fit on the device together, and
    of those before one that cannot be labelled."""
    prepared = []
    for task, (known_, control_) in group:
        tell(f"preparing {len(prepared) + 1} of {len(group)}")
        try:
            known, found = known_.result(), control_.result()
            with _named(task):
                lattice = engine.prepare(_lattice(task, transport, labels, device), found)
        except (DeviceMemoryError, TransportError):
            if not prepared:
                raise
            break
        prepared.append((lattice, task.key, known))
    while True:
        try:
            return _estimates(prepared, engine, labels, tell)
        except DeviceMemoryError:
            if len(prepared) == 1:
                raise
            del prepared[len(prepared) // 2 :]


def _estimates(prepared, engine, labels, tell) -> list[Label]:
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
