"""A control variate: all that a walk has to find is how far D lies below the energy of psi.

Let psi be any periodic function, one component an axis, and follow a cation by y = r + psi(r). Its
long-time diffusivity is D. Started from equilibrium, y(t) - y(0) is the sum of a martingale, whose
mean square grows as 6 D_psi t, and of A(t), the integral of v = the mean velocity of y at the site:

    D_psi = sum over bonds b_i b_j (h e.n + d psi_e)(h f.n + d psi_f) / (h^2 sum_i pi_i)
    v_i   = sum_j b_i b_j (h e.n_ij + psi_j - psi_i) / (h^2 pi_i)

Hops are reversible: run backwards, y(t) - y(0) changes its sign and A keeps it, so that the two are
uncorrelated. The martingale is the one less the other, hence

    <A_e A_f> + <(y_e(t) - y_e(0)) (y_f(t) - y_f(0))> = 2 D_psi,ef t     at every t.

D_psi, which never lies below D along any direction, is a sum over the lattice and has no noise. The
squared displacement of y, less the left-hand side whose mean is known, is a control variate in the
textbook's sense; what remains is D = D_psi - delta with delta the long-time slope of <A_e A_f> / 2,
and noise in proportion to delta. No psi biases D, a bad one leaves more noise. For psi = chi, the
corrector (:mod:`morphion.exact`), v and delta vanish.

At finite t the slope is delta less the transient of y (:mod:`morphion.kmc.transient`), which decays
from delta with the relaxation times of the lattice.

Source: Kipnis & Varadhan, Commun. Math. Phys. 104, 1 (1986), doi:10.1007/BF01210789; De Masi,
Ferrari, Goldstein & Wick, J. Stat. Phys. 55, 787 (1989), doi:10.1007/BF01041608.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import float32, njit, prange

from morphion.exact import finest, vectors
from morphion.exact.between import interpolated
from morphion.exact.bonds import Bonds
from morphion.exact.multigrid import CHEBYSHEV
from morphion.kmc.palette import quantised
from morphion.transport.lattice import Lattice

# Work space of psi and v beside the lattice as rasterised: the one that walkers see, b twice, psi,
# and either the smoother's three vectors or v.
BYTES_PER_SITE = 8 + 8 + 12 + 12 + 4
COARSE_BYTES_PER_SITE = 100  # of the coarser lattice, whose corrector is found meanwhile
_RESIDUAL = 1e-3  # of the coarse corrector, which differs by far more from that of the fine lattice


@dataclass(frozen=True)
class Control:
    """D_psi and the velocity whose integral tells how far D lies below it.

    Parameters
    ----------
    trial : float64 array of shape [3, 3]
        D_psi, in units of the solvent's diffusivity.
    velocity : float32 array of shape [n^3, 3]
        v in lattice spacings over (voxel^2 / solvent diffusivity); site (i, j, k) is row
        (i n + j) n + k. 0 where blocked or isolated.
    """

    trial: np.ndarray
    velocity: np.ndarray


def control_variate(lattice: Lattice, coarse: Lattice) -> Control:
    """The control of a lattice by the corrector of a coarser one of the same structure.

    The corrector is interpolated and smoothed by two Chebyshev steps; nothing is solved on the
    fine lattice. The same bit for bit on any number of threads.
    """
    bonds, fine = Bonds(coarse), quantised(lattice)
    b = finest.padded(fine.b)
    psi = []
    for axis in range(3):
        corrector = bonds.solve(bonds.drift(axis), _RESIDUAL) * (lattice.n / coarse.n)
        psi.append(_smoothed(b, interpolated(corrector, coarse.b > 0, lattice.n), axis))
    return control_by(fine, psi)


def control_by(lattice: Lattice, psi: Sequence[np.ndarray]) -> Control:
    """The control by any psi of the three axes (float32 [n, n, n], units of h).

    ``lattice`` is the one that walkers see (:func:`morphion.kmc.palette.quantised`).
    """
    b, n = finest.padded(lattice.b), lattice.n
    weight = float(sum(plane.sum(dtype=np.float64) for plane in lattice.weight))
    trial, partial = np.empty((3, 3)), np.empty(n)
    velocity = np.empty((n, n, n, 3), np.float32)
    for e in range(3):
        for f in range(e, 3):
            vectors.energy(b, psi[e], psi[f], e, f, partial)
            trial[e, f] = trial[f, e] = partial.sum() / weight
        _velocity(b, lattice.weight, psi[e], e, 1 / lattice.spacing**2, velocity)
    return Control(trial, velocity.reshape(-1, 3))


def _smoothed(b: np.ndarray, psi: np.ndarray, axis: int) -> np.ndarray:
    """psi (float32 [n, n, n], units of h) two Chebyshev steps nearer to the corrector."""
    f = np.empty(b.shape, np.float32)
    finest.right_hand_side(b, axis, f)
    x = finest.padded(psi)
    y = x.copy()
    for weight, momentum in CHEBYSHEV:
        finest.sweep(b, f, x, y, weight, momentum, 1.0)
        x, y = y, x
    return np.ascontiguousarray(x[:, :, 1:-1])


@njit(parallel=True, cache=True)
def _velocity(b, weight, psi, axis, scale, velocity):
    """velocity[i, j, k, axis] = scale b sum_j b_j (e.n + d psi) / weight, b padded."""
    n = psi.shape[0]
    for i in prange(n):
        im, ip = finest.around(i, n)
        for j in range(n):
            jm, jp = finest.around(j, n)
            for k in range(n):
                if weight[i, j, k] == 0:
                    velocity[i, j, k, axis] = float32(0)
                    continue
                km, kp = finest.around(k, n)
                own = np.float64(psi[i, j, k])
                flow = (
                    b[ip, j, k + 1] * (psi[ip, j, k] - own + (axis == 0))
                    + b[im, j, k + 1] * (psi[im, j, k] - own - (axis == 0))
                    + b[i, jp, k + 1] * (psi[i, jp, k] - own + (axis == 1))
                    + b[i, jm, k + 1] * (psi[i, jm, k] - own - (axis == 1))
                    + b[i, j, k + 2] * (psi[i, j, kp] - own + (axis == 2))
                    + b[i, j, k] * (psi[i, j, km] - own - (axis == 2))
                )
                velocity[i, j, k, axis] = float32(scale * b[i, j, k + 1] * flow / weight[i, j, k])
