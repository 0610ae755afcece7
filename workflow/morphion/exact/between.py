"""A function on the open sites of a coarse lattice, carried to a fine lattice of the same box."""

import numpy as np
from scipy.sparse import csr_array

_LAYERS = 3  # corners of the cell around a fine site are up to three faces from one another


def interpolated(x: np.ndarray, open_site: np.ndarray, n: int) -> np.ndarray:
    """Trilinear interpolation of x [m, m, m] to n^3 sites, float32 [n, n, n], periodic.

    Sites lie in the centres of their cells. A blocked coarse site (``open_site`` false) takes the
    mean of what its neighbours hold, layer by layer inwards.
    """
    value = _extended(x, open_site)
    matrix = _linear(x.shape[0], n)
    for _ in range(3):
        # Each turn brings the next axis to the front; three restore their order.
        value = (matrix @ value.reshape(matrix.shape[1], -1)).T
    return np.ascontiguousarray(value).reshape(n, n, n)


def _linear(m: int, n: int) -> csr_array:
    """Periodic linear interpolation from the centres of m cells to those of n, float32 [n, m]."""
    place = (np.arange(n) + 0.5) * m / n - 0.5
    below = np.floor(place).astype(int)
    share = place - below
    row = np.arange(n)
    entries = np.concatenate([1 - share, share]).astype(np.float32)
    columns = np.concatenate([below, below + 1]) % m
    return csr_array((entries, (np.concatenate([row, row]), columns)), shape=(n, m))


def _extended(x: np.ndarray, open_site: np.ndarray) -> np.ndarray:
    value, known = np.where(open_site, x, 0).astype(np.float32), open_site.copy()
    moves = [(shift, axis) for axis in range(3) for shift in (1, -1)]
    for _ in range(_LAYERS):
        count = sum(np.roll(known, *move).astype(np.float32) for move in moves)
        total = sum(np.roll(value, *move) for move in moves)
        new = ~known & (count > 0)
        value[new] = total[new] / count[new]
        known |= new
    return value
