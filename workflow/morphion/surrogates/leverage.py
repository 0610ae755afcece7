"""How unlike its training set a structure is to a network: the leverage of its sensitivities.

A prediction's sensitivities F, a row, are the derivatives of ln D* with respect to some weights of
the network. If these are known as well as a training set with sensitivities F_t can tell them, the
variance of ln D* is proportional to the structure's leverage,

    s^2 = F (sum_t F_t^T F_t)^-1 F^T

(the Laplace approximation for these weights: MacKay, doi:10.1162/neco.1992.4.3.448). It grows where
a structure depends on what contributed little in training.
"""

import numpy as np
from numba import njit

from morphion.errors import SurrogateError

# Added to the mean squares of scaled sensitivities: directions that no training structure has a
# share in shall not outweigh all the rest.
_RIDGE = 1e-3
# Sensitivities are shares of the whole: smaller ones are scaled as if they were this large, or what
# is left of a Gaussian's tail would decide.
_SMALLEST = 1e-3
_LOOPS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "reassoc"}}


def familiar_with(sensitivities: np.ndarray) -> np.ndarray:
    """What ``leverage`` needs of a training set, a lower triangle float32 [K, K], from its
    sensitivities [S, K]. Raises SurrogateError unless these are numbers."""
    if not np.isfinite(sensitivities).all():
        raise SurrogateError(
            "the network finds no sound conductances for some structures of its training set"
        )
    whitening = whitening_of(sensitivities, _RIDGE)
    mean = np.sqrt(np.mean(leverage(sensitivities, whitening.astype(np.float32)) ** 2))
    return (whitening / max(mean, 1e-30)).astype(np.float32)


def whitening_of(sensitivities: np.ndarray, ridge: float) -> np.ndarray:
    """A lower triangle W float64 [K, K] of sensitivities F [S, K], W^T W the inverse of
    F^T F / S + ridge diag(f_k^2), where f_k is the root mean square of column k."""
    inverse = 1 / np.hypot(np.sqrt(np.mean(sensitivities**2, axis=0)), _SMALLEST)
    scaled = sensitivities * inverse
    # einsum and loops instead of linear algebra, whose last digits depend on its threads.
    known = np.einsum("sk,sl->kl", scaled, scaled) / len(scaled) + ridge * np.eye(len(inverse))
    return _inverse_of_root(known) * inverse


def leverage(sensitivities: np.ndarray, familiar: np.ndarray) -> np.ndarray:
    """s float64 [S] of structures, in units of its root mean square over the training set; 0 where
    nothing was made ``familiar``."""
    return _norms(np.ascontiguousarray(sensitivities, np.float64), familiar)


@njit(**_LOOPS)
def _inverse_of_root(matrix):
    """Inverse of the lower triangle L of a positive matrix L L^T."""
    order = len(matrix)
    root, inverse = np.zeros((order, order)), np.zeros((order, order))
    for i in range(order):
        for j in range(i + 1):
            left = matrix[i, j]
            for k in range(j):
                left -= root[i, k] * root[j, k]
            root[i, j] = np.sqrt(left) if i == j else left / root[j, j]
    for j in range(order):
        for i in range(j, order):
            left = 1.0 if i == j else 0.0
            for k in range(j, i):
                left -= root[i, k] * inverse[k, j]
            inverse[i, j] = left / root[i, i]
    return inverse


@njit(**_LOOPS)
def _norms(sensitivities, familiar):
    """|familiar F| of each structure; ``familiar`` is a lower triangle. Numpy's threads would stand
    in the way of other loops while they wait for more."""
    found = np.zeros(len(sensitivities))
    for b in range(len(sensitivities)):
        for k in range(len(familiar)):
            part = 0.0
            for i in range(k + 1):
                part += familiar[k, i] * sensitivities[b, i]
            found[b] += part * part
        found[b] = np.sqrt(found[b])
    return found
