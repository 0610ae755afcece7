"""The pilot walk, and the main walk it plans.

The shortest lag tau of a fit is where the transient of the mean squared displacement, which the
lattice gives without noise (:mod:`morphion.kmc.transient`), has fallen so far that the bias of the
fit is below a fifth of the requested error of the mean, and below the error of each axis. The
number of walkers and their duration follow from the model of :mod:`morphion.kmc.weights` and from
how much more than in this model a pilot's walkers scatter. The pilot's walkers are no part of the
estimate: were they, a main walk that is shortened because the pilot happened to scatter little
would give too small an error.

With a control (:mod:`morphion.kmc.control`) a walk measures delta = D_psi - D in place of D, to
the relative error that leaves D the requested one, and at least to a tenth. How much of delta is
slow is not known, so that all of it is taken for as slow as the slowest mode: what is missing of
delta at tau is then at most delta exp(-tau / slowest), which is kept below a share of the error of
delta itself.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from morphion.kmc.engine import Walked, WalkRequest
from morphion.kmc.tables import Summary
from morphion.kmc.transient import Transient
from morphion.kmc.weights import LAGS, LAGS_PER_WINDOW_START, slope_weights

PILOT_WALKERS = 128
# Numbers of the pilot's walkers start here, out of reach of the main walk's.
FIRST_PILOT_WALKER = 1 << 31
_PILOT_RELAXATION_TIMES = 2.0  # L^2 / (4 pi^2 D): shortest lag of the pilot
_PILOT_WINDOWS = 8  # duration over window start
_PILOT_SHARE = 0.1  # of max_hops
FEWEST_WALKERS = 128  # the standard error itself is then known to 6 %
_USUAL_WINDOWS = 24
_FEWEST_WINDOWS = 8
_LEAST_WINDOWS = LAGS / LAGS_PER_WINDOW_START + 1  # when hops run out
# Transient at tau over the requested standard error, of the mean and of each axis. A fit uses lags
# from tau to 4 tau, and its bias is a third to four fifths of the transient at tau.
_BIAS_SHARE = 0.15
_AXIS_BIAS_SHARE = 1.0
_LAG_MARGIN = 1.1  # a transient from a coarser lattice may be this much too short
# L^2 / (4 pi^2 D). Where few walkers leave the cells they start in, shorter lags save no hops, and
# so few crossings leave the standard error itself uncertain.
_LEAST_TIMES = 3.0
_INFLATION = (0.8, 6.0)
_LARGEST_ERROR = 0.1  # of delta, with a control


@dataclass(frozen=True)
class Pilot:
    """What the pilot found.

    Parameters
    ----------
    measured : float
        What the main walk is to measure: D, as the transient has it, or delta with a control.
    variance_inflation : float
        Variance between walkers over that of the Gaussian model.
    hops : int
    complete : bool
        False if the hop budget ended the pilot before it reached the diffusive regime.
    """

    measured: float
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


def shortest_lag(summary: Summary, transient: Transient, target_relative_error: float) -> float:
    """tau, for which the bias of the fit is below a fifth of the requested standard error."""
    # The error of one axis is sqrt(3) times that of their mean.
    of_axis = _AXIS_BIAS_SHARE * math.sqrt(3) * target_relative_error
    settled = transient.settled(_BIAS_SHARE * target_relative_error, of_axis)
    least = _LEAST_TIMES * relaxation_time(summary, float(transient.diffusivity.mean()))
    return max(_LAG_MARGIN * settled, least)


def control_lag(
    summary: Summary, transient: Transient, delta: float, target_relative_error: float
) -> tuple[float, float]:
    """tau, and the relative error to which delta is to be measured, of a walk with a control."""
    mean = float(transient.diffusivity.mean())
    error = target_relative_error * mean / max(delta, 1e-9 * mean)
    error = min(error, _LARGEST_ERROR)
    settled = transient.slowest * math.log(1 / (_BIAS_SHARE * error))
    return max(_LAG_MARGIN * settled, _LEAST_TIMES * relaxation_time(summary, mean)), error


def relative_intercept(transient: Transient, sample_interval: float) -> float:
    """The MSD's intercept over its growth in a sampling interval, to three digits."""
    intercept = (transient.weights * transient.times).sum()
    return float(f"{intercept / (transient.diffusivity.sum() * sample_interval):.2e}")


def run_pilot(
    summary: Summary,
    transient: Transient,
    key: tuple[np.uint32, np.uint32],
    max_hops: float,
    controlled: bool = False,
) -> Generator[WalkRequest, Walked, Pilot]:
    """Ask for a short walk and see how its walkers scatter.

    A generator, so that the pilots of many structures can be walked together: it yields requests,
    is sent what was walked, and returns the pilot.
    """
    mean = float(transient.diffusivity.mean())
    sample_interval = (
        _PILOT_RELAXATION_TIMES * relaxation_time(summary, mean) / LAGS_PER_WINDOW_START
    )
    samples = _PILOT_WINDOWS * LAGS_PER_WINDOW_START
    expected = PILOT_WALKERS * samples * sample_interval * summary.hop_rate
    affordable = expected <= _PILOT_SHARE * max_hops
    if not affordable:
        sample_interval *= _PILOT_SHARE * max_hops / expected
    walked = yield WalkRequest(key, FIRST_PILOT_WALKER, PILOT_WALKERS, sample_interval, samples)
    intercept = 0.0 if controlled else relative_intercept(transient, sample_interval)
    model = slope_weights(samples, intercept, LAGS_PER_WINDOW_START)
    curves = walked.integral_curves if controlled else walked.curves
    slopes = curves.slopes(model.weights) * (summary.spacing**2 / (2 * sample_interval))
    own = slopes[:, :3].mean(axis=1)
    measured = float(own.mean()) if controlled else mean
    inflation = 1.0
    if measured > 0:
        inflation = own.var(ddof=1) / measured**2 / model.relative_variance
    inflation = float(np.clip(inflation, *_INFLATION))
    return Pilot(measured, inflation, walked.hops, affordable)


def make_plan(
    summary: Summary,
    transient: Transient,
    pilot: Pilot,
    target_relative_error: float,
    walkers: int | None,
    max_hops: float,
    controlled: bool = False,
) -> Plan:
    """Walkers and duration of the main walk for the requested relative standard error."""
    if controlled:
        tau, error = control_lag(summary, transient, pilot.measured, target_relative_error)
    else:
        tau, error = shortest_lag(summary, transient, target_relative_error), target_relative_error
    sample_interval = tau / LAGS_PER_WINDOW_START
    intercept = 0.0 if controlled else relative_intercept(transient, sample_interval)
    fewest_windows = _LEAST_WINDOWS if controlled else _FEWEST_WINDOWS

    def walkers_for(windows):
        model = slope_weights(
            round(windows * LAGS_PER_WINDOW_START), intercept, LAGS_PER_WINDOW_START
        )
        variance = model.relative_variance * pilot.variance_inflation
        return variance / error**2

    fixed = walkers is not None
    count = walkers if fixed else max(FEWEST_WALKERS, math.ceil(walkers_for(_USUAL_WINDOWS)))
    # Variance falls a little faster than 1/duration; two corrections settle the duration.
    windows = float(_USUAL_WINDOWS)
    for _ in range(3):
        windows = max(windows * walkers_for(windows) / count, fewest_windows)
    hops_to_spend = max_hops - pilot.hops
    hops_per_window = count * tau * summary.hop_rate
    # Without a control the lags are the transient's: a short pilot only knows less of how walkers
    # scatter, and the walk has an error of its own.
    short = controlled and not pilot.complete
    reason = "max_hops ended the pilot before the diffusive regime" if short else ""
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
