"""Whether z values are those of true labels: three checks that share one false-alarm rate.

For true labels z = (D - D_exact) / stderr has mean 0 and standard deviation 1. Labels go wrong in
three ways, and each has its check: a single one is far off (largest |z|), all are shifted (mean z),
or their errors are too small or too large (root mean square of z).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import chi2, norm, t

_FARTHEST = 1e-300  # tail probability beyond which scores grow no more; |score| = 37


@dataclass(frozen=True)
class Check:
    """A quantity that true labels keep within ``low`` and ``high``."""

    name: str
    value: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        name = self.name.replace("_", " ")
        return f"{name} = {self.value:.3g} (limits {self.low:.3g} and {self.high:.3g})"


def normal_scores(z: np.ndarray, walkers: np.ndarray) -> np.ndarray:
    """z of kMC labels carried over to normal variates; float64 [structures], NaN where z is.

    The standard error of M walkers is the sample's, widened so that z has unit variance
    (``kmc.estimator.mean_and_stderr``): z sqrt((M-1)/(M-3)) follows Student's t with M - 1 degrees
    of freedom. Its tails are heavier than the normal ones and would set off the test of the
    largest |z|; the score is the normal variate with the same tail probability.
    """
    z = np.asarray(z, float)
    freedom = np.maximum(np.asarray(walkers, float) - 1, 3)
    tail = t.sf(np.abs(z) * np.sqrt(freedom / (freedom - 2)), freedom)
    return np.sign(z) * norm.isf(np.clip(tail, _FARTHEST, 0.5))


def false_alarm(sigma: float) -> float:
    """Probability that a normal variate lies more than ``sigma`` off: 0.0027 for 3."""
    return float(2 * norm.sf(sigma))


def score_checks(scores: np.ndarray, sigma: float) -> tuple[Check, ...]:
    """Checks of m normal scores [structures], m >= 1.

    Each has a third of the probability alpha of ``false_alarm(sigma)``, so that a set of true
    labels fails any of them with at most alpha (Bonferroni), whatever m. With a = alpha / 3:

    =============  =========================================================================
    ``largest_z``  largest |z|: at most the two-sided quantile of 1 - (1 - a)^(1/m) (Sidak)
    ``mean_z``     at most the two-sided quantile of a over sqrt(m), either way
    ``rms_z``      m rms^2 between the quantiles a/2 and 1 - a/2 of chi^2 with m degrees
    =============  =========================================================================
    """
    values = (np.abs(scores).max(), np.mean(scores), np.sqrt(np.mean(np.square(scores))))
    limits = _limits(len(scores), sigma)
    return tuple(
        Check(name, float(value), *limits[name])
        for name, value in zip(("largest_z", "mean_z", "rms_z"), values, strict=True)
    )


@cache
def _limits(m: int, sigma: float) -> dict[str, tuple[float, float]]:
    level = false_alarm(sigma) / 3
    of_one = -np.expm1(np.log1p(-level) / m)
    farthest, shift = norm.isf(of_one / 2), norm.isf(level / 2) / np.sqrt(m)
    least, most = np.sqrt(chi2.ppf([level / 2, 1 - level / 2], m) / m)
    return {
        "largest_z": (0.0, float(farthest)),
        "mean_z": (-float(shift), float(shift)),
        "rms_z": (float(least), float(most)),
    }
