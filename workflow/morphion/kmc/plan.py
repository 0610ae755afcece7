"""The pilot walk, and the main walk it plans.

The pilot's walkers are no part of the estimate: were they, a main walk that is shortened because
the pilot happened to scatter little would give too small an error.

How the shortest lag tau is chosen. Let g(t) = (1/6 dMSD/dt - D) / D, the transient. For 28
structures of all families it was computed without noise, from Lanczos spectra of the hop
generator, and

    g(t) < 0.44 (D / D_min) exp(-0.87 t / t_D)

held for each of them, with the relaxation time t_D = L^2 / (4 pi^2 D) of the slowest density mode
of the box and D_min along the slowest axis (the slowest rate found lies between 0.7 and 1.5 in
units of 1 / t_D). tau is the lag at which this bound is a fifth of the requested error. The bias
of an estimate was below that fifth for each of them.

Where walkers relax fast inside cells that they seldom leave, g may fall long before; but then
cells that exchange walkers at unequal rates leave a transient that only t_D bounds. Nothing
shorter is used: it biased such structures by nearly a standard error.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from morphion.kmc.engine import Walked, WalkRequest
from morphion.kmc.estimator import Diffusivity, diffusivity
from morphion.kmc.tables import Summary
from morphion.kmc.weights import LAGS, LAGS_PER_WINDOW_START, slope_weights

PILOT_WALKERS = 128
# Numbers of the pilot's walkers start here, out of reach of the main walk's.
FIRST_PILOT_WALKER = 1 << 31
_PILOT_RELAXATION_TIMES = 2.0  # t_D: shortest lag of the pilot
_PILOT_WINDOWS = 8  # duration over window start
_GUESS_OF_BOUND = 0.25  # first guess of D over the bound without correlations
_LARGEST_STEP = 4.0  # of the pilot's duration from pass to pass
_PILOT_SHARE = 0.1  # of max_hops
FEWEST_WALKERS = 128  # the standard error itself is then known to 6 %
_USUAL_WINDOWS = 24
_FEWEST_WINDOWS = 8
_LEAST_WINDOWS = LAGS / LAGS_PER_WINDOW_START + 1  # when hops run out
_BIAS_SHARE = 0.2  # of the requested standard error
_LEAST_TIMES = 3.0  # t_D
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
    variance_inflation : float
        Variance between walkers over that of the Gaussian model.
    hops : int
    complete : bool
        False if the hop budget ended the pilot before it reached the diffusive regime.
    """

    diffusivity: Diffusivity
    intercept: float
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


def relaxation_time(summary: Summary, mean_diffusivity: float) -> float:
    """L^2 / (4 pi^2 D), the relaxation time of the slowest density mode of the box."""
    return (summary.n * summary.spacing) ** 2 / (4 * math.pi**2 * mean_diffusivity)


def shortest_lag(summary: Summary, estimate: Diffusivity, target_relative_error: float) -> float:
    """tau, for which the transient bias is below a fifth of the requested standard error."""
    allowed = _BIAS_SHARE * target_relative_error
    slowest = max(np.diagonal(estimate.tensor).min(), estimate.mean / _FASTEST_OVER_SLOWEST)
    times = max(math.log(0.44 * estimate.mean / slowest / allowed) / 0.87, _LEAST_TIMES)
    return times * relaxation_time(summary, estimate.mean)


def run_pilot(
    summary: Summary, key: tuple[np.uint32, np.uint32], max_hops: float
) -> Generator[WalkRequest, Walked, Pilot]:
    """Ask for pilots of growing duration until the shortest lag of one suits its own estimate.

    A generator, so that the pilots of many structures can be walked together: it yields requests,
    is sent what was walked, and returns the pilot.
    """
    first_guess = _GUESS_OF_BOUND * float(summary.axis_bound.mean())
    window_start = _PILOT_RELAXATION_TIMES * relaxation_time(summary, first_guess)
    samples = _PILOT_WINDOWS * LAGS_PER_WINDOW_START
    budget = _PILOT_SHARE * max_hops
    hops = 0
    passes = 0
    while True:
        sample_interval = window_start / LAGS_PER_WINDOW_START
        expected = PILOT_WALKERS * samples * sample_interval * summary.hop_rate
        affordable = hops + expected <= budget
        if not affordable:
            sample_interval *= max((budget - hops) / expected, 1e-3)
        first = FIRST_PILOT_WALKER + passes * PILOT_WALKERS
        request = WalkRequest(key, first, PILOT_WALKERS, sample_interval, samples)
        walked = yield request
        hops += walked.hops
        passes += 1
        pilot = _analyse(summary, request, walked, hops, affordable)
        needed = _PILOT_RELAXATION_TIMES * relaxation_time(summary, pilot.diffusivity.mean)
        if not affordable or window_start >= 0.8 * needed:
            return pilot
        window_start = min(needed, _LARGEST_STEP * window_start)


def _analyse(summary, request, walked, hops, affordable) -> Pilot:
    """Diffusivity, intercept and scatter of one pilot pass."""
    area = summary.spacing**2
    pilot_curves = walked.curves
    samples, sample_interval = request.samples, request.sample_interval
    lags = sample_interval * np.arange(1, LAGS + 1)
    msd = pilot_curves.msd.mean(axis=0) * area

    def estimate(intercept):
        model = slope_weights(samples, intercept, LAGS_PER_WINDOW_START)
        slopes = pilot_curves.slopes(model.weights) * (area / (2 * sample_interval))
        found = diffusivity(slopes)
        first = LAGS_PER_WINDOW_START - 1
        return model, found, float(msd[first] - 6 * found.mean * lags[first])

    _, found, intercept = estimate(0.1 * LAGS_PER_WINDOW_START)
    # Noise, or a lattice that does not conduct, gives no D that can be told from zero.
    floor = max(found.stderr, 1e-3 * float(summary.axis_bound.mean()))
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
        variance_inflation=inflation,
        hops=hops,
        complete=affordable,
    )


def make_plan(
    summary: Summary,
    pilot: Pilot,
    target_relative_error: float,
    walkers: int | None,
    max_hops: float,
) -> Plan:
    """Walkers and duration of the main walk for the requested relative standard error."""
    # A pilot that scattered upwards would give lags too short for what the main walk finds.
    found = pilot.diffusivity
    careful = replace(found, mean=max(found.mean - found.stderr, found.mean / 2))
    tau = shortest_lag(summary, careful, target_relative_error)
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
    hops_per_window = count * tau * summary.hop_rate
    reason = "" if pilot.complete else "max_hops ended the pilot before the diffusive regime"
    if windows * hops_per_window > hops_to_spend:
        reason = reason or (
            f"a relative error of {target_relative_error:g} needs {windows * hops_per_window:.3g} "
            f"hops, more than max_hops = {max_hops:g} leaves after the pilot"
        )
        windows = hops_to_spend / hops_per_window
        if windows < _LEAST_WINDOWS and not fixed:
            count = max(FEWEST_WALKERS, int(count * windows / _LEAST_WINDOWS))
            windows = hops_to_spend / (count * tau * summary.hop_rate)
        if windows < _LEAST_WINDOWS:
            sample_interval *= windows / _LEAST_WINDOWS
            intercept *= _LEAST_WINDOWS / windows
            windows = _LEAST_WINDOWS
    samples = math.ceil(windows * LAGS_PER_WINDOW_START)
    return Plan(count, samples, sample_interval, intercept, reason)
