"""How well predictions agree with labels, each measure with its doubt."""

from collections.abc import Callable

import numpy as np

from morphion.bootstrap import interval, multiplicities
from morphion.errors import SurrogateError
from morphion.philox import generator

# Mean of |x| of a standard normal variable: what a perfect network scores against noisy labels.
_MEAN_ABSOLUTE_NORMAL = np.sqrt(2 / np.pi)

Measure = Callable[[np.ndarray, np.ndarray], float]


def mse(label: np.ndarray, prediction: np.ndarray) -> float:
    """Mean squared error (equation 4 of the paper) of float64 [S] arrays, in D*^2."""
    return float(np.mean((prediction - label) ** 2))


def mape(label: np.ndarray, prediction: np.ndarray) -> float:
    """Mean absolute percentage error (equation 5), in percent of the label."""
    return float(np.mean(np.abs((prediction - label) / label)) * 100)


def pearson(label: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's R; NaN if either array is constant or there are fewer than three different labels:
    any two lie on a line."""
    others = label[label != label[:1]]  # without sorting, for a thousand resamples
    if len(others) == 0 or np.ptp(others) == 0:
        return float("nan")
    x, y = label - np.mean(label), prediction - np.mean(prediction)
    norm = np.sqrt(np.dot(x, x) * np.dot(y, y))
    return float(np.dot(x, y) / norm) if norm > 0 else float("nan")


MEASURES: dict[str, Measure] = {"mse": mse, "mape": mape, "pearson": pearson}
_BOUNDS = {"pearson": (-1.0, 1.0)}  # of what is not bounded by 0 alone


def score(
    label: np.ndarray,
    prediction: np.ndarray,
    group: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """MSE, MAPE (%) and Pearson R with 95 % bootstrap intervals over groups.

    ``label`` and ``prediction`` [S] are D*; structures of one ``group`` [S] are not independent
    of each other. Keys: ``mse``, ``mse_low``, ``mse_high`` and likewise ``mape`` and ``pearson``.
    The intervals come of ``resamples`` resamples drawn from ``seed``
    (:mod:`morphion.bootstrap`). Raises SurrogateError if the arrays differ in length, are empty
    or hold a label that is not positive.
    """
    label, prediction = _checked(label, prediction)
    of_rows = {
        name: lambda rows, measure=measure: measure(label[rows], prediction[rows])
        for name, measure in MEASURES.items()
    }
    return _with_intervals(of_rows, group, resamples, seed)


def mape_evenly(
    label: np.ndarray,
    prediction: np.ndarray,
    group: np.ndarray,
    family: np.ndarray,
    *,
    bins: int,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """MAPE (%) with every family and, within it, every range of D* counting as much as another.

    ``bins`` equal ranges span the predictions of a family [S]; those without structures do not
    count. Keys: ``mape_even``, ``mape_even_low``, ``mape_even_high``, as ``score`` has them; the
    ranges and weights are the same in every resample.
    """
    label, prediction = _checked(label, prediction)
    weight = np.zeros(len(label))
    for name in np.unique(family):
        rows = np.flatnonzero(family == name)
        edges = np.histogram_bin_edges(prediction[rows], bins)
        place = np.clip(np.searchsorted(edges, prediction[rows], side="right") - 1, 0, bins - 1)
        count = np.bincount(place, minlength=bins)
        weight[rows] = 1 / (count[place] * np.count_nonzero(count))
    error = 100 * np.abs((prediction - label) / label)
    of_rows = {"mape_even": lambda rows: float(np.average(error[rows], weights=weight[rows]))}
    return _with_intervals(of_rows, group, resamples, seed)


def _with_intervals(
    measures: dict[str, Callable[[np.ndarray], float]],
    group: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, float]:
    """Measures of all rows with their 95 % intervals over resamples of the groups they are of."""
    every, groups = np.arange(len(group)), len(np.unique(group))
    times = multiplicities(group, resamples, generator(seed, "bootstrap"))
    draws = [np.repeat(every, each) for each in times] if groups > 1 else []
    found: dict[str, float] = {}
    for name, measure in measures.items():
        value = measure(every)
        resampled = np.array([measure(rows) for rows in draws])
        low, high = interval(value, resampled, groups, _BOUNDS.get(name, (0.0, np.inf)))
        found |= {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def coverage(label: np.ndarray, prediction: np.ndarray, spread: np.ndarray) -> dict[str, float]:
    """Share of labels within 1 and 1.96 spreads of the prediction; 0.683 and 0.950 if calibrated.

    Arrays [S] in D*. Keys: ``coverage_68``, ``coverage_95``; ``coverage_68_least`` and
    ``coverage_68_most``, the former over the thirds of the structures by prediction: what is right
    on average may be too narrow for the worst conductors and too wide for the best.
    """
    label, prediction = _checked(label, prediction)
    distance, spread = np.abs(prediction - label), np.asarray(spread)
    within = distance <= spread
    thirds = np.array_split(within[np.argsort(prediction, kind="stable")], min(3, len(within)))
    shares = [float(np.mean(part)) for part in thirds]
    return {
        "coverage_68": float(np.mean(within)),
        "coverage_95": float(np.mean(distance <= 1.96 * spread)),
        "coverage_68_least": min(shares),
        "coverage_68_most": max(shares),
    }


def mape_noise_floor(label: np.ndarray, label_stderr: np.ndarray) -> float:
    """MAPE (%) that a perfect network has because labels scatter by their standard errors.

    For normal errors it is sqrt(2/pi) = 0.80 times the mean relative standard error.
    """
    return float(_MEAN_ABSOLUTE_NORMAL * np.mean(np.asarray(label_stderr) / label) * 100)


def _checked(label: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label = np.asarray(label, dtype=np.float64)
    prediction = np.asarray(prediction, dtype=np.float64)
    if label.shape != prediction.shape or label.ndim != 1 or len(label) == 0:
        raise SurrogateError(
            f"labels of shape {list(label.shape)} and predictions of shape "
            f"{list(prediction.shape)} cannot be compared; both must be [S] with S >= 1"
        )
    if not (label > 0).all():
        index = int(np.argmin(label > 0))
        raise SurrogateError(f"label {index} is {label[index]}: a scored label must be positive")
    return label, prediction
