"""The matrix of a lattice's bonds, its inverse, and its connected parts.

The matrix A of :mod:`morphion.exact.finest` on plain [n, n, n] arrays, for solutions whose
right-hand side is not that of the cell problem. Every connected part of the lattice has a null
vector of its own, its constant.
"""

import numpy as np
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from morphion.exact import finest
from morphion.exact.conjugate import ConjugateGradients
from morphion.exact.multigrid import Multigrid
from morphion.transport.lattice import Lattice

_MAX_ITERATIONS = 100


class Bonds:
    """A lattice's matrix of bonds b_i b_j and its equilibrium weights.

    Attributes
    ----------
    lattice : Lattice
    weight : float64 [n, n, n]
        Equilibrium weight of the sites.
    total_weight : float
    """

    def __init__(self, lattice: Lattice):
        self.lattice = lattice
        self.weight = lattice.weight.astype(np.float64)
        self.total_weight = float(self.weight.sum())
        self.padded = finest.padded(lattice.b)
        self._open = lattice.b > 0
        self._part = components(self._open)
        part_weight = np.bincount(self._part.ravel(), self.weight.ravel())
        self._part_weight = np.where(part_weight > 0, part_weight, 1.0)
        self._preconditioner = Multigrid(self.padded)

    def times(self, x: np.ndarray) -> np.ndarray:
        """A x, float64 [n, n, n]."""
        product = np.zeros(self.padded.shape)
        finest.apply(self.padded, finest.padded(x), product, np.empty(self.lattice.n))
        return product[:, :, 1:-1].copy()

    def drift(self, axis: int) -> np.ndarray:
        """A chi of the corrector of an axis in units of h, float64 [n, n, n]."""
        f = np.zeros(self.padded.shape)
        finest.right_hand_side(self.padded, axis, f)
        return f[:, :, 1:-1].copy()

    def energy(self, psi: np.ndarray, axis: int) -> float:
        """D_ee of a trial corrector in units of h: never below the diffusivity."""
        b = self.lattice.b.astype(np.float64)
        bonds = np.vdot(b, np.roll(b, -1, axis))
        change = np.vdot(psi, self.times(psi)) - 2 * np.vdot(psi, self.drift(axis))
        return float((bonds + change) / self.total_weight)

    def solve(self, f: np.ndarray, relative_residual: float = 1e-6) -> np.ndarray:
        """Centred x with A x = f by flexible conjugate gradients.

        The sum of f over each connected part must vanish. The iteration ends at the relative
        residual, or after 100 steps.
        """
        iteration = ConjugateGradients(self.padded, self._preconditioner)
        iteration.r[:, :, 1:-1] = f
        iteration.start()
        enough = relative_residual * iteration.residual
        for _ in range(_MAX_ITERATIONS):
            if iteration.residual <= enough or iteration.step() is None:
                break
        return self.centred(iteration.x[:, :, 1:-1])

    def centred(self, x: np.ndarray) -> np.ndarray:
        """x less its equilibrium mean over each connected part; 0 where blocked."""
        mean = np.bincount(self._part.ravel(), (self.weight * x).ravel()) / self._part_weight
        return np.where(self._open, x - mean[self._part], 0.0)


def components(open_site: np.ndarray) -> np.ndarray:
    """Number of the connected part of every open site of a periodic lattice; 0 where blocked."""
    inside, count = label(open_site)
    pairs = np.concatenate(
        [
            np.stack([np.take(inside, 0, axis).ravel(), np.take(inside, -1, axis).ravel()])
            for axis in range(3)
        ],
        axis=1,
    )
    pairs = pairs[:, (pairs > 0).all(axis=0)]
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count + 1, count + 1))
    return connected_components(graph, directed=False)[1][inside]
