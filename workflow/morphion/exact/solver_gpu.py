"""The cell problem on a device; the algorithm of :mod:`morphion.exact.solver_cpu`.

The scalars of the conjugate gradients stay on the device; an iteration waits for it once, to read
the residual.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from morphion.errors import TransportError
from morphion.exact.multigrid import direct
from morphion.exact.multigrid_gpu import FIELDS, KERNELS, THREADS, Multigrid, grid
from morphion.gpu import CudaDevice
from morphion.transport.lattice import Lattice

# Four float64 vectors, six float32 ones (s, z, one of the smoother, three chi), and the coarse
# levels. An uploaded b comes on top; uploaded weights lie where a chi will.
BYTES_PER_SITE = 4 * 8 + 6 * 4 + 4 * FIELDS / 7
_LARGEST = 1290  # n^3 sites are numbered by 31 bits

# As struct Scalars in finest.cu.
SCALARS = ("with_r", "with_q", "curvature", "alpha", "beta", "previous", "sum_0", "sum_1")
_SUMS = SCALARS.index("sum_0")
_AT_FIRST = np.array([float(name == "previous") for name in SCALARS])  # p = z: beta = 0


class GpuSolver:
    """What :class:`morphion.exact.solver_cpu.CpuSolver` offers, on a device.

    The lattice's arrays may lie on the host or on the device.
    """

    def __init__(self, lattice: Lattice, device: CudaDevice):
        n = lattice.n
        if n > _LARGEST:
            raise TransportError(
                f"lattice = {n}: the exact solver takes at most {_LARGEST} sites an edge on a GPU"
            )
        uploaded = 4 if isinstance(lattice.b, np.ndarray) else 0
        device.require_memory(n, BYTES_PER_SITE + uploaded, "the exact solver")
        self.device, self.n = device, n
        self.scalars = device.array(_AT_FIRST)
        self.b = self._field(lattice.b)
        self.x, self.r, self.p, self.q = (device.empty((n, n, n), np.float64) for _ in range(4))
        self.s = device.empty((n, n, n), np.float32)
        self.chi: list[Any] = [None] * 3
        self.preconditioner = Multigrid(device, self.b, self.s, self.q)
        self.partial = self.preconditioner.partial
        self._over_the_lattice("total", self._field(lattice.weight))
        self.total_weight = float(self._sums(1)[0])

    def solve(
        self,
        axis: int,
        relative_residual: float,
        max_iterations: int,
        report: Callable[[int, int, float], None] | None,
    ) -> tuple[np.ndarray, float]:
        """Find chi of one axis; return (history of D_ee, final relative residual)."""
        history, scale = self._begin(axis)
        residual = 1.0 if scale > 0 else 0.0
        while residual > relative_residual and len(history) <= max_iterations:
            found = self._iteration()
            if not found["curvature"] > 0:
                break
            residual = float(np.sqrt(found["sum_0"])) / scale
            history.append(history[-1] - found["alpha"] * found["with_r"] / self.total_weight)
            if report is not None:
                report(axis, len(history) - 1, residual)
        norm = self._end(axis)
        return np.array(history), norm / scale if scale > 0 else 0.0

    def tensor(self, axes: Sequence[int]) -> np.ndarray:
        """Energies of the correctors, float64 [3, 3]; NaN for axes that were not solved."""
        tensor = np.full((3, 3), np.nan)
        for e in axes:
            for f in axes:
                if e <= f:
                    pair = self.chi[e], self.chi[f], np.int32(e), np.int32(f)
                    self._over_the_lattice("energy", self.b, *pair)
                    tensor[e, f] = tensor[f, e] = self._sums(1)[0] / self.total_weight
        return tensor

    def corrector(self, axis: int) -> np.ndarray:
        """chi of a solved axis in units of h, float32 [n, n, n] on the host."""
        return self.device.host(self.chi[axis])

    def _begin(self, axis) -> tuple[list[float], float]:
        """Start from chi = 0; return (its D_ee, the norm of the right-hand side)."""
        self.scalars = self.device.array(_AT_FIRST)
        for vector in (self.x, self.p, self.q):
            vector.fill(0)
        self._over_the_lattice("right_hand_side", self.b, np.int32(axis), self.r, self.s)
        square, bonds = self._sums(2)
        return [bonds / self.total_weight], float(np.sqrt(square))

    def _iteration(self) -> dict[str, float]:
        """One step of the conjugate gradients; return the scalars it left."""
        for kernel, blocks, threads, arguments in self.preconditioner.launches:
            self.device.launch(KERNELS, kernel, blocks, threads, *arguments)
        self._launch("choose_direction", 1, self.scalars, self.partial, self._blocks)
        self._over_sites("turn", self.preconditioner.z, self.p, self.x)
        self._over_the_lattice("apply", self.b, self.p, self.q)
        self._launch("choose_length", 1, self.scalars, self.partial, self._blocks)
        self._over_the_lattice("advance", self.b, self.q, self.scalars, self.r, self.s)
        self._collect(1)
        return dict(zip(SCALARS, self.device.host(self.scalars).tolist(), strict=True))

    def _end(self, axis) -> float:
        """Complete chi; return the norm of the residual, recomputed."""
        self.chi[axis] = self.device.empty(self.b.shape, np.float32)
        self._over_sites("finish", self.p, self.x, self.chi[axis])
        self._over_the_lattice("true_residual", self.b, np.int32(axis), self.x)
        return float(np.sqrt(self._sums(1)[0]))

    def _field(self, values) -> Any:
        """A field of the lattice on the device."""
        if isinstance(values, np.ndarray):
            values = np.ascontiguousarray(values)
        return self.device.array(values)

    @property
    def _blocks(self) -> np.int32:
        """Blocks whose sums lie in ``partial``."""
        return np.int32(grid(self.n)[0])

    def _launch(self, kernel, blocks, *arguments) -> None:
        self.device.launch(KERNELS, kernel, blocks, THREADS, *arguments)

    def _over_the_lattice(self, kernel, *arguments) -> None:
        blocks, depth = grid(self.n)
        self._launch(kernel, blocks, *arguments, np.int32(self.n), depth, self.partial)

    def _over_sites(self, kernel, *arguments) -> None:
        sites = self.n**3
        blocks = -(-sites // THREADS)
        self._launch(kernel, blocks, *arguments, self.scalars, np.int32(sites))

    def _collect(self, count) -> None:
        sums = self.scalars[_SUMS:]
        self._launch("collect", 1, sums, np.int32(count), self.partial, self._blocks)

    def _sums(self, count) -> np.ndarray:
        """Sums of what the blocks of the last kernel left, on the host."""
        self._collect(count)
        return self.device.host(self.scalars)[_SUMS:][:count]


@cache
def compile_kernels(device: CudaDevice) -> None:
    """Compile, or load from a cache, everything that is timed."""
    direct(np.ones((3, 4, 4, 4), np.float32))
    nothing, none = device.zeros(1, np.float64), np.int32(0)
    device.launch(KERNELS, "collect", 1, THREADS, nothing, none, nothing, none)
