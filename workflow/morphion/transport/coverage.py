"""Local diffusivity and free energy from the ligand coverage (the ``coverage-shell`` model).

With r the distance to a centre, summed over particles and their periodic images,

    c = sum 1/2 [1 + tanh((r_s - r) / w)] = sum 1 / (1 + exp(-2 (r_s - r) / w))
    c1 = min(c, 1),  c2 = max(c - 1, 0)
    D = [D_solvent + (D_shell - D_solvent) c1] exp(-kappa c2)
    U = -eps c1 - eps_x c2
"""

import math

import numpy as np
from numba import njit, prange

from morphion.config.transport import CoverageShell
from morphion.elementary import exp
from morphion.transport.lattice import SMALLEST_DIFFUSIVITY

# A centre farther than r_s + 10 w adds less than 1 / (1 + e^20) = 2e-9 to the coverage: left out.
REACH = 10.0


def model_parameters(model: CoverageShell) -> tuple[float, ...]:
    """(D_solvent, D_shell, eps, kappa, eps_x): what :func:`local_transport` takes."""
    return (
        float(model.solvent_diffusivity),
        float(model.shell_diffusivity),
        float(model.affinity),
        float(model.interdigitation_friction),
        float(model.interdigitation_affinity),
    )


@njit(inline="always")
def images_within(centre, site, box_length, reach):
    """First and last image number m with |centre + m L - site| <= reach."""
    first = math.ceil((site - reach - centre) / box_length)
    last = math.floor((site + reach - centre) / box_length)
    return first, last


@njit(inline="always")
def sites_within(centre, reach, h):
    """First and last unwrapped site index whose coordinate is within reach of the centre."""
    first = math.ceil((centre - reach) / h - 0.5)
    last = math.floor((centre + reach) / h - 0.5)
    return first, last


@njit(cache=True)
def local_transport(c, model):
    """D and U of coverage c; model: see :func:`model_parameters`."""
    solvent, shell, affinity, friction, extra = model
    c1 = min(c, 1.0)
    c2 = max(c - 1.0, 0.0)
    diffusivity = (solvent + (shell - solvent) * c1) * exp(-friction * c2)
    return diffusivity, -affinity * c1 - extra * c2


@njit(cache=True)
def _add_row(coverage, x2, y2, z, core2, shell, width, reach2, h):
    """Add one particle image to a row of sites; blocked sites become minus infinity."""
    n = coverage.shape[0]
    first, last = sites_within(z, math.sqrt(reach2 - x2 - y2), h)
    for k in range(first, last + 1):
        d2 = x2 + y2 + ((k + 0.5) * h - z) ** 2
        if d2 < core2:
            coverage[k % n] = -np.inf
        else:
            d = math.sqrt(d2)
            coverage[k % n] += 1.0 / (1.0 + exp(-2.0 * (shell - d) / width))


@njit(parallel=True, cache=True)
def fill(positions, box_length, diameter, shell, width, model, diffusivity, energy, met):
    """Fill ``diffusivity`` and ``energy`` (float32 [n, n, n]); D = 0 where blocked.

    positions: float64 [particles, 3]; lengths in voxels; met: int64 [n], open sites of each plane
    that lie in a shell (c >= 1/2, i.e. closer than r_s to a centre). One thread owns a plane and
    adds the particles in their order, so that the sums do not depend on the number of threads.
    """
    n = diffusivity.shape[0]
    h = box_length / n
    reach = shell + REACH * width
    core2 = (diameter / 2) ** 2
    for i in prange(n):
        coverage = np.zeros((n, n))
        site = (i + 0.5) * h
        for p in range(positions.shape[0]):
            x, y, z = positions[p]
            low, high = images_within(x, site, box_length, reach)
            for m in range(low, high + 1):
                x2 = (site - x - m * box_length) ** 2
                if x2 > reach * reach:
                    continue
                first, last = sites_within(y, math.sqrt(reach * reach - x2), h)
                for j in range(first, last + 1):
                    y2 = ((j + 0.5) * h - y) ** 2
                    if x2 + y2 <= reach * reach:
                        row = coverage[j % n]
                        _add_row(row, x2, y2, z, core2, shell, width, reach * reach, h)
        met[i] = np.sum(coverage >= 0.5)
        for j in range(n):
            for k in range(n):
                c = coverage[j, k]
                if c >= 0.0:
                    d, u = local_transport(c, model)
                    # 0 means blocked, which an underflow must not turn a slow site into.
                    diffusivity[i, j, k] = max(d, SMALLEST_DIFFUSIVITY)
                    energy[i, j, k] = u
                else:
                    diffusivity[i, j, k] = 0.0
                    energy[i, j, k] = 0.0
