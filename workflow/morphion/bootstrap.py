"""Bootstrap intervals over groups of structures that are independent of each other.

A generated structure is a group of its own. Those of one annealing run are near copies, and the
errors of a network on them alike: resampled one by one they would pass for as many measurements.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

_UPPER = 0.975  # of a two-sided interval of 95 %


def multiplicities(group: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """How often each structure [S] is in each resample, int64 [resamples, S].

    Whole groups are drawn, one less than there are G: so many have the variance over them that a
    mean over all G has over repetitions (Rao and Wu, J. Am. Stat. Assoc. 83, 231, 1988), where G
    drawn of G fall short by a share 1 / G. None is drawn of a single group.
    """
    names, member_of = np.unique(np.asarray(group), return_inverse=True)
    drawn = random.integers(len(names), size=(resamples, len(names) - 1))
    times = [np.bincount(draw, minlength=len(names)) for draw in drawn]
    return np.stack(times)[:, member_of.ravel()]


def interval(
    value: float | np.ndarray,
    resampled: np.ndarray,
    groups: int,
    bounds: Sequence[float] = (-np.inf, np.inf),
) -> tuple[np.ndarray, np.ndarray]:
    """95 % limits of ``value`` [...], found of ``groups`` groups, from that of resamples [R, ...].

    Percentiles, as much farther from the value as Student's t with ``groups`` - 1 degrees of
    freedom is wider than the normal distribution, but within ``bounds`` that the quantity cannot
    leave, and around the value: a correlation over all groups may be beyond that within each. NaN
    in resamples do not count; NaN where nothing is left, or of one group alone.
    """
    value = np.asarray(value, dtype=np.float64)
    resampled = np.asarray(resampled, dtype=np.float64)
    known = ~np.isnan(resampled).all(axis=0)
    limits = np.full((2, *value.shape), np.nan)
    if groups < 2 or not known.any():
        return limits[0], limits[1]
    percentiles = np.nanquantile(resampled[..., known], (1 - _UPPER, _UPPER), axis=0)
    wider = stdtrit(groups - 1, _UPPER) / ndtri(_UPPER)
    below, above = wider * (percentiles - value[known])
    reach = np.stack([np.minimum(below, 0), np.maximum(above, 0)])
    limits[:, known] = np.clip(value[known] + reach, *bounds)
    return limits[0], limits[1]
