"""Kernels of the cell problem on coarse levels, whose bonds are stored as wx, wy, wz.

Same layout as in :mod:`morphion.exact.finest`: float32 arrays [m, m, m + 2]. wx[i, j, k] is the
conductance between (i, j, k) and (i + 1, j, k), and likewise for wy and wz.
"""

import numpy as np
from numba import float32, njit, prange

from morphion.exact.finest import around


@njit(parallel=True, cache=True)
def wrap(x):
    """Fill the two repeated sites of every row."""
    n = x.shape[0]
    for i in prange(n):
        for j in range(n):
            x[i, j, 0] = x[i, j, n]
            x[i, j, n + 1] = x[i, j, 1]


@njit(parallel=True, cache=True)
def inverse_diagonal(wx, wy, wz, inverse):
    """1 / D; 0 where no bond leaves the aggregate."""
    n = wx.shape[0]
    for i in prange(n):
        im, _ = around(i, n)
        for j in range(n):
            jm, _ = around(j, n)
            for k in range(1, n + 1):
                d = (
                    wx[i, j, k]
                    + wx[im, j, k]
                    + wy[i, j, k]
                    + wy[i, jm, k]
                    + wz[i, j, k]
                    + wz[i, j, k - 1]
                )
                inverse[i, j, k] = 1 / d if d > 0 else 0


@njit(inline="always")
def _flow(wx, wy, wz, x, i, im, ip, j, jm, jp, k):
    own = x[i, j, k]
    return (
        wx[im, j, k] * (own - x[im, j, k])
        + wx[i, j, k] * (own - x[ip, j, k])
        + wy[i, jm, k] * (own - x[i, jm, k])
        + wy[i, j, k] * (own - x[i, jp, k])
        + wz[i, j, k - 1] * (own - x[i, j, k - 1])
        + wz[i, j, k] * (own - x[i, j, k + 1])
    )


@njit(parallel=True, cache=True)
def apply(wx, wy, wz, p, q, partial):
    """q = A p; partial[i] (float64 [n]) becomes the sum of p q over plane i."""
    n = wx.shape[0]
    for i in prange(n):
        im, ip = around(i, n)
        product = np.zeros(n + 2)
        for j in range(n):
            jm, jp = around(j, n)
            for k in range(1, n + 1):
                y = _flow(wx, wy, wz, p, i, im, ip, j, jm, jp, k)
                q[i, j, k] = y
                product[k] += np.float64(p[i, j, k]) * y
        partial[i] = product.sum()


@njit(parallel=True, cache=True)
def first_sweep(inverse, r, x, weight):
    """x = weight D^-1 r."""
    n = inverse.shape[0]
    weight = float32(weight)
    for i in prange(n):
        for j in range(n):
            for k in range(1, n + 1):
                x[i, j, k] = weight * inverse[i, j, k] * r[i, j, k]
            x[i, j, 0] = x[i, j, n]
            x[i, j, n + 1] = x[i, j, 1]


@njit(parallel=True, cache=True)
def sweep(wx, wy, wz, inverse, r, x, out, weight, momentum, keep):
    """out = x + weight D^-1 (r - A x) + momentum (x - keep out): one Chebyshev step."""
    n = wx.shape[0]
    weight, momentum, keep = float32(weight), float32(momentum), float32(keep)
    for i in prange(n):
        im, ip = around(i, n)
        for j in range(n):
            jm, jp = around(j, n)
            for k in range(1, n + 1):
                residual = r[i, j, k] - _flow(wx, wy, wz, x, i, im, ip, j, jm, jp, k)
                own = x[i, j, k]
                step = weight * inverse[i, j, k] * residual
                out[i, j, k] = own + step + momentum * (own - keep * out[i, j, k])
            out[i, j, 0] = out[i, j, n]
            out[i, j, n + 1] = out[i, j, 1]


@njit(parallel=True, cache=True)
def restrict_residual(wx, wy, wz, r, x, coarse):
    """coarse = sum of r - A x over each aggregate of 2 x 2 x 2 sites."""
    n = wx.shape[0]
    m = coarse.shape[0]
    for big_i in prange(m):
        for big_j in range(m):
            for big_k in range(1, m + 1):
                coarse[big_i, big_j, big_k] = 0
            for i in range(2 * big_i, min(2 * big_i + 2, n)):
                im, ip = around(i, n)
                for j in range(2 * big_j, min(2 * big_j + 2, n)):
                    jm, jp = around(j, n)
                    for k in range(1, n + 1):
                        coarse[big_i, big_j, (k + 1) // 2] += r[i, j, k] - _flow(
                            wx, wy, wz, x, i, im, ip, j, jm, jp, k
                        )


@njit(parallel=True, cache=True)
def add_prolonged(x, coarse):
    """x += the value of each site's aggregate."""
    n = x.shape[0]
    m = coarse.shape[0]
    for i in prange(n):
        for j in range(n):
            for big_k in range(1, m + 1):
                value = coarse[i // 2, j // 2, big_k]
                k = 2 * big_k - 1
                x[i, j, k] += value
                if k < n:
                    x[i, j, k + 1] += value
            x[i, j, 0] = x[i, j, n]
            x[i, j, n + 1] = x[i, j, 1]


@njit(parallel=True, cache=True)
def coarse_bonds(vx, vy, vz, scale, wx, wy, wz):
    """Conductances of the aggregates from those of the level above (v): see finest."""
    n = vx.shape[0]
    m = wx.shape[0]
    for big_i in prange(m):
        for big_j in range(m):
            for big_k in range(m):
                i1 = min(2 * big_i + 1, n - 1)
                j1 = min(2 * big_j + 1, n - 1)
                k1 = min(2 * big_k + 1, n - 1)
                x = y = z = 0.0
                for j in range(2 * big_j, j1 + 1):
                    for k in range(2 * big_k, k1 + 1):
                        x += vx[i1, j, k + 1]
                for i in range(2 * big_i, i1 + 1):
                    for k in range(2 * big_k, k1 + 1):
                        y += vy[i, j1, k + 1]
                    for j in range(2 * big_j, j1 + 1):
                        z += vz[i, j, k1 + 1]
                wx[big_i, big_j, big_k + 1] = scale[big_i] * x
                wy[big_i, big_j, big_k + 1] = scale[big_j] * y
                wz[big_i, big_j, big_k + 1] = scale[big_k] * z


@njit(parallel=True, cache=True)
def combine(x, alpha, y, beta, out):
    """out = alpha x + beta y, the repeated sites included."""
    alpha, beta = float32(alpha), float32(beta)
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                out[i, j, k] = alpha * x[i, j, k] + beta * y[i, j, k]
