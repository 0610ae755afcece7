"""The diffusivity of a lattice by kinetic Monte Carlo, with its standard error."""

import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from morphion.kmc.control import Control
from morphion.kmc.curves import COMPONENTS
from morphion.kmc.engine import Walked, WalkRequest
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.estimator import Diffusivity, diffusivity, mean_and_stderr
from morphion.kmc.plan import Pilot, Plan, make_plan, run_pilot
from morphion.kmc.tables import Summary
from morphion.kmc.transient import Transient, transient
from morphion.kmc.weights import LAGS, LAGS_PER_WINDOW_START, slope_weights
from morphion.philox import stream_key
from morphion.transport.lattice import Lattice

# Realised over requested standard error that still counts as reached. The error bar is true either
# way; dropping all that scatter more than their pilot would drop low diffusivities first.
_STDERR_MARGIN = 2.0
# With a control: standard errors by which D from the walkers' plain displacements may be off.
_PLAIN_MARGIN = 4.0

# No number of hops finds the diffusivity of a lattice without a way through: few of them show that
# it is small.
_CLOSED_SHARE = 1e-3
_CLOSED = "the lattice has no way through that conducts: its diffusivity is not told from zero"


@dataclass(frozen=True)
class KmcResult:
    """Diffusivity of a lattice (solvent = 1), its error and how it was obtained.

    Parameters
    ----------
    diffusivity, stderr : float
        Third of the trace of the tensor, and its standard error over walkers.
    tensor, tensor_stderr : float64 arrays of shape [3, 3]
    time : float64 array of shape [32]
        Lags, voxel^2 (solvent D = 1); the fit uses those from ``shortest_lag`` on.
    msd, msd_stderr : float64 arrays of shape [32]
        Mean squared displacement over walkers and time origins, voxel^2.
    walkers : int
    duration : float
        Time at which every walker stopped.
    shortest_lag : float
        tau, from which on the curve counts as linear.
    hops : int
        Of the pilot and the main walk.
    pilot_hops : int
    seconds : float
        Wall time of pilot and main walk, without compilation, rasterising and the transient.
    efficiency : float
        (2 tau / (3 M T)) / relative variance, for M walkers of duration T; above 1 with a control.
    converged : bool
        Whether the diffusive regime and the requested error were reached.
    reason : str
        Why not; empty if converged.
    """

    diffusivity: float
    stderr: float
    tensor: np.ndarray
    tensor_stderr: np.ndarray
    time: np.ndarray
    msd: np.ndarray
    msd_stderr: np.ndarray
    walkers: int
    duration: float
    shortest_lag: float
    hops: int
    pilot_hops: int
    seconds: float
    efficiency: float
    converged: bool
    reason: str


def estimate(
    lattice: Lattice,
    seed_or_key: int | tuple[np.uint32, np.uint32],
    *,
    target_relative_error: float = 0.01,
    walkers: int | None = None,
    max_hops: float = 2e10,
    threads: int | None = None,
    known: Transient | None = None,
    control: Control | None = None,
    on_batch: Callable[[float], None] | None = None,
) -> KmcResult:
    """Long-time diffusivity of cations on a lattice by the engine on CPU cores.

    See :func:`estimate_all`; ``threads`` default to as many as there are cores. The transient is
    that of the lattice itself, which takes some 150 bytes a site and a few seconds at 150^3,
    unless ``known``, that of a coarser lattice of the same structure, is given. ``control`` is a
    control variate of the lattice (:func:`morphion.kmc.control.control_variate`).
    """
    key = stream_key(seed_or_key, "kmc") if isinstance(seed_or_key, int) else seed_or_key
    engine = CpuEngine(threads or len(os.sched_getaffinity(0)))
    return estimate_all(
        [(engine.prepare(lattice, control), key, known or transient(lattice))],
        engine,
        target_relative_error=target_relative_error,
        walkers=walkers,
        max_hops=max_hops,
        on_batch=on_batch,
    )[0]


def estimate_all(
    prepared: Sequence[tuple[Any, tuple[np.uint32, np.uint32], Transient]],
    engine: Any,
    *,
    target_relative_error: float = 0.01,
    walkers: int | None = None,
    max_hops: float = 2e10,
    on_batch: Callable[[float], None] | None = None,
) -> list[KmcResult]:
    """Long-time diffusivities of lattices, from walks that start in equilibrium.

    The transient gives the shortest lag and with it the sampling interval, a pilot walk the
    duration and, if ``walkers`` is None, the number of walkers; other walkers then give the
    estimate. What the structures of a batch ask for is walked together.

    Parameters
    ----------
    prepared : sequence of (lattice prepared by the engine, Philox key of its stream, transient)
        A key is two uint32 (``morphion.philox.stream_key``); the transient may be that of a
        coarser lattice of the same structure. Lattices are prepared with a control all or none.
    engine : CpuEngine or GpuEngine
        The results do not depend on it, but for their ``seconds``.
    target_relative_error : float
        Standard error over diffusivity that is aimed at.
    walkers : int, optional
        Fixed number of walkers, at least 8; the duration is still chosen.
    max_hops : float
        Hops that pilot and main walk of one lattice may cost.
    on_batch : callable, optional
        Called with the share of walkers finished of those being walked together.

    Source: mean squared displacement and Einstein relation, section 2.2 of Kadulkar, Howard,
    Truskett & Ganesan, J. Phys. Chem. B 125, 4838 (2021).
    """
    if walkers is not None and walkers < 8:
        raise ValueError(f"walkers = {walkers}: a standard error needs at least 8")
    _compile(any(lattice.control is not None for lattice, _, _ in prepared))
    begin = time.perf_counter()
    results: dict[int, KmcResult] = {}
    open_: dict[int, tuple[Generator, WalkRequest]] = {}

    def advance(index, steps, walked) -> None:
        try:
            open_[index] = steps, steps.send(walked)
        except StopIteration as finished:
            results[index] = finished.value

    for index, (lattice, key, known) in enumerate(prepared):
        options = target_relative_error, walkers, max_hops
        steps = _steps(lattice.summary, lattice.control, known, key, *options)
        advance(index, steps, None)
    while open_:
        asked, open_ = open_, {}
        jobs = [(prepared[index][0], request) for index, (_, request) in asked.items()]
        for (index, (steps, _)), walked in zip(
            asked.items(), engine.walk(jobs, on_batch), strict=True
        ):
            advance(index, steps, walked)
    seconds = time.perf_counter() - begin
    hops = max(sum(result.hops for result in results.values()), 1)
    return [
        replace(results[i], seconds=seconds * results[i].hops / hops) for i in range(len(prepared))
    ]


def _steps(
    summary: Summary,
    control: Control | None,
    known: Transient,
    key: tuple[np.uint32, np.uint32],
    target_relative_error: float,
    walkers: int | None,
    max_hops: float,
) -> Generator[WalkRequest, Walked, KmcResult]:
    """Everything from the pilot to the result of one lattice: yields requests, is sent walks."""
    if summary.hop_rate == 0:
        return _immobile(summary, walkers or 0)
    controlled = control is not None
    if not known.conducts:
        max_hops *= _CLOSED_SHARE
    pilot = yield from run_pilot(summary, known, key, max_hops, controlled)
    plan = make_plan(summary, known, pilot, target_relative_error, walkers, max_hops, controlled)
    if not known.conducts:
        plan = replace(plan, reason=_CLOSED)
    walked = yield WalkRequest(key, 0, plan.walkers, plan.sample_interval, plan.samples)
    return _result(summary, control, plan, pilot, walked, target_relative_error)


def _result(
    summary: Summary,
    control: Control | None,
    plan: Plan,
    pilot: Pilot,
    main: Walked,
    target_relative_error: float,
) -> KmcResult:
    """Estimate and verdict on it; the wall time is left to the caller."""
    window = slope_weights(plan.samples, plan.intercept, LAGS_PER_WINDOW_START).weights
    late = slope_weights(plan.samples, plan.intercept, 2 * LAGS_PER_WINDOW_START).weights
    scale = summary.spacing**2 / (2 * plan.sample_interval)
    by_window, by_late = (_by_walker(main, control, w, scale) for w in (window, late))
    found = diffusivity(by_window)
    excess = (by_window - by_late)[:, :3].mean(axis=1)
    lags = plan.sample_interval * np.arange(1, LAGS + 1)
    msd, msd_stderr = mean_and_stderr(main.curves.msd * summary.spacing**2)
    reason = plan.reason or _doubt(found, excess, target_relative_error)
    if control is not None and not reason:
        reason = _contradiction(found, diffusivity(main.curves.slopes(window) * scale))
    efficiency = 0.0
    if found.stderr > 0:
        brownian = 2 * plan.shortest_lag / (3 * plan.walkers * plan.duration)
        efficiency = brownian * (found.mean / found.stderr) ** 2
    return KmcResult(
        diffusivity=found.mean,
        stderr=found.stderr,
        tensor=found.tensor,
        tensor_stderr=found.tensor_stderr,
        time=lags,
        msd=msd,
        msd_stderr=msd_stderr,
        walkers=plan.walkers,
        duration=plan.duration,
        shortest_lag=plan.shortest_lag,
        hops=main.hops + pilot.hops,
        pilot_hops=pilot.hops,
        seconds=0.0,
        efficiency=efficiency,
        converged=not reason,
        reason=reason,
    )


def _doubt(found: Diffusivity, excess: np.ndarray, target_relative_error: float) -> str:
    """Why the estimate is not to be trusted to the requested error; empty if nothing speaks so.

    The diffusivity by early lags is never below that by later ones but for noise: started from
    equilibrium, the slope of the MSD of reversible hops falls monotonically to 6 D.
    """
    if found.mean <= 3 * found.stderr:
        return f"diffusivity {found.mean:.3g} +- {found.stderr:.2g} is not told from zero"
    if found.stderr > _STDERR_MARGIN * target_relative_error * found.mean:
        return (
            f"relative standard error {found.stderr / found.mean:.3g} "
            f"above the requested {target_relative_error:g}"
        )
    mean, stderr = mean_and_stderr(excess)
    if mean > 3 * stderr:
        return (
            f"the mean squared displacement still bends: lags from tau give {mean:.2g} +- "
            f"{stderr:.1g} more than lags from 2 tau"
        )
    return ""


def _by_walker(
    main: Walked, control: Control | None, weights: np.ndarray, scale: float
) -> np.ndarray:
    """Each walker's own estimate of D (xx, yy, zz, xy, xz, yz), [walkers, 6]."""
    if control is None:
        return main.curves.slopes(weights) * scale
    trial = np.array([control.trial[component] for component in COMPONENTS])
    return trial - main.integral_curves.slopes(weights) * scale


def _contradiction(found: Diffusivity, plain: Diffusivity) -> str:
    """Why an estimate with a control is not what its walkers' displacements tell; else empty."""
    if abs(plain.mean - found.mean) <= _PLAIN_MARGIN * plain.stderr + 3 * found.stderr:
        return ""
    return (
        f"the control variate gives {found.mean:.3g} +- {found.stderr:.1g}, the displacements of "
        f"the same walkers {plain.mean:.3g} +- {plain.stderr:.1g}"
    )


def _immobile(summary: Summary, walkers: int) -> KmcResult:
    """Result of a lattice without a single open bond: exactly zero."""
    zeros = np.zeros(LAGS)
    lags = summary.spacing**2 * np.arange(1, LAGS + 1)
    return KmcResult(
        diffusivity=0.0,
        stderr=0.0,
        tensor=np.zeros((3, 3)),
        tensor_stderr=np.zeros((3, 3)),
        time=lags,
        msd=zeros,
        msd_stderr=zeros,
        walkers=walkers,
        duration=0.0,
        shortest_lag=0.0,
        hops=0,
        pilot_hops=0,
        seconds=0.0,
        efficiency=0.0,
        converged=True,
        reason="",
    )


@cache
def _compile(controlled: bool) -> None:
    """Compile, or load from Numba's cache, everything that is timed."""
    uniform = np.ones((16, 16, 16), np.float32)
    control = None
    if controlled:
        control = Control(np.eye(3), np.zeros((uniform.size, 3), np.float32))
    engine = CpuEngine(1)
    request = WalkRequest(stream_key(0, "compile"), 0, 1, 0.1, LAGS)
    engine.walk([(engine.prepare(Lattice(uniform, uniform, 1.0), control), request)])
    slope_weights(LAGS + 1, 0.0, LAGS_PER_WINDOW_START)
