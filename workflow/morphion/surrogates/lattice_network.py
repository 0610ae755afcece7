"""Kirchhoff's laws on a periodic cubic network of cells, each joined to its six neighbours.

    sum over faces f of a cell of g_f (phi_there - phi_here + e.n) = 0     unit field along e
    K_ef = sum over faces g_f (d phi_e + e.n)(d phi_f + f.n)

The potentials make the power stationary, so that its derivatives with respect to conductances are
those at constant potentials, and an error of the potentials changes the power by its square.
"""

import numpy as np
import torch
from numba import njit, prange

# Residual over that of potentials 0, both over the roots of the diagonal: the power is then right
# to about 1e-6.
_TOLERANCE = 1e-3
_MAX_ITERATIONS = 500


def dissipation(conductance: torch.Tensor) -> torch.Tensor:
    """K [B, 3, 3], axes x, y, z, of conductances [B, 3, m, m, m]; differentiable.

    ``conductance[:, a]`` joins each cell to the next along array axis a (z, y, x); all > 0.
    """
    with torch.no_grad():
        phi = potentials(conductance)
        drop = torch.stack([phi.roll(-1, 2 + axis) - phi for axis in range(3)], 2)
        for axis in range(3):
            drop[:, axis, axis] += 1
        drop = drop.flatten(2)
    with torch.autocast(conductance.device.type, enabled=False):
        power = (drop * conductance.flatten(1)[:, None]) @ drop.mT
    return power.flip(1, 2)


def potentials(conductance: torch.Tensor) -> torch.Tensor:
    """Potentials float32 [B, 3, m, m, m] for unit fields along z, y and x, of mean about 0.

    Conjugate gradients, preconditioned by the diagonal, compiled on CPU cores, where each structure
    is one thread's. A GPU's conductances are fetched for it: by torch's operators an iteration is
    some forty launches, which take longer than cores do to the end of a few structures.
    """
    phi = np.zeros(conductance.shape, np.float32)
    _solve(conductance.detach().cpu().contiguous().numpy(), _TOLERANCE, _MAX_ITERATIONS, phi)
    return torch.from_numpy(phi).to(conductance.device)


@njit(inline="always")
def _wrap(field, n):
    """Repeat the ends of the last axis of a field [n, n, n + 2]."""
    for i in range(n):
        for j in range(n):
            field[i, j, 0] = field[i, j, n]
            field[i, j, n + 1] = field[i, j, 1]


@njit(fastmath={"contract", "reassoc", "nsz"}, cache=True)
def _times(g, along, diagonal, p, q):
    """q = A p on [n, n, n + 2] with repeated ends; returns p q. ``along`` holds g of x."""
    n, total = q.shape[0], 0.0
    for i in range(n):
        im, ip = i - 1 if i > 0 else n - 1, i + 1 if i < n - 1 else 0
        for j in range(n):
            jm, jp = j - 1 if j > 0 else n - 1, j + 1 if j < n - 1 else 0
            part = np.float32(0)
            for k in range(n):
                x = k + 1
                value = (
                    diagonal[i, j, k] * p[i, j, x]
                    - g[0, i, j, k] * p[ip, j, x]
                    - g[0, im, j, k] * p[im, j, x]
                    - g[1, i, j, k] * p[i, jp, x]
                    - g[1, i, jm, k] * p[i, jm, x]
                    - along[i, j, x] * p[i, j, x + 1]
                    - along[i, j, k] * p[i, j, k]
                )
                q[i, j, k] = value
                part += value * p[i, j, x]
            total += part
    return total


@njit(fastmath={"contract", "reassoc", "nsz"}, cache=True)
def _advance(phi, r, p, q, diagonal, length):
    """phi += length p, r -= length q; the new r r / diagonal."""
    n, total = q.shape[0], 0.0
    for i in range(n):
        for j in range(n):
            part = np.float32(0)
            for k in range(n):
                phi[i, j, k] += length * p[i, j, k + 1]
                value = r[i, j, k] - length * q[i, j, k]
                r[i, j, k] = value
                part += value * value / diagonal[i, j, k]
            total += part
    return total


@njit(cache=True)
def _load(g, axis, r):
    """r = what a unit field along an axis drives into each cell."""
    n = r.shape[0]
    step = np.array([axis == 0, axis == 1, axis == 2]).astype(np.int64)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                below = g[axis, i - step[0], j - step[1], k - step[2]]
                r[i, j, k] = g[axis, i, j, k] - below


@njit(parallel=True, cache=True)
def _solve(conductance, tolerance, most, phi):
    n = conductance.shape[2]
    for s in prange(conductance.shape[0]):
        g = conductance[s]
        diagonal = np.empty((n, n, n), np.float32)
        along = np.empty((n, n, n + 2), np.float32)
        for i in range(n):
            for j in range(n):
                for k in range(n):
                    along[i, j, k + 1] = g[2, i, j, k]
                    diagonal[i, j, k] = (
                        (g[0, i, j, k] + g[0, i - 1, j, k])
                        + (g[1, i, j, k] + g[1, i, j - 1, k])
                        + (g[2, i, j, k] + g[2, i, j, k - 1])
                    )
        _wrap(along, n)
        r, q = np.empty((n, n, n), np.float32), np.empty((n, n, n), np.float32)
        p = np.empty((n, n, n + 2), np.float32)
        for axis in range(3):
            _load(g, axis, r)
            p[:, :, 1:-1] = r / diagonal
            _wrap(p, n)
            square = 0.0
            for i in range(n):
                square += (r[i] * p[i, :, 1:-1]).sum()
            enough = tolerance * tolerance * square
            for _ in range(most):
                if not square > enough:
                    break
                curvature = _times(g, along, diagonal, p, q)
                if not curvature > 0:
                    break
                length = np.float32(square / curvature)
                new = _advance(phi[s, axis], r, p, q, diagonal, length)
                turn = np.float32(new / square)
                square = new
                for i in range(n):
                    for j in range(n):
                        for k in range(n):
                            value = r[i, j, k] / diagonal[i, j, k]
                            p[i, j, k + 1] = value + turn * p[i, j, k + 1]
                _wrap(p, n)
