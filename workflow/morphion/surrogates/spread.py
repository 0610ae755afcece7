"""How far a label may lie from a prediction: one standard deviation, fitted to a validation set.

What a network misses of a structure that hardly conducts is a larger share of its D* than what it
misses of one that conducts well, and it misses more of structures unlike those it was trained on.
Novelty does not show the noise of labels. The variance of label - prediction, relative to the
prediction, is therefore modelled as

    (spread / D*)^2 = D*^(2 c) (a^2 + (b s)^2)

with s the novelty of a structure to the network (``Surrogate3D.novelty``), and a, b and c the most
likely ones for normal errors, with a normal prior on c.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.optimize import minimize

from morphion.errors import SurrogateError

# Standard deviation of c before any structure is seen: a handful of them does not decide it. Below
# -1 the spread itself would grow as D* falls.
_EXPONENT, _LEAST, _MOST = 0.5, -1.0, 4.0
# Where the search for the share of novelty begins, as an angle from none of the spread to all of
# it: a small set may have an optimum at either end.
_STARTS = (0.2, 0.8, 1.4)

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Spread:
    """The model's a, b and c: ``relative`` is the share of D* where that is 1 and nothing is new,
    ``novelty`` what comes with it, ``exponent`` how both change with D*."""

    relative: _Share
    novelty: _Share = 0.0
    exponent: _Finite = 0.0

    def of(self, prediction: np.ndarray, novelty: np.ndarray) -> np.ndarray:
        """Standard deviations [S] of labels from predictions [S], in their unit, D*, for structures
        of a ``novelty`` [S]."""
        size = np.hypot(self.relative, self.novelty * novelty)
        return prediction ** (1 + self.exponent) * size


def fit_spread(label: np.ndarray, prediction: np.ndarray, novelty: np.ndarray) -> Spread:
    """The most likely spread if label - prediction is normal; arrays [S], the first two in D*.

    If ``novelty`` is 0 throughout, b is 0; if there are no errors, all is. Raises SurrogateError
    for a prediction that is no positive number.
    """
    if not (np.isfinite(prediction).all() and (prediction > 0).all()):
        raise SurrogateError(
            f"a validation structure is predicted D* = {prediction.min():g}; the network is of no "
            "use, and its spread cannot be told"
        )
    residual = (label - prediction) / prediction
    rms = float(np.sqrt(np.mean(residual**2)))
    new = float(np.sqrt(np.mean(novelty**2)))
    if rms == 0:
        return Spread(0.0)
    middle = float(np.log(prediction).mean())

    def at(values: np.ndarray) -> Spread:
        """From the logarithm of the size of a and b in the middle of the predictions, where c
        hardly changes it, c, and the angle."""
        size, exponent, angle = values
        size = math.exp(size - exponent * middle)
        b = size * math.sin(angle) / new if new > 0 else 0.0
        return Spread(size * math.cos(angle), b, float(exponent))

    def cost(values: np.ndarray) -> float:
        spread = at(values)
        share = spread.of(prediction, novelty) / prediction
        likely = np.mean(2 * np.log(share) + (residual / share) ** 2)
        return float(likely + (spread.exponent / _EXPONENT) ** 2 / len(residual))

    start = math.log(rms)
    bounds = [(start - 7, start + 7), (_LEAST, _MOST), (0.0, math.pi / 2 if new > 0 else 0.0)]
    settings = {"ftol": 1e-12, "gtol": 1e-8}
    found = [
        minimize(cost, (start, 0.0, angle), method="L-BFGS-B", bounds=bounds, options=settings)
        for angle in (_STARTS if new > 0 else (0.0,))
    ]
    return at(min(found, key=lambda one: one.fun).x)
