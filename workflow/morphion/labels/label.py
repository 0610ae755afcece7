"""Labelling one structure: rasterise, then walk or solve."""

from dataclasses import dataclass, field

import numpy as np
from numba import get_num_threads

from morphion.config.labels import Labels
from morphion.config.transport import Transport
from morphion.exact import solve
from morphion.exact.solver import BYTES_PER_SITE
from morphion.kmc import estimate
from morphion.progress import log
from morphion.transport import rasterise
from morphion.transport.checks import require_memory

# Peak of the lattice and then the walk's tables or the solver's vectors; kmc measured at 200^3.
_BYTES_PER_SITE = {"kmc": 44, "exact": 8 + BYTES_PER_SITE}


@dataclass(frozen=True)
class Label:
    """Diffusivities in units of the solvent's, times in voxel^2 over the solvent's diffusivity.

    ``msd``, ``msd_stderr`` and ``time`` are [lags] for kMC and empty for the exact solver, whose
    standard errors and hops are 0. ``converged`` tells whether the walk reached the diffusive
    regime and its target, or the solver its residual.
    """

    diffusivity: float
    stderr: float
    tensor: np.ndarray
    tensor_stderr: np.ndarray
    converged: bool
    hops: int
    seconds: float
    walkers: int = 0
    duration: float = 0.0
    msd: np.ndarray = field(default_factory=lambda: np.empty(0))
    msd_stderr: np.ndarray = field(default_factory=lambda: np.empty(0))
    time: np.ndarray = field(default_factory=lambda: np.empty(0))


def label_structure(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    transport: Transport,
    labels: Labels,
    key: tuple[np.uint32, np.uint32],
    *,
    what: str,
) -> Label:
    """Label of one structure; ``key`` is the Philox key of its walk, ``what`` names it in logs.

    Parameters are positions, float [N, 3] in voxels, box edge and sphere diameter in voxels.
    ``seconds`` is the wall time of the walk or the solve, without compilation and rasterising.
    Raises TransportError if the structure cannot be put on the requested lattice.
    """
    require_memory(labels.lattice, _BYTES_PER_SITE[labels.method], f"a {labels.method} label")
    lattice = rasterise(positions, box_length, diameter, transport, labels.lattice)
    if labels.method == "exact":
        solution = solve(lattice, relative_residual=labels.relative_residual)
        if not solution.converged:
            residual = solution.relative_residual.max()
            log(f"{what}: residual {residual:.1e} after {solution.iterations} iterations")
        return Label(
            diffusivity=solution.diffusivity,
            stderr=0.0,
            tensor=solution.tensor,
            tensor_stderr=np.zeros((3, 3)),
            converged=solution.converged,
            hops=0,
            seconds=solution.seconds,
        )
    walk = estimate(
        lattice,
        key,
        target_relative_error=labels.target_relative_error,
        walkers=labels.walkers,
        max_hops=labels.max_hops,
        threads=get_num_threads(),
    )
    if not walk.converged:
        log(f"{what}: not converged: {walk.reason}")
    return Label(
        diffusivity=walk.diffusivity,
        stderr=walk.stderr,
        tensor=walk.tensor,
        tensor_stderr=walk.tensor_stderr,
        converged=walk.converged,
        hops=walk.hops,
        seconds=walk.seconds,
        walkers=walk.walkers,
        duration=walk.duration,
        msd=walk.msd,
        msd_stderr=walk.msd_stderr,
        time=walk.time,
    )
