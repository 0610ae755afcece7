"""Long-time diffusivity of a lattice as the solution of a linear problem."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from morphion.exact import finest, vectors
from morphion.exact.multigrid import Multigrid
from morphion.transport.checks import require_memory
from morphion.transport.lattice import Lattice

# Four float64 vectors, five float32 ones on the finest lattice (b, the smoother's two, two chi),
# one chi being written, and nine float32 arrays on all coarse levels together.
BYTES_PER_SITE = 4 * 8 + 6 * 4 + 9 * 4 / 7


@dataclass(frozen=True)
class ExactSolution:
    """Solution of the cell problem; axes that were not asked for hold NaN.

    Attributes
    ----------
    tensor : float64 [3, 3]
        Diffusivity tensor in units of the solvent's diffusivity.
    diffusivity : float
        A third of its trace (NaN unless all three axes were solved).
    iterations : int [3]
        Conjugate-gradient iterations of each axis; 0 for an axis that was not asked for.
    relative_residual : float64 [3]
        Euclidean norm of the residual over that of the right-hand side, recomputed at the end.
    diffusivity_history : tuple of three float64 arrays
        D_ee after 0, 1, 2, ... iterations: an upper bound that falls to the solution.
    converged : bool
        Whether every axis reached the requested relative residual.
    seconds : float
        Wall time, without compilation of the kernels.
    chi : tuple of three float32 [n, n, n] arrays or None
        The periodic correctors in voxels, on request; None for an axis that was not asked for.
    """

    tensor: np.ndarray
    diffusivity: float
    iterations: np.ndarray
    relative_residual: np.ndarray
    diffusivity_history: tuple[np.ndarray, ...]
    converged: bool
    seconds: float
    chi: tuple[np.ndarray | None, ...] | None = None


class _AxisSolver:
    """Flexible conjugate gradients for A chi = f, one axis after another in the same memory."""

    def __init__(self, b: np.ndarray, total_weight: float):
        self.b, self.total_weight = b, total_weight
        self.preconditioner = Multigrid(b)
        self.x, self.r, self.p, self.q = (np.zeros(b.shape) for _ in range(4))
        self.partial = np.zeros(b.shape[0])
        self.partial_2 = np.zeros((b.shape[0], 2))

    def mean_bond(self, axis: int) -> float:
        """D_ee of chi = 0: the sum of the bonds along the axis over that of the weights."""
        zero = np.broadcast_to(np.float32(0), (*self.b.shape[:2], self.b.shape[0]))
        vectors.energy(self.b, zero, zero, axis, axis, self.partial)
        return self.partial.sum() / self.total_weight

    def solve(self, axis, relative_residual, max_iterations, report):
        """Solve one axis into ``x``; return (history of D_ee, final relative residual)."""
        b, x, r, p, q = self.b, self.x, self.r, self.p, self.q
        x[:] = 0
        p[:] = 0
        finest.right_hand_side(b, axis, r)
        scale = self._norm_of_r()
        history = [self.mean_bond(axis)]
        if scale == 0:
            return np.array(history), 0.0
        residual, alpha, previous = 1.0, 0.0, 1.0  # the first direction is z: beta = 0
        while residual > relative_residual and len(history) <= max_iterations:
            z = self.preconditioner(r)
            vectors.products(z, r, q, self.partial_2)
            with_r, with_q = self.partial_2.sum(axis=0)
            # Polak-Ribiere, as z is not a linear function of r; here r - r_before = -alpha q
            vectors.turn(p, z, -alpha * with_q / previous)
            finest.apply(b, p, q, self.partial)
            curvature = self.partial.sum()
            if not curvature > 0:
                break
            alpha, previous = with_r / curvature, with_r
            vectors.advance(x, r, p, q, alpha, self.partial)
            residual = np.sqrt(self.partial.sum()) / scale
            history.append(history[-1] - alpha * with_r / self.total_weight)
            if report is not None:
                report(axis, len(history) - 1, residual)
        return np.array(history), self._true_residual(axis) / scale

    def _norm_of_r(self) -> float:
        vectors.advance(self.x, self.r, self.p, self.q, 0.0, self.partial)
        return float(np.sqrt(self.partial.sum()))

    def _true_residual(self, axis: int) -> float:
        finest.right_hand_side(self.b, axis, self.r)
        self.p[:] = self.x
        self.p[:, :, 0] = self.p[:, :, -2]
        self.p[:, :, -1] = self.p[:, :, 1]
        finest.apply(self.b, self.p, self.q, self.partial)
        self.r -= self.q
        return self._norm_of_r()

    def tensor(self, axes: Sequence[int], chi: Sequence[np.ndarray | None]) -> np.ndarray:
        """Energies of the correctors, float64 [3, 3]; NaN for axes that were not solved."""
        found = np.full((3, 3), np.nan)
        for e in axes:
            for f in axes:
                if e <= f:
                    vectors.energy(self.b, chi[e], chi[f], e, f, self.partial)
                    found[e, f] = found[f, e] = self.partial.sum() / self.total_weight
        return found


@cache
def _compile() -> None:
    """Compile, or load from Numba's cache, everything that is timed."""
    solver = _AxisSolver(finest.padded(_SMALL), float(_SMALL.size))
    solver.solve(0, 0.1, 2, None)
    chi = np.empty(_SMALL.shape, np.float32)
    vectors.store(solver.x, chi)
    solver.tensor([0], [chi])


# Two halves of different conductance, so that the iteration has something to do.
_SMALL = np.ones((16, 16, 16), np.float32)
_SMALL[:8] = 2.0


def solve(
    lattice: Lattice,
    relative_residual: float = 1e-5,
    max_iterations: int = 500,
    axes: Sequence[int] = (0, 1, 2),
    report: Callable[[int, int, float], None] | None = None,
    return_chi: bool = False,
) -> ExactSolution:
    """Diffusivity tensor of a lattice, without statistical error.

    For each axis e the periodic chi is found with

        sum_j b_i b_j (chi_j - chi_i + h e.n_ij) = 0     for every open site i

    and the tensor is its energy,

        D_ef = sum over bonds b_i b_j (h e.n + d chi_e)(h f.n + d chi_f) / (h^2 sum_i pi_i)

    ==========  ==============================  ==========================================
    symbol      code                            meaning
    ==========  ==============================  ==========================================
    b_i         ``lattice.b``                   sqrt(D) exp(-U/2), 0 where blocked
    pi_i        ``lattice.weight``              equilibrium weight
    chi_e       ``chi[e]``                      corrector of axis e, periodic
    h           ``lattice.spacing``             lattice spacing
    D_ef        ``tensor[e, f]``                long-time diffusivity
    ==========  ==============================  ==========================================

    The energy of any trial chi is an upper bound, so that its error is of second order in that of
    chi: a relative residual of 1e-4 typically leaves 1e-6 in D. ``report(axis, iteration,
    relative residual)`` is called after every iteration. Results do not depend on the number of
    threads. Raises TransportError if the work vectors do not fit in memory.

    Source: periodic homogenisation of a reversible walk; Mercier, Slater & Guo, J. Chem. Phys.
    110, 6050 (1999); flexible conjugate gradients and the K-cycle: Notay &
    Vassilevski, Numer. Linear Algebra Appl. 15, 473 (2008), doi:10.1002/nla.542.
    """
    if not axes or not set(axes) <= {0, 1, 2}:
        raise ValueError(f"axes = {axes}: expected some of 0, 1, 2")
    require_memory(lattice.n, BYTES_PER_SITE, "the exact solver")
    _compile()
    start = time.perf_counter()
    total_weight = float(sum(plane.sum(dtype=np.float64) for plane in lattice.weight))
    solver = _AxisSolver(finest.padded(lattice.b), total_weight)
    iterations = np.zeros(3, int)
    residuals = np.full(3, np.nan)
    histories = [np.zeros(0)] * 3
    chi: list[np.ndarray | None] = [None] * 3
    for axis in axes:
        histories[axis], residuals[axis] = solver.solve(
            axis, relative_residual, max_iterations, report
        )
        iterations[axis] = len(histories[axis]) - 1
        chi[axis] = np.empty(lattice.b.shape, np.float32)
        vectors.store(solver.x, chi[axis])
    tensor = solver.tensor(axes, chi)
    if return_chi:
        for axis in axes:
            chi[axis] *= np.float32(lattice.spacing)
    return ExactSolution(
        tensor=tensor,
        diffusivity=float(np.trace(tensor) / 3),
        iterations=iterations,
        relative_residual=residuals,
        diffusivity_history=tuple(histories),
        converged=bool(np.all(residuals[list(axes)] <= relative_residual * 1.01)),
        seconds=time.perf_counter() - start,
        chi=tuple(chi) if return_chi else None,
    )
