"""The cell problem on CPU cores: conjugate gradients with vectors as in finest.py."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from morphion.exact import finest, vectors
from morphion.exact.conjugate import ConjugateGradients
from morphion.exact.multigrid import Multigrid
from morphion.transport.checks import require_memory
from morphion.transport.lattice import Lattice

# Four float64 vectors, five float32 ones on the finest lattice (b, the smoother's two, two chi),
# one chi being written, and nine float32 arrays on all coarse levels together.
BYTES_PER_SITE = 4 * 8 + 6 * 4 + 9 * 4 / 7


class CpuSolver:
    """Flexible conjugate gradients for A chi = f, one axis after another in the same memory."""

    def __init__(self, lattice: Lattice):
        require_memory(lattice.n, BYTES_PER_SITE, "the exact solver")
        self.total_weight = float(sum(plane.sum(dtype=np.float64) for plane in lattice.weight))
        self.b = finest.padded(lattice.b)
        self._iteration = ConjugateGradients(self.b, Multigrid(self.b))
        self.chi: list[np.ndarray | None] = [None] * 3
        self._partial = np.zeros(lattice.n)

    def _mean_bond(self, axis: int) -> float:
        """D_ee of chi = 0: the sum of the bonds along the axis over that of the weights."""
        zero = np.broadcast_to(np.float32(0), (*self.b.shape[:2], self.b.shape[0]))
        vectors.energy(self.b, zero, zero, axis, axis, self._partial)
        return self._partial.sum() / self.total_weight

    def solve(
        self,
        axis: int,
        relative_residual: float,
        max_iterations: int,
        report: Callable[[int, int, float], None] | None,
    ) -> tuple[np.ndarray, float]:
        """Find chi of one axis; return (history of D_ee, final relative residual)."""
        history, residual = self._iterate(axis, relative_residual, max_iterations, report)
        self.chi[axis] = np.empty((self.b.shape[0],) * 3, np.float32)
        vectors.store(self._iteration.x, self.chi[axis])
        return history, residual

    def _iterate(self, axis, relative_residual, max_iterations, report):
        found = self._iteration
        finest.right_hand_side(self.b, axis, found.r)
        found.start()
        scale, history = found.residual, [self._mean_bond(axis)]
        if scale == 0:
            return np.array(history), 0.0
        while found.residual > relative_residual * scale and len(history) <= max_iterations:
            lowered = found.step()
            if lowered is None:
                break
            history.append(history[-1] - lowered / self.total_weight)
            if report is not None:
                report(axis, len(history) - 1, found.residual / scale)
        finest.right_hand_side(self.b, axis, found.r)
        found.compare()
        return np.array(history), found.residual / scale

    def tensor(self, axes: Sequence[int]) -> np.ndarray:
        """Energies of the correctors, float64 [3, 3]; NaN for axes that were not solved."""
        chi = self.chi
        found = np.full((3, 3), np.nan)
        for e in axes:
            for f in axes:
                if e <= f:
                    vectors.energy(self.b, chi[e], chi[f], e, f, self._partial)
                    found[e, f] = found[f, e] = self._partial.sum() / self.total_weight
        return found

    def corrector(self, axis: int) -> np.ndarray:
        """chi of a solved axis in units of h, float32 [n, n, n]."""
        return self.chi[axis]


@cache
def compile_kernels() -> None:
    """Compile, or load from Numba's cache, everything that is timed."""
    # Two halves of different conductance, so that the iteration has something to do.
    field = np.ones((16, 16, 16), np.float32)
    field[:8] = 2.0
    solver = CpuSolver(Lattice(field, field, 1.0))
    solver.solve(0, 0.1, 2, None)
    solver.tensor([0])
