"""The transient that tells a walk's lags, from lattices coarser than the label's."""

import math
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from morphion.config.transport import CoverageShell, Transport
from morphion.errors import muted
from morphion.exact.solver_cpu import BYTES_PER_SITE as SOLVER_BYTES_PER_SITE
from morphion.kmc.transient import BYTES_PER_SITE, Transient, on_finer, transient
from morphion.transport import rasterise
from morphion.transport.checks import require_memory, sites_for_shell

_FEWEST_SITES = 16  # of any lattice
_SITES_PER_DIAMETER = 9.6  # where no shell asks for more: the paper's voxels


def at_once(function: Callable, *arguments: Any) -> Future:
    """What a function returns, computed now, as an executor would promise it."""
    done: Future = Future()
    done.set_result(function(*arguments))
    return done


def planning_sites(box_length: float, diameter: float, transport: Transport, lattice: int) -> int:
    """Sites an edge of the coarsest lattice that the shells allow, at most ``lattice``.

    Lengths are in voxels.
    """
    # Rounded, lest a box of 75 voxels take 76 sites.
    sites = math.ceil(round(_SITES_PER_DIAMETER * box_length / diameter, 6))
    if isinstance(transport, CoverageShell):
        thickness = (transport.shell_radius - 0.5) * diameter
        sites = sites_for_shell(box_length, thickness)
    return min(lattice, max(sites, _FEWEST_SITES))


def lags(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    transport: Transport,
    lattice: int,
    submit: Callable[..., Future] = at_once,
) -> Future[Transient]:
    """Transient of a structure as on a lattice of ``lattice`` sites an edge.

    It is found on the coarsest lattice that resolves the shells and stretched by the D of one twice
    as fine, both on CPU cores; ``submit`` runs what takes long. Positions are [N, 3], lengths in
    voxels. Raises TransportError for lattices that do not fit in memory.
    """
    structure = positions, box_length, diameter, transport
    sites = planning_sites(box_length, diameter, transport, lattice)
    finer = min(lattice, 2 * sites)
    require_memory(sites, BYTES_PER_SITE, "the transient")
    coarse = rasterise(*structure, sites)
    if finer == sites:
        return submit(transient, coarse)
    require_memory(finer, 8 + SOLVER_BYTES_PER_SITE, "the transient")
    with muted():  # of the label's own lattice the warning follows
        fine = rasterise(*structure, finer)
    return submit(lambda: on_finer(transient(coarse), sites, fine, lattice))
