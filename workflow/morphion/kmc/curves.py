"""Each walker's time-averaged displacement products: the only thing kept of a walk."""

from dataclasses import dataclass

import numpy as np
from numba import int64, njit

from morphion.kmc.weights import LAGS
from morphion.threads import in_parts

COMPONENTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Curves:
    """Displacement products of walkers, averaged over all time origins of each.

    Parameters
    ----------
    products : float64 array of shape [walkers, 32, 6]
        Products (xx, yy, zz, xy, xz, yz) of the displacements over 1 ... 32 sampling intervals, in
        squared lattice spacings; the sums over origins are exact integers.
    """

    products: np.ndarray

    @property
    def msd(self) -> np.ndarray:
        """Mean squared displacement of every walker, [walkers, 32], squared lattice spacings."""
        return self.products[:, :, :3].sum(axis=2)

    def slopes(self, weights: np.ndarray) -> np.ndarray:
        """Growth of the products in a sampling interval, [walkers, 6], by weights [32]."""
        return np.einsum("k,wkc->wc", weights, self.products)


def curves(displacements: np.ndarray, threads: int, units: int = 1) -> Curves:
    """Curves of walks with displacements int32 [walkers, samples, 3], samples >= 32.

    ``units``, a power of two: of a displacement in a lattice spacing.
    """
    products = np.empty((displacements.shape[0], LAGS, len(COMPONENTS)))

    def part(low: int, high: int) -> None:
        _products(displacements[low:high], products[low:high])

    in_parts(part, displacements.shape[0], threads)
    return Curves(products / units**2)


@njit(cache=True, nogil=True)
def _products(displacements, products):
    samples = displacements.shape[1]
    # Times by component, starting with the origin, so that the inner loop runs over memory.
    position = np.zeros((3, samples + 1), np.int64)
    for w in range(displacements.shape[0]):
        for axis in range(3):
            for t in range(samples):
                position[axis, t + 1] = displacements[w, t, axis]
        for lag in range(1, products.shape[1] + 1):
            xx = yy = zz = xy = xz = yz = int64(0)
            for t in range(samples + 1 - lag):
                x = position[0, t + lag] - position[0, t]
                y = position[1, t + lag] - position[1, t]
                z = position[2, t + lag] - position[2, t]
                xx += x * x
                yy += y * y
                zz += z * z
                xy += x * y
                xz += x * z
                yz += y * z
            origins = samples + 1 - lag
            products[w, lag - 1, 0] = xx / origins
            products[w, lag - 1, 1] = yy / origins
            products[w, lag - 1, 2] = zz / origins
            products[w, lag - 1, 3] = xy / origins
            products[w, lag - 1, 4] = xz / origins
            products[w, lag - 1, 5] = yz / origins
