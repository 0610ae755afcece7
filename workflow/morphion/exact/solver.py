"""Long-time diffusivity of a lattice as the solution of a linear problem."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from morphion.exact import solver_cpu, solver_gpu
from morphion.exact.solver_cpu import CpuSolver
from morphion.exact.solver_gpu import GpuSolver
from morphion.gpu import CudaDevice
from morphion.transport.lattice import Lattice


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


def _compile(device: CudaDevice | None) -> None:
    """Compile, or load from a cache, everything that is timed."""
    if device is None:
        solver_cpu.compile_kernels()
    else:
        solver_gpu.compile_kernels(device)


def solve(
    lattice: Lattice,
    relative_residual: float = 1e-5,
    max_iterations: int = 500,
    axes: Sequence[int] = (0, 1, 2),
    report: Callable[[int, int, float], None] | None = None,
    return_chi: bool = False,
    device: CudaDevice | None = None,
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
    relative residual)`` is called after every iteration. The work is done on ``device``, on which
    the lattice's arrays may lie, or on CPU cores if it is None. Results do not depend on the
    number of threads and are the same in every run; a device and CPU cores add in different
    orders, which leaves relative differences of about 1e-12 in the tensor. Raises TransportError if
    the work vectors do not fit in memory, and DeviceMemoryError if they do not fit on the device.

    Source: periodic homogenisation of a reversible walk; Mercier, Slater & Guo, J. Chem. Phys.
    110, 6050 (1999); flexible conjugate gradients and the K-cycle: Notay &
    Vassilevski, Numer. Linear Algebra Appl. 15, 473 (2008), doi:10.1002/nla.542.
    """
    if not axes or not set(axes) <= {0, 1, 2}:
        raise ValueError(f"axes = {axes}: expected some of 0, 1, 2")
    _compile(device)
    start = time.perf_counter()
    engine = CpuSolver(lattice) if device is None else GpuSolver(lattice, device)
    iterations = np.zeros(3, int)
    residuals = np.full(3, np.nan)
    histories = [np.zeros(0)] * 3
    for axis in axes:
        histories[axis], residuals[axis] = engine.solve(
            axis, relative_residual, max_iterations, report
        )
        iterations[axis] = len(histories[axis]) - 1
    tensor = engine.tensor(axes)
    chi: list[np.ndarray | None] = [None] * 3
    if return_chi:
        for axis in axes:
            chi[axis] = engine.corrector(axis)
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
