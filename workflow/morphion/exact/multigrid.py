"""Aggregation multigrid for the cell problem: the preconditioner of the conjugate gradients.

Aggregates are 2 x 2 x 2 sites (fewer at the wrap of an odd n) and interpolation is constant on
them. Their bonds are the sums over the faces they share, scaled by the distances of centres: a
constant interpolation overestimates the energy of a smooth function by just this ratio.
"""

from collections.abc import Sequence

import numpy as np
from numba import get_num_threads, njit, set_num_threads

from morphion.exact import coarse, finest, vectors

COARSEST = 6  # sites along the edge of the level that is solved directly
# Chebyshev polynomials of the fourth kind for a spectrum in [0, 2], which D^-1 A of a conductance
# network always has: (weight, momentum) of each step; Lottes, arXiv:2202.08830 (2022).
CHEBYSHEV = ((2 / 3, 0.0), (6 / 5, 1 / 5))
SHIFT = 1e-7  # added to the coarsest matrix, whose scaled eigenvalues lie in [0, 2]
SERIAL = 40  # a level of fewer sites an edge costs less on one thread than waking the others


def coarsen(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the aggregates along an axis, and the scale of the bond from each to its next."""
    starts = np.arange(0, len(lengths), 2)
    merged = np.add.reduceat(lengths, starts)
    last = np.minimum(starts + 1, len(lengths) - 1)
    following = np.append(starts[1:], 0)
    return merged, (lengths[last] + lengths[following]) / (merged + np.roll(merged, -1))


class Level:
    """Bonds and work vectors of one coarse level, float32 [m, m, m + 2]."""

    def __init__(self, size: int):
        shape = (size, size, size + 2)
        self.wx, self.wy, self.wz, self.inverse = (np.zeros(shape, np.float32) for _ in range(4))
        self.r, self.x, self.y = (np.zeros(shape, np.float32) for _ in range(3))
        self.c, self.v = (np.zeros(shape, np.float32) for _ in range(2))
        self.partial = np.zeros(size)
        self.partial_2 = np.zeros((size, 2))
        self.size = size

    @property
    def bonds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(wx, wy, wz)."""
        return self.wx, self.wy, self.wz

    def finish(self) -> None:
        """Complete the level once its bonds are known."""
        for w in self.bonds:
            coarse.wrap(w)
        coarse.inverse_diagonal(*self.bonds, self.inverse)


@njit(cache=True)
def _inverse(matrix):
    """Inverse of a symmetric positive definite matrix by Gauss-Jordan elimination.

    Not LAPACK's, whose last bits depend on the number of its threads.
    """
    size = matrix.shape[0]
    result = np.eye(size)
    for pivot in range(size):
        scale = 1.0 / matrix[pivot, pivot]
        matrix[pivot] *= scale
        result[pivot] *= scale
        for row in range(size):
            if row != pivot:
                factor = matrix[row, pivot]
                matrix[row] -= factor * matrix[pivot]
                result[row] -= factor * result[pivot]
    return result


def direct(bonds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Square root of the inverse diagonal, and inverse of the so scaled coarsest matrix.

    bonds: wx, wy and wz [m, m, m], to the next site along each axis. Returns float64 [m^3] and
    [m^3, m^3]. Every open component has a null vector of its own. A small shift makes the matrix
    definite; it turns rounding errors into multiples of the null vectors, which the finest matrix
    ignores.
    """
    m = len(bonds[0])
    index = np.arange(m**3).reshape(m, m, m)
    matrix = np.zeros((m**3, m**3))
    for axis, w in enumerate(bonds):
        bond = w.astype(np.float64).ravel()
        here, there = index.ravel(), np.roll(index, -1, axis).ravel()
        np.add.at(matrix, (here, here), bond)
        np.add.at(matrix, (there, there), bond)
        np.add.at(matrix, (here, there), -bond)
        np.add.at(matrix, (there, here), -bond)
    diagonal = matrix.diagonal()
    root = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1)), 0)
    return root, _inverse(root[:, None] * matrix * root + SHIFT * np.eye(m**3))


class Multigrid:
    """One K-cycle per call on the matrix of :mod:`morphion.exact.finest`.

    On every coarse level two cycles are combined by conjugate gradients, which makes the iteration
    count nearly independent of n and of the contrast. The preconditioner is then not linear, so
    the outer conjugate gradients must be flexible.
    """

    def __init__(self, b: np.ndarray):
        self.b = b
        self.x = np.zeros(b.shape, np.float32)
        self.y = np.zeros(b.shape, np.float32)
        self.levels: list[Level] = []
        lengths = np.ones(b.shape[0])
        while len(lengths) > COARSEST:
            lengths, scale = coarsen(lengths)
            level = Level(len(lengths))
            if self.levels:
                coarse.coarse_bonds(*self.levels[-1].bonds, scale, *level.bonds)
            else:
                finest.coarse_bonds(b, scale, *level.bonds)
            level.finish()
            self.levels.append(level)
        self.root, self.inverse = direct([w[:, :, 1:-1] for w in self.levels[-1].bonds])

    def __call__(self, r: np.ndarray) -> np.ndarray:
        """Approximate A^-1 r, float32 [n, n, n + 2], valid until the next call; r: float64."""
        x, y = self.x, self.y
        finest.first_sweep(self.b, r, x, CHEBYSHEV[0][0])
        keep = 0.0
        for weight, momentum in CHEBYSHEV[1:]:
            finest.sweep(self.b, r, x, y, weight, momentum, keep)
            x, y, keep = y, x, 1.0
        finest.restrict_residual(self.b, r, x, self.levels[0].r)
        self._solve(0)
        coarse.add_prolonged(x, self.levels[0].c)
        for weight, momentum in CHEBYSHEV:
            finest.sweep(self.b, r, x, y, weight, momentum, 1.0)
            x, y = y, x
        return x

    def _solve(self, depth: int) -> None:
        """Approximate the solution of level ``depth`` for its r into its c; r is spent."""
        level = self.levels[depth]
        threads = get_num_threads()
        if level.size <= SERIAL:
            set_num_threads(1)
        if depth == len(self.levels) - 1:
            right = self.root * level.r[:, :, 1:-1].ravel()
            solution = self.root * np.einsum("ij,j->i", self.inverse, right)
            level.c[:, :, 1:-1] = solution.reshape((level.size,) * 3)
            coarse.wrap(level.c)
        else:
            self._two_cycles(depth)
        set_num_threads(threads)

    def _two_cycles(self, depth: int) -> None:
        """The best combination, in energy, of two cycles on ``depth``."""
        level = self.levels[depth]
        r, c, v = level.r, level.c, level.v
        c[:] = self._cycle(depth)
        coarse.apply(*level.bonds, c, v, level.partial)
        energy_1 = level.partial.sum()
        if not energy_1 > 0:
            return
        vectors.products(c, r, v, level.partial_2)
        step_1 = level.partial_2[:, 0].sum() / energy_1
        coarse.combine(r, 1.0, v, -step_1, r)
        x = self._cycle(depth)
        spare = level.x if x is level.y else level.y
        coarse.apply(*level.bonds, x, spare, level.partial)
        energy_2 = level.partial.sum()
        vectors.products(x, r, v, level.partial_2)
        with_r, overlap = level.partial_2.sum(axis=0)
        independent = energy_2 - overlap * overlap / energy_1
        step_2 = with_r / independent if independent > 1e-6 * energy_2 else 0.0
        coarse.combine(c, step_1 - overlap / energy_1 * step_2, x, step_2, c)

    def _cycle(self, depth: int) -> np.ndarray:
        """Smoothing, the next level and smoothing for the r of ``depth``; returns its x or y."""
        level, below = self.levels[depth], self.levels[depth + 1]
        x, y = level.x, level.y
        coarse.first_sweep(level.inverse, level.r, x, CHEBYSHEV[0][0])
        keep = 0.0
        for weight, momentum in CHEBYSHEV[1:]:
            coarse.sweep(*level.bonds, level.inverse, level.r, x, y, weight, momentum, keep)
            x, y, keep = y, x, 1.0
        coarse.restrict_residual(*level.bonds, level.r, x, below.r)
        self._solve(depth + 1)
        coarse.add_prolonged(x, below.c)
        for weight, momentum in CHEBYSHEV:
            coarse.sweep(*level.bonds, level.inverse, level.r, x, y, weight, momentum, 1.0)
            x, y = y, x
        return x
