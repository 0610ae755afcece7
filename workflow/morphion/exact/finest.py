"""Kernels of the cell problem on the finest lattice, where a bond conductance is b_i b_j.

Vectors live in arrays of shape [n, n, n + 2]: index 0 and n + 1 of the last axis repeat sites n and
1, so that the inner loop has no periodic branch and vectorises. The matrix is

    (A x)_i = b_i sum_j b_j (x_i - x_j)          j: the six face neighbours

and is never stored: b is all it needs. Every kernel writes each site from one thread in a fixed
order, so that results do not depend on the number of threads.
"""

import numpy as np
from numba import float32, njit, prange


def padded(field: np.ndarray) -> np.ndarray:
    """Copy of a periodic [n, n, n] field with the two repeated sites, shape [n, n, n + 2]."""
    return np.concatenate([field[:, :, -1:], field, field[:, :, :1]], axis=2)


@njit(inline="always")
def around(i, n):
    """Periodic neighbours (i - 1, i + 1)."""
    below = i - 1 if i > 0 else n - 1
    above = i + 1 if i < n - 1 else 0
    return below, above


@njit(parallel=True, cache=True, error_model="numpy")
def apply(b, p, q, partial):
    """q = A p in float64; partial[i] (float64 [n]) becomes the sum of p q over plane i."""
    n = b.shape[0]
    for i in prange(n):
        im, ip = around(i, n)
        product = np.zeros(n + 2)
        for j in range(n):
            jm, jp = around(j, n)
            for k in range(1, n + 1):
                x = p[i, j, k]
                flow = (
                    b[im, j, k] * (x - p[im, j, k])
                    + b[ip, j, k] * (x - p[ip, j, k])
                    + b[i, jm, k] * (x - p[i, jm, k])
                    + b[i, jp, k] * (x - p[i, jp, k])
                    + b[i, j, k - 1] * (x - p[i, j, k - 1])
                    + b[i, j, k + 1] * (x - p[i, j, k + 1])
                )
                y = b[i, j, k] * flow
                q[i, j, k] = y
                product[k] += x * y
        partial[i] = product.sum()


@njit(parallel=True, cache=True, error_model="numpy")
def right_hand_side(b, axis, f):
    """f_i = b_i (b_(i+e) - b_(i-e)) in float64, in units of h; e: unit vector of ``axis``."""
    n = b.shape[0]
    for i in prange(n):
        im, ip = around(i, n)
        for j in range(n):
            jm, jp = around(j, n)
            for k in range(1, n + 1):
                own = np.float64(b[i, j, k])
                if axis == 0:
                    f[i, j, k] = own * b[ip, j, k] - own * b[im, j, k]
                elif axis == 1:
                    f[i, j, k] = own * b[i, jp, k] - own * b[i, jm, k]
                else:
                    f[i, j, k] = own * b[i, j, k + 1] - own * b[i, j, k - 1]


@njit(parallel=True, cache=True, error_model="numpy")
def first_sweep(b, r, x, weight):
    """x = weight D^-1 r with D the diagonal of A: a Jacobi sweep that starts from zero."""
    n = b.shape[0]
    weight = float32(weight)
    for i in prange(n):
        im, ip = around(i, n)
        for j in range(n):
            jm, jp = around(j, n)
            for k in range(1, n + 1):
                diagonal = b[i, j, k] * (
                    b[im, j, k]
                    + b[ip, j, k]
                    + b[i, jm, k]
                    + b[i, jp, k]
                    + b[i, j, k - 1]
                    + b[i, j, k + 1]
                )
                x[i, j, k] = weight * float32(r[i, j, k]) / diagonal if diagonal > 0 else float32(0)
            x[i, j, 0] = x[i, j, n]
            x[i, j, n + 1] = x[i, j, 1]


@njit(inline="always")
def _residual_and_diagonal(b, r, x, i, im, ip, j, jm, jp, k):
    b0, b1, b2 = b[im, j, k], b[ip, j, k], b[i, jm, k]
    b3, b4, b5 = b[i, jp, k], b[i, j, k - 1], b[i, j, k + 1]
    own = x[i, j, k]
    flow = (
        b0 * (own - x[im, j, k])
        + b1 * (own - x[ip, j, k])
        + b2 * (own - x[i, jm, k])
        + b3 * (own - x[i, jp, k])
        + b4 * (own - x[i, j, k - 1])
        + b5 * (own - x[i, j, k + 1])
    )
    return (
        float32(r[i, j, k]) - b[i, j, k] * flow,
        b[i, j, k] * (b0 + b1 + b2 + b3 + b4 + b5),
    )


@njit(parallel=True, cache=True, error_model="numpy")
def sweep(b, r, x, out, weight, momentum, keep):
    """out = x + weight D^-1 (r - A x) + momentum (x - keep out): one Chebyshev step."""
    n = b.shape[0]
    weight, momentum, keep = float32(weight), float32(momentum), float32(keep)
    for i in prange(n):
        im, ip = around(i, n)
        for j in range(n):
            jm, jp = around(j, n)
            for k in range(1, n + 1):
                residual, diagonal = _residual_and_diagonal(b, r, x, i, im, ip, j, jm, jp, k)
                step = weight * residual / diagonal if diagonal > 0 else float32(0)
                own = x[i, j, k]
                out[i, j, k] = own + step + momentum * (own - keep * out[i, j, k])
            out[i, j, 0] = out[i, j, n]
            out[i, j, n + 1] = out[i, j, 1]


@njit(parallel=True, cache=True, error_model="numpy")
def restrict_residual(b, r, x, coarse):
    """coarse = sum of r - A x over each aggregate of 2 x 2 x 2 sites."""
    n = b.shape[0]
    m = coarse.shape[0]
    for big_i in prange(m):
        row = np.empty(n + 2, np.float32)
        for big_j in range(m):
            for big_k in range(1, m + 1):
                coarse[big_i, big_j, big_k] = 0
            for i in range(2 * big_i, min(2 * big_i + 2, n)):
                im, ip = around(i, n)
                for j in range(2 * big_j, min(2 * big_j + 2, n)):
                    jm, jp = around(j, n)
                    for k in range(1, n + 1):
                        row[k], _ = _residual_and_diagonal(b, r, x, i, im, ip, j, jm, jp, k)
                    for big_k in range(n // 2):
                        coarse[big_i, big_j, big_k + 1] += row[2 * big_k + 1] + row[2 * big_k + 2]
                    if n % 2:
                        coarse[big_i, big_j, m] += row[n]


@njit(parallel=True, cache=True, error_model="numpy")
def coarse_bonds(b, scale, wx, wy, wz):
    """Conductances of the aggregates: sums over faces times scale[I] for the bond I -> I + 1.

    wx, wy, wz: float32 [m, m, m + 2], the bond of aggregate (I, J, K) to its next one along each
    axis.
    """
    n = b.shape[0]
    m = wx.shape[0]
    for big_i in prange(m):
        for big_j in range(m):
            for big_k in range(m):
                i1, j1, k1 = 2 * big_i + 1, 2 * big_j + 1, 2 * big_k + 1
                i1, j1, k1 = min(i1, n - 1), min(j1, n - 1), min(k1, n - 1)
                i2, j2, k2 = (i1 + 1) % n, (j1 + 1) % n, (k1 + 1) % n
                x = y = z = 0.0
                for j in range(2 * big_j, j1 + 1):
                    for k in range(2 * big_k, k1 + 1):
                        x += np.float64(b[i1, j, k + 1]) * b[i2, j, k + 1]
                for i in range(2 * big_i, i1 + 1):
                    for k in range(2 * big_k, k1 + 1):
                        y += np.float64(b[i, j1, k + 1]) * b[i, j2, k + 1]
                    for j in range(2 * big_j, j1 + 1):
                        z += np.float64(b[i, j, k1 + 1]) * b[i, j, k2 + 1]
                wx[big_i, big_j, big_k + 1] = scale[big_i] * x
                wy[big_i, big_j, big_k + 1] = scale[big_j] * y
                wz[big_i, big_j, big_k + 1] = scale[big_k] * z
