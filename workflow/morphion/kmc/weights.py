"""Weights with which points of a mean squared displacement curve give the diffusivity.

The long-time motion of a walker is a martingale plus a bounded stationary part, so that beyond the
relaxation time of the lattice MSD(t) = 6 D t + c. The slope is a fixed linear functional
sum_k w_k MSD(t_k), with sum_k w_k = 0 (any intercept c) and sum_k w_k t_k = 1.
Generalised least squares chooses the w_k of least variance under the covariance that the points of
one curve, averaged over all time origins, have for a Gaussian process with this MSD (each
dimension: displacements x_i, increments of covariance C),

    cov(k, l) = 2 sum_ij C(x_(i+k) - x_i, x_(j+l) - x_j)^2 / (N_k N_l).

The weights are unbiased whatever the true covariance is; the standard error never uses this model.

Source for the covariance: Qian, Sheetz & Elson, Biophys. J. 60, 910 (1991),
doi:10.1016/S0006-3495(91)82125-7; Michalet, Phys. Rev. E 82, 041914 (2010),
doi:10.1103/PhysRevE.82.041914.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

LAGS = 32  # points of every MSD curve
LAGS_PER_WINDOW_START = 8  # tau, the shortest lag of the fit, is this many sampling intervals
_MODELLED_SAMPLES = 1024  # beyond, weights stay and the variance falls as 1/duration


@dataclass(frozen=True)
class SlopeWeights:
    """Weights of a slope and what the Gaussian model expects of it.

    Parameters
    ----------
    weights : float64 array of shape [32]
        On the MSD at 1 ... 32 sampling intervals; the sum is the slope per sampling interval.
    relative_variance : float
        Of the slope of a single walker's MSD in three dimensions, by the model.
    """

    weights: np.ndarray
    relative_variance: float


def slope_weights(samples: int, intercept: float, first_lag: int) -> SlopeWeights:
    """GLS weights on the lags first_lag ... 32 for walks of ``samples`` sampling intervals.

    ``intercept`` is c / (6 D dt), the MSD's intercept over its growth in a sampling interval dt.
    """
    lags = np.arange(first_lag, LAGS + 1)
    modelled = min(samples, _MODELLED_SAMPLES)
    covariance = _curve_covariance(lags, modelled, max(intercept, 0.0))
    design = np.stack([np.ones(lags.size), lags.astype(np.float64)], axis=1)
    whitened = np.linalg.solve(covariance, design)
    information_inverse = np.linalg.inv(design.T @ whitened)
    weights = np.zeros(LAGS)
    weights[first_lag - 1 :] = (whitened @ information_inverse)[:, 1]
    return SlopeWeights(weights, float(information_inverse[1, 1]) / 3 * modelled / samples)


@njit(cache=True)
def _increment_msd(lag, intercept):
    return 0.0 if lag == 0 else abs(lag) + intercept


@njit(cache=True)
def _curve_covariance(lags, samples, intercept):
    """Covariance of one dimension's time-averaged MSD at ``lags``; MSD in units of 2 D dt."""
    covariance = np.empty((lags.size, lags.size))
    for a in range(lags.size):
        for b in range(a + 1):
            k, m = lags[a], lags[b]
            origins_k, origins_m = samples - k + 1, samples - m + 1
            total = 0.0
            for shift in range(1 - origins_k, origins_m):
                pairs = min(origins_k, origins_m - shift) - max(0, -shift)
                increments = 0.5 * (
                    _increment_msd(shift + m, intercept)
                    + _increment_msd(k - shift, intercept)
                    - _increment_msd(shift, intercept)
                    - _increment_msd(shift + m - k, intercept)
                )
                total += pairs * increments**2
            covariance[a, b] = covariance[b, a] = 2 * total / (origins_k * origins_m)
    return covariance
