"""The pilot walk, and the main walk it plans.

The pilot's walkers are no part of the estimate: were they, a main walk that is shortened because
the pilot happened to scatter little would give too small an error.

How the shortest lag tau is chosen. Let g(t) = (1/6 dMSD/dt - D) / D, the transient. For 28
structures of all families it was computed without noise, from Lanczos spectra of the hop
generator. Two bounds held, and tau is the shorter lag of the two at which g = target / 5:

* g(t) < 0.44 (D / D_min) exp(-0.87 t / t_D), with the relaxation time t_D = L^2 / (4 pi^2 D) of
  the slowest density mode of the box and D_min along the slowest axis (the slowest rate found
  lies between 0.7 and 1.5 in units of 1 / t_D);
* g(t) < 0.006 exp(-(t / t_s - 11) / 1.8), with t_s the time in which the MSD reaches that of
  free diffusion after one relaxation time, 6 (L / 2 pi)^2. This one is shorter where walkers
  relax fast inside cells that they seldom leave (structures gapped along all axes).

The bias of an estimate was below a fifth of the requested error for each of them, and 0.06 of it
on average.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from morphion.kmc.curves import curves
from morphion.kmc.estimator import Diffusivity, diffusivity, mean_and_stderr
from morphion.kmc.tables import WalkTables
from morphion.kmc.weights import LAGS, LAGS_PER_WINDOW_START, slope_weights

PILOT_WALKERS = 128
# Numbers of the pilot's walkers start here, out of reach of the main walk's.
FIRST_PILOT_WALKER = 1 << 31
_PILOT_RELAXATION_TIMES = 2.0  # t_D, or ...
_PILOT_SPREADING_TIMES = 6.0  # ... t_s, whichever is shorter: shortest lag of the pilot
_PILOT_WINDOWS = 8  # duration over window start
_GUESS_OF_BOUND = 0.25  # first guess of D over the bound without correlations
_LARGEST_STEP = 4.0  # of the pilot's duration from pass to pass
_PILOT_SHARE = 0.1  # of max_hops
FEWEST_WALKERS = 128  # the standard error itself is then known to 6 %
_USUAL_WINDOWS = 24
_FEWEST_WINDOWS = 8
_LEAST_WINDOWS = LAGS / LAGS_PER_WINDOW_START + 1  # when hops run out
_BIAS_SHARE = 0.2  # of the requested standard error
_FASTEST_OVER_SLOWEST = 20.0  # ratio beyond which noise of the pilot's slowest axis is suspected
_INFLATION = (0.8, 4.0)


@dataclass(frozen=True)
class Pilot:
    """What the pilot found.

    Parameters
    ----------
    diffusivity : Diffusivity
        Slightly high: its lags are short.
    intercept : float
        c of MSD = 6 D t + c, voxel^2.
    spreading_time : float
        t_s of the module's text.
    variance_inflation : float
        Variance between walkers over that of the Gaussian model.
    hops : int
    complete : bool
        False if the hop budget ended the pilot before it reached the diffusive regime.
    """

    diffusivity: Diffusivity
    intercept: float
    spreading_time: float
    variance_inflation: float
    hops: int
    complete: bool


@dataclass(frozen=True)
class Plan:
    """A main walk: walkers, samples every ``sample_interval`` and the shortest lag of the fit.

    ``intercept`` is the MSD's over its growth in a sampling interval; ``reason`` is empty unless
    the hop budget cut the plan short.
    """

    walkers: int
    samples: int
    sample_interval: float
    intercept: float
    reason: str

    @property
    def shortest_lag(self) -> float:
        """tau, voxel^2 (solvent D = 1)."""
        return self.sample_interval * LAGS_PER_WINDOW_START

    @property
    def duration(self) -> float:
        """Time at which every walker stops, voxel^2 (solvent D = 1)."""
        return self.sample_interval * self.samples


def relaxation_time(tables: WalkTables, mean_diffusivity: float) -> float:
    """L^2 / (4 pi^2 D), the relaxation time of the slowest density mode of the box."""
    return (tables.n * tables.spacing) ** 2 / (4 * math.pi**2 * mean_diffusivity)


def spreading_time(tables: WalkTables, lags: np.ndarray, msd: np.ndarray) -> float:
    """Time in which the MSD reaches 6 (L / 2 pi)^2, linear between lags; infinite if beyond them.

    The MSD is concave, so that a coarse curve gives rather too long a time.
    """
    reached = 6 * (tables.n * tables.spacing / (2 * math.pi)) ** 2
    if msd[-1] < reached:
        return math.inf
    k = int(np.argmax(msd >= reached))
    time, value = (lags[k - 1], msd[k - 1]) if k > 0 else (0.0, 0.0)
    return float(time + (lags[k] - time) * (reached - value) / (msd[k] - value))


def shortest_lag(
    tables: WalkTables, estimate: Diffusivity, spreading: float, target_relative_error: float
) -> float:
    """tau, for which the transient bias is below a fifth of the requested standard error."""
    allowed = _BIAS_SHARE * target_relative_error
    slowest = max(np.diagonal(estimate.tensor).min(), estimate.mean / _FASTEST_OVER_SLOWEST)
    by_density = max(math.log(0.44 * estimate.mean / slowest / allowed) / 0.87, 3.0)
    by_spreading = max(11 + 1.8 * math.log(0.006 / allowed), 8.0)
    return min(by_density * relaxation_time(tables, estimate.mean), by_spreading * spreading)


def run_pilot(tables: WalkTables, walk: Callable, key, max_hops: float, threads: int) -> Pilot:
    """Walk pilots of growing duration until the shortest lag of one suits its own estimate."""
    first_guess = _GUESS_OF_BOUND * float(tables.axis_bound.mean())
    window_start = _PILOT_RELAXATION_TIMES * relaxation_time(tables, first_guess)
    samples = _PILOT_WINDOWS * LAGS_PER_WINDOW_START
    budget = _PILOT_SHARE * max_hops
    hops = 0
    passes = 0
    while True:
        sample_interval = window_start / LAGS_PER_WINDOW_START
        expected = PILOT_WALKERS * samples * sample_interval * tables.hop_rate
        affordable = hops + expected <= budget
        if not affordable:
            sample_interval *= max((budget - hops) / expected, 1e-3)
        first = FIRST_PILOT_WALKER + passes * PILOT_WALKERS
        result = walk(tables, key, first, PILOT_WALKERS, sample_interval, samples, threads)
        hops += int(result.hops.sum())
        passes += 1
        pilot = _analyse(tables, result.displacements, sample_interval, hops, affordable)
        needed = min(
            _PILOT_RELAXATION_TIMES * relaxation_time(tables, pilot.diffusivity.mean),
            _PILOT_SPREADING_TIMES * pilot.spreading_time,
        )
        if not affordable or window_start >= 0.8 * needed:
            return pilot
        window_start = min(needed, _LARGEST_STEP * window_start)


def _analyse(tables, displacements, sample_interval, hops, affordable) -> Pilot:
    """Diffusivity, intercept and scatter of one pilot pass."""
    area = tables.spacing**2
    pilot_curves = curves(displacements, 1)
    samples = displacements.shape[1]
    lags = sample_interval * np.arange(1, LAGS + 1)
    msd = mean_and_stderr(pilot_curves.msd)[0] * area

    def estimate(intercept):
        model = slope_weights(samples, intercept, LAGS_PER_WINDOW_START)
        slopes = pilot_curves.slopes(model.weights) * (area / (2 * sample_interval))
        found = diffusivity(slopes)
        first = LAGS_PER_WINDOW_START - 1
        return model, found, float(msd[first] - 6 * found.mean * lags[first])

    _, found, intercept = estimate(0.1 * LAGS_PER_WINDOW_START)
    # Noise, or a lattice that does not conduct, gives no D that can be told from zero.
    floor = max(found.stderr, 1e-3 * float(tables.axis_bound.mean()))
    growth = 6 * max(found.mean, floor) * sample_interval
    model, found, intercept = estimate(max(intercept, 0.0) / growth)
    inflation = 1.0
    if found.mean > 0:
        expected = model.relative_variance * found.mean**2 / PILOT_WALKERS
        inflation = min(max(found.stderr**2 / expected, _INFLATION[0]), _INFLATION[1])
    if found.mean < floor:
        found = replace(found, mean=floor)
    return Pilot(
        diffusivity=found,
        intercept=max(intercept, 0.0),
        spreading_time=spreading_time(tables, lags, msd),
        variance_inflation=inflation,
        hops=hops,
        complete=affordable,
    )


def make_plan(
    tables: WalkTables,
    pilot: Pilot,
    target_relative_error: float,
    walkers: int | None,
    max_hops: float,
) -> Plan:
    """Walkers and duration of the main walk for the requested relative standard error."""
    tau = shortest_lag(tables, pilot.diffusivity, pilot.spreading_time, target_relative_error)
    sample_interval = tau / LAGS_PER_WINDOW_START
    intercept = pilot.intercept / (6 * pilot.diffusivity.mean * sample_interval)

    def walkers_for(windows):
        model = slope_weights(
            round(windows * LAGS_PER_WINDOW_START), intercept, LAGS_PER_WINDOW_START
        )
        variance = model.relative_variance * pilot.variance_inflation
        return variance / target_relative_error**2

    fixed = walkers is not None
    count = walkers if fixed else max(FEWEST_WALKERS, math.ceil(walkers_for(_USUAL_WINDOWS)))
    # Variance falls a little faster than 1/duration; two corrections settle the duration.
    windows = float(_USUAL_WINDOWS)
    for _ in range(3):
        windows = max(windows * walkers_for(windows) / count, _FEWEST_WINDOWS)
    hops_to_spend = max_hops - pilot.hops
    hops_per_window = count * tau * tables.hop_rate
    reason = "" if pilot.complete else "max_hops ended the pilot before the diffusive regime"
    if windows * hops_per_window > hops_to_spend:
        reason = reason or (
            f"a relative error of {target_relative_error:g} needs {windows * hops_per_window:.3g} "
            f"hops, more than max_hops = {max_hops:g} leaves after the pilot"
        )
        windows = hops_to_spend / hops_per_window
        if windows < _LEAST_WINDOWS and not fixed:
            count = max(FEWEST_WALKERS, int(count * windows / _LEAST_WINDOWS))
            windows = hops_to_spend / (count * tau * tables.hop_rate)
        if windows < _LEAST_WINDOWS:
            sample_interval *= windows / _LEAST_WINDOWS
            intercept *= _LEAST_WINDOWS / windows
            windows = _LEAST_WINDOWS
    samples = math.ceil(windows * LAGS_PER_WINDOW_START)
    return Plan(count, samples, sample_interval, intercept, reason)
