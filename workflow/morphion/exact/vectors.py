"""Fused vector operations of the conjugate gradients, and the energy of a solution.

Padded arrays as in :mod:`morphion.exact.finest`. Sums run along each plane in a fixed order into
``partial``, one row a plane, so that they do not depend on the number of threads.
"""

import numpy as np
from numba import float32, njit, prange

from morphion.exact.finest import around


@njit(parallel=True, cache=True)
def advance(x, r, p, q, alpha, partial):
    """x += alpha p and r -= alpha q; partial[i] (float64 [n]) becomes the sum of r r."""
    n = x.shape[0]
    for i in prange(n):
        square = np.zeros(n + 2)
        for j in range(n):
            for k in range(1, n + 1):
                x[i, j, k] += alpha * p[i, j, k]
                value = r[i, j, k] - alpha * q[i, j, k]
                r[i, j, k] = value
                square[k] += value * value
        partial[i] = square.sum()


@njit(parallel=True, cache=True)
def products(z, r, q, partial):
    """partial[i] (float64 [n, 2]) becomes the sums over plane i of z r and z q."""
    n = z.shape[0]
    for i in prange(n):
        with_r = np.zeros(n + 2)
        with_q = np.zeros(n + 2)
        for j in range(n):
            for k in range(1, n + 1):
                own = np.float64(z[i, j, k])
                with_r[k] += own * r[i, j, k]
                with_q[k] += own * q[i, j, k]
        partial[i, 0] = with_r.sum()
        partial[i, 1] = with_q.sum()


@njit(parallel=True, cache=True)
def turn(p, z, beta):
    """p = z + beta p, the repeated sites included."""
    for i in prange(p.shape[0]):
        for j in range(p.shape[1]):
            for k in range(p.shape[2]):
                p[i, j, k] = z[i, j, k] + beta * p[i, j, k]


@njit(parallel=True, cache=True)
def store(x, chi):
    """chi (float32 [n, n, n]) = the sites of x (float64, padded)."""
    n = x.shape[0]
    for i in prange(n):
        for j in range(n):
            for k in range(n):
                chi[i, j, k] = float32(x[i, j, k + 1])


@njit(parallel=True, cache=True)
def energy(b, chi_e, chi_f, e, f, partial):
    """partial[i] (float64 [n]): sum of b b' (e.n + d chi_e)(f.n + d chi_f) over the forward bonds
    of plane i; chi in units of h, float32 [n, n, n]; e, f: axis numbers.
    """
    n = b.shape[0]
    for i in prange(n):
        _, ip = around(i, n)
        total = np.zeros(n)
        for j in range(n):
            _, jp = around(j, n)
            for k in range(n):
                kp = k + 1 if k < n - 1 else 0
                own = np.float64(b[i, j, k + 1])
                here_e = np.float64(chi_e[i, j, k])
                here_f = np.float64(chi_f[i, j, k])
                along_x = (chi_e[ip, j, k] - here_e + (e == 0)) * (
                    chi_f[ip, j, k] - here_f + (f == 0)
                )
                along_y = (chi_e[i, jp, k] - here_e + (e == 1)) * (
                    chi_f[i, jp, k] - here_f + (f == 1)
                )
                along_z = (chi_e[i, j, kp] - here_e + (e == 2)) * (
                    chi_f[i, j, kp] - here_f + (f == 2)
                )
                total[k] += own * (
                    b[ip, j, k + 1] * along_x + b[i, jp, k + 1] * along_y + b[i, j, k + 2] * along_z
                )
        partial[i] = total.sum()
