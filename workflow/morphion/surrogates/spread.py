"""How far a label may lie from a prediction: one standard deviation, fitted to a validation set.

What a network misses of a structure that hardly conducts is a larger share of its D* than what it
misses of one that conducts well, and it misses more of structures unlike those it was trained on;
the noise of labels no novelty shows. The variance of label - prediction, relative to the
prediction, is therefore modelled as

    (spread / D*)^2 = D*^(2 c) (a^2 + (b s)^2)

with s the novelty of a structure to the network (``Surrogate3D.novelty``), and a, b and c those of
the largest likelihood.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

# Standard deviation of c before any structure is seen: a handful of them does not decide it. Below
# -1 the spread itself would grow as D* falls.
_EXPONENT, _LEAST = 0.5, -1.0
_NO_SHARE = 7.0  # a part of the spread e^7 times smaller than the errors is as good as none


@dataclass(frozen=True)
class Spread:
    """a, b and c of the model: ``relative`` where D* = 1 and nothing is new, ``novelty`` and
    ``exponent``."""

    relative: float
    novelty: float = 0.0
    exponent: float = 0.0

    def of(self, prediction: np.ndarray, novelty: np.ndarray) -> np.ndarray:
        """Standard deviations [S] of labels from predictions [S], in their unit, D*, for structures
        of a ``novelty`` [S]."""
        size = np.hypot(self.relative, self.novelty * novelty)
        return prediction ** (1 + self.exponent) * size


def fit_spread(label: np.ndarray, prediction: np.ndarray, novelty: np.ndarray) -> Spread:
    """The spread of the largest likelihood if label - prediction is normal; arrays [S] in D*.

    Where ``novelty`` is 0 throughout so is its share of the spread; without any error all of it is.
    """
    residual = (label - prediction) / prediction
    rms = float(np.sqrt(np.mean(residual**2)))
    size = float(np.sqrt(np.mean(novelty**2)))
    if rms == 0:
        return Spread(0.0)
    logarithm = np.log(prediction)
    middle = float(logarithm.mean())
    alone = size == 0

    def at(values: np.ndarray) -> Spread:
        """From ln a, c and ln b, a in the middle of the predictions, where c hardly changes it."""
        a, exponent = np.exp(values[0]), values[1]
        b = 0.0 if alone else np.exp(values[2])
        scale = np.exp(-exponent * middle)
        return Spread(float(a * scale), float(b * scale), float(exponent))

    def cost(values: np.ndarray) -> float:
        spread = at(values)
        share = spread.of(prediction, novelty) / prediction
        likely = np.mean(2 * np.log(share) + (residual / share) ** 2)
        return float(likely + (spread.exponent / _EXPONENT) ** 2 / len(residual))

    half = rms / np.sqrt(2)
    start = [np.log(rms), 0.0] if alone else [np.log(half), 0.0, np.log(half / size)]
    settings = {"xatol": 1e-5, "fatol": 1e-9, "maxiter": 4000, "maxfev": 4000}
    bounds = [(log - _NO_SHARE, None) for log in start]
    bounds[1] = (_LEAST, None)
    found = minimize(cost, start, method="Nelder-Mead", bounds=bounds, options=settings)
    return at(found.x)
