"""The diffusivity of a lattice by kinetic Monte Carlo, with its standard error."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from morphion.kmc import engine_cpu
from morphion.kmc.curves import curves
from morphion.kmc.estimator import Diffusivity, diffusivity, mean_and_stderr
from morphion.kmc.plan import (
    Pilot,
    Plan,
    make_plan,
    run_pilot,
    shortest_lag,
    spreading_time,
)
from morphion.kmc.tables import WalkTables, walk_tables
from morphion.kmc.weights import LAGS, LAGS_PER_WINDOW_START, slope_weights
from morphion.philox import stream_key
from morphion.transport.lattice import Lattice

_BATCH_BYTES = 64 << 20  # of displacements held at a time
# Realised over requested standard error that still counts as reached. The error bar is true either
# way; dropping all that scatter more than their pilot would drop low diffusivities first.
_STDERR_MARGIN = 2.0
_LAG_MARGIN = 0.75  # shortest lag used over the one that the final estimate asks for


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
        Wall time of pilot and main walk, without compilation and rasterising.
    efficiency : float
        (2 tau / (3 M T)) / relative variance, for M walkers of duration T.
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
    on_batch: Callable[[int, int], None] | None = None,
) -> KmcResult:
    """Long-time diffusivity of cations on a lattice, from walks that start in equilibrium.

    A pilot walk chooses the sampling interval, the shortest lag, the duration and, if ``walkers``
    is None, the number of walkers; other walkers then give the estimate.

    Parameters
    ----------
    lattice : Lattice
    seed_or_key : int or two uint32
        A run seed, or the key of a stream (``morphion.philox.stream_key``).
    target_relative_error : float
        Standard error over diffusivity that is aimed at.
    walkers : int, optional
        Fixed number of walkers, at least 8; the duration is still chosen.
    max_hops : float
        Hops that pilot and main walk may cost.
    threads : int, optional
        Default: as many as there are cores. The result does not depend on it.
    on_batch : callable, optional
        Called with (walkers finished, walkers) after each batch of the main walk.

    Raises TransportError if the lattice's weights underflow the fixed point of the walk.
    Source: mean squared displacement and Einstein relation, section 2.2 of Kadulkar, Howard,
    Truskett & Ganesan, J. Phys. Chem. B 125, 4838 (2021).
    """
    if walkers is not None and walkers < 8:
        raise ValueError(f"walkers = {walkers}: a standard error needs at least 8")
    key = stream_key(seed_or_key, "kmc") if isinstance(seed_or_key, int) else seed_or_key
    threads = threads or len(os.sched_getaffinity(0))
    tables = walk_tables(lattice)
    _compile()
    begin = time.perf_counter()
    if tables.hop_rate == 0:
        return _immobile(tables, walkers or 0, time.perf_counter() - begin)
    pilot = run_pilot(tables, engine_cpu.walk, key, max_hops, threads)
    plan = make_plan(tables, pilot, target_relative_error, walkers, max_hops)
    main = _main_walk(tables, plan, key, threads, on_batch)
    seconds = time.perf_counter() - begin
    return _result(tables, plan, pilot, main, target_relative_error, seconds)


@dataclass(frozen=True)
class _MainWalk:
    """Per-walker diffusivities [walkers, 6], early-less-late excess, MSD curves, and all hops."""

    slopes: np.ndarray
    excess: np.ndarray
    msd: np.ndarray
    hops: int


def _main_walk(tables: WalkTables, plan: Plan, key, threads: int, on_batch) -> _MainWalk:
    """Walk the plan in batches of bounded memory."""
    window = slope_weights(plan.samples, plan.intercept, LAGS_PER_WINDOW_START).weights
    late = slope_weights(plan.samples, plan.intercept, 2 * LAGS_PER_WINDOW_START).weights
    scale = tables.spacing**2 / (2 * plan.sample_interval)
    batch = max(engine_cpu.SLOTS * threads, _BATCH_BYTES // (12 * plan.samples))
    slopes = np.empty((plan.walkers, 6))
    excess = np.empty(plan.walkers)
    msd = np.empty((plan.walkers, LAGS))
    hops = 0
    for low in range(0, plan.walkers, batch):
        high = min(low + batch, plan.walkers)
        walk = engine_cpu.walk(
            tables, key, low, high - low, plan.sample_interval, plan.samples, threads
        )
        batch_curves = curves(walk.displacements, threads)
        slopes[low:high] = batch_curves.slopes(window) * scale
        excess[low:high] = batch_curves.slopes(window - late)[:, :3].mean(axis=1) * scale
        msd[low:high] = batch_curves.msd * tables.spacing**2
        hops += int(walk.hops.sum())
        if on_batch is not None:
            on_batch(high, plan.walkers)
    return _MainWalk(slopes, excess, msd, hops)


def _result(
    tables: WalkTables,
    plan: Plan,
    pilot: Pilot,
    main: _MainWalk,
    target_relative_error: float,
    seconds: float,
) -> KmcResult:
    found = diffusivity(main.slopes)
    lags = plan.sample_interval * np.arange(1, LAGS + 1)
    msd, msd_stderr = mean_and_stderr(main.msd)
    needed_lag = shortest_lag(
        tables, found, spreading_time(tables, lags, msd), target_relative_error
    )
    reason = plan.reason or _doubt(plan, found, needed_lag, main.excess, target_relative_error)
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
        seconds=seconds,
        efficiency=efficiency,
        converged=not reason,
        reason=reason,
    )


def _doubt(
    plan: Plan,
    found: Diffusivity,
    needed_lag: float,
    excess: np.ndarray,
    target_relative_error: float,
) -> str:
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
    if plan.shortest_lag < _LAG_MARGIN * needed_lag:
        return "the pilot overestimated the diffusivity: its lags do not reach the diffusive regime"
    mean, stderr = mean_and_stderr(excess)
    if mean > 3 * stderr:
        return (
            f"the mean squared displacement still bends: lags from tau give {mean:.2g} +- "
            f"{stderr:.1g} more than lags from 2 tau"
        )
    return ""


def _immobile(tables: WalkTables, walkers: int, seconds: float) -> KmcResult:
    """Result of a lattice without a single open bond: exactly zero."""
    zeros = np.zeros(LAGS)
    lags = tables.spacing**2 * np.arange(1, LAGS + 1)
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
        seconds=seconds,
        efficiency=0.0,
        converged=True,
        reason="",
    )


@cache
def _compile() -> None:
    """Compile, or load from Numba's cache, everything that is timed."""
    uniform = np.ones((16, 16, 16), np.float32)
    tables = walk_tables(Lattice(uniform, uniform, 1.0))
    walk = engine_cpu.walk(tables, stream_key(0, "compile"), 0, 1, 0.1, LAGS)
    curves(walk.displacements, 1)
    slope_weights(LAGS + 1, 0.0, LAGS_PER_WINDOW_START)
