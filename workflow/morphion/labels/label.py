"""Labelling one structure: rasterise, then walk or solve."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numba import get_num_threads

from morphion.config.labels import Labels
from morphion.config.transport import Transport
from morphion.errors import MorphionWarning, TransportError
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
    regime and its target, or the solver its residual; ``doubt`` says why not.
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
    doubt: str = ""


def label_structure(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    transport: Transport,
    labels: Labels,
    key: tuple[np.uint32, np.uint32],
    *,
    what: str,
    on_progress: Callable[[str], None] | None = None,
) -> Label:
    """Label of one structure; ``key`` is the Philox key of its walk, ``what`` names it in logs.

    Parameters are positions, float [N, 3] in voxels, box edge and sphere diameter in voxels.
    ``seconds`` is the wall time of the walk or the solve, without compilation and rasterising.
    ``on_progress`` is told in a few words how far a long label is. Raises TransportError if the
    structure cannot be put on the requested lattice.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MorphionWarning)
            label = _label(positions, box_length, diameter, transport, labels, key, on_progress)
    except TransportError as error:
        raise TransportError(f"{what}: {error}") from None
    for message in {str(warning.message) for warning in caught}:
        log(f"warning: {what}: {message}")
    if label.doubt:
        log(f"{what}: not converged: {label.doubt}")
    return label


def _label(positions, box_length, diameter, transport, labels, key, on_progress) -> Label:
    tell = on_progress or (lambda _: None)
    require_memory(labels.lattice, _BYTES_PER_SITE[labels.method], f"the {labels.method} label")
    lattice = rasterise(positions, box_length, diameter, transport, labels.lattice)
    if labels.method == "exact":
        solution = solve(
            lattice,
            relative_residual=labels.relative_residual,
            report=lambda axis, iteration, residual: tell(
                f"axis {'xyz'[axis]}, iteration {iteration}, residual {residual:.1e}"
            ),
        )
        reached = f"residual {solution.relative_residual.max():.1e}"
        return Label(
            diffusivity=solution.diffusivity,
            stderr=0.0,
            tensor=solution.tensor,
            tensor_stderr=np.zeros((3, 3)),
            converged=solution.converged,
            hops=0,
            seconds=solution.seconds,
            doubt="" if solution.converged else reached,
        )
    walk = estimate(
        lattice,
        key,
        target_relative_error=labels.target_relative_error,
        walkers=labels.walkers,
        max_hops=labels.max_hops,
        threads=get_num_threads(),
        on_batch=lambda share: tell(f"{share:.0%} of the walkers"),
    )
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
        doubt=walk.reason,
    )
