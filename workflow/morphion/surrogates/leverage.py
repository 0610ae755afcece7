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

# Variance of a weight that nothing is known of, over that of one that all sensitivities tell of:
# directions that training structures have no share in shall not outweigh all others.
_RIDGE = 1e-3


def familiar_with(sensitivities: np.ndarray) -> np.ndarray:
    """What ``leverage`` needs of a training set, a lower triangle float32 [K, K], from its
    sensitivities [S, K]."""
    size = np.sqrt(np.mean(sensitivities**2, axis=0))
    inverse = np.where(size > 0, 1 / np.where(size > 0, size, 1), 0)
    scaled = sensitivities * inverse
    known = scaled.T @ scaled / len(scaled) + _RIDGE * np.eye(len(size))
    whitening = np.linalg.inv(np.linalg.cholesky(known)) * inverse
    mean = np.sqrt(np.mean(np.square(sensitivities @ whitening.T).sum(axis=1)))
    return (whitening / max(mean, 1e-30)).astype(np.float32)


def leverage(sensitivities: np.ndarray, familiar: np.ndarray) -> np.ndarray:
    """s float64 [S] of structures, in units of its root mean square over the training set; 0 where
    nothing was made ``familiar``."""
    return _norms(np.ascontiguousarray(sensitivities, np.float64), familiar)


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
def _norms(sensitivities, familiar):
    """|familiar F| of each structure; ``familiar`` is a lower triangle. Not by numpy, whose threads
    would stand in the way of the loops around this one while they wait for more."""
    found = np.zeros(len(sensitivities))
    for b in range(len(sensitivities)):
        for k in range(len(familiar)):
            part = 0.0
            for i in range(k + 1):
                part += familiar[k, i] * sensitivities[b, i]
            found[b] += part * part
        found[b] = np.sqrt(found[b])
    return found
