"""From walkers' curves to the diffusivity and its standard error.

Walkers are independent and identically distributed, and the estimate is the mean over walkers of
a fixed linear functional of each one's curve (``weights``). Its standard error is therefore the
standard deviation between walkers over the root of their number: no correlation between points
or time origins of a curve needs to be modelled.
"""

import math
from dataclasses import dataclass

import numpy as np

from morphion.kmc.curves import COMPONENTS


@dataclass(frozen=True)
class Diffusivity:
    """Long-time diffusivity with true standard errors (solvent = 1).

    Parameters
    ----------
    tensor, tensor_stderr : float64 arrays of shape [3, 3]
        Symmetric; standard error of each component.
    mean, stderr : float
        Third of the trace, and its standard error from the walkers' traces (the components of one
        walker are correlated, so their errors do not add up to it).
    """

    tensor: np.ndarray
    tensor_stderr: np.ndarray
    mean: float
    stderr: float


def diffusivity(slopes: np.ndarray) -> Diffusivity:
    """Diffusivity from each walker's own estimate of (xx, yy, zz, xy, xz, yz), [walkers, 6]."""
    component_mean, component_stderr = mean_and_stderr(slopes)
    mean, stderr = mean_and_stderr(slopes[:, :3].mean(axis=1))
    return Diffusivity(
        tensor=_symmetric(component_mean),
        tensor_stderr=_symmetric(component_stderr),
        mean=float(mean),
        stderr=float(stderr),
    )


def mean_and_stderr(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over walkers (axis 0) and its standard error.

    The error of few walkers is itself uncertain: mean over error follows Student's t. It is
    widened to the standard deviation of t, so that z has unit variance at any number from 4 on.
    """
    count = values.shape[0]
    student = math.sqrt((count - 1) / (count - 3)) if count > 3 else math.inf
    return values.mean(axis=0), student * values.std(axis=0, ddof=1) / math.sqrt(count)


def _symmetric(components: np.ndarray) -> np.ndarray:
    tensor = np.empty((3, 3))
    for value, (row, column) in zip(components, COMPONENTS, strict=True):
        tensor[row, column] = tensor[column, row] = value
    return tensor
