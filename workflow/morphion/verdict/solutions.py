"""Exact solutions of the lattices that labels stand for."""

from collections.abc import Callable, Mapping

import numpy as np

from morphion import store
from morphion.config.transport import Transport
from morphion.errors import muted
from morphion.exact import solve
from morphion.kmc.palette import quantised
from morphion.progress import Reporter, log, progress
from morphion.transport import Lattice, rasterise

Solution = dict[str, np.ndarray]  # exact (D), residual, solved, seconds


def judged_lattice(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    transport: Transport,
    sites: int,
    method: str,
) -> Lattice:
    """The lattice that a label of a ``method`` stands for: walkers see the quantised one."""
    with muted():  # the label's own log has what there is to say about the lattice
        lattice = rasterise(positions, box_length, diameter, transport, sites)
    return quantised(lattice) if method == "kmc" else lattice


def solve_each(
    what: str,
    lattices: Mapping[int, Callable[[], Lattice]],
    relative_residual: float,
    partial: store.Partial,
) -> dict[int, Solution]:
    """Exact solution of every lattice, by row; those of an earlier, killed job are taken over."""
    found = {row: partial.load(f"{row:06d}") for row in lattices}
    done = sum(entry is not None for entry in found.values())
    if done:
        log(f"{what}: continues after {done} of {len(found)} structures")
    with progress(what, len(found), "structures", done=done) as report:
        for row, entry in found.items():
            if entry is None:
                found[row] = _solution(lattices[row](), relative_residual, report)
                partial.save(f"{row:06d}", found[row])
                report.advance()
    return found


def _solution(lattice: Lattice, relative_residual: float, report: Reporter) -> Solution:
    solution = solve(
        lattice,
        relative_residual=relative_residual,
        report=lambda axis, iteration, residual: report.advance(
            0, note=f"(axis {'xyz'[axis]}, iteration {iteration}, residual {residual:.1e})"
        ),
    )
    entry = {
        "exact": solution.diffusivity,
        "residual": solution.relative_residual.max(),
        "solved": solution.converged,
        "seconds": solution.seconds,
    }
    return {name: np.asarray(value) for name, value in entry.items()}
