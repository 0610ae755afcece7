"""How unlike its training set a structure is to a network: the leverage of its sensitivities.

A prediction's sensitivities F are the derivatives of ln D* with respect to weights of the network.
If these are known as well as a training set with sensitivities F_s can tell them, the variance of
ln D* is proportional to the structure's leverage,

    s^2 = F (sum_s F_s F_s^T)^-1 F^T

(the Laplace approximation of the last layers: MacKay, doi:10.1162/neco.1992.4.3.448). It grows
where a structure hangs on what training structures hardly had a share in.
"""

import numpy as np
from numba import njit

# Added to the mean squares of scaled sensitivities: what no training structure hangs on shall not
# outweigh all the rest.
_RIDGE = 1e-3
_LOOPS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "reassoc"}}


def familiar_with(sensitivities: np.ndarray) -> np.ndarray:
    """What ``leverage`` needs of a training set, a lower triangle float32 [K, K], from its
    sensitivities [S, K]."""
    size = np.sqrt(np.mean(sensitivities**2, axis=0))
    inverse = np.where(size > 0, 1 / np.where(size > 0, size, 1), 0)
    scaled = sensitivities * inverse
    # einsum and loops instead of linear algebra, whose last digits depend on its threads.
    known = np.einsum("sk,sl->kl", scaled, scaled) / len(scaled) + _RIDGE * np.eye(len(size))
    whitening = _inverse_of_root(known) * inverse
    mean = np.sqrt(np.mean(leverage(sensitivities, whitening.astype(np.float32)) ** 2))
    return (whitening / max(mean, 1e-30)).astype(np.float32)


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
