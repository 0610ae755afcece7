"""Flexible conjugate gradients for A x = f on CPU cores, preconditioned by multigrid."""

import numpy as np

from morphion.exact import finest, vectors
from morphion.exact.multigrid import Multigrid


class ConjugateGradients:
    """One solution after another in the same memory.

    Put f into ``r``, call ``start``, then ``step`` until ``residual`` is small enough.

    Parameters
    ----------
    b : float32, padded as ``finest.padded`` does
        Square roots of the sites' conductances: A is the matrix of :mod:`morphion.exact.finest`.
    preconditioner : Multigrid
        Of the same b.

    Attributes
    ----------
    x, r : float64, padded
        The solution so far, and what it leaves of f.
    residual : float
        Norm of r.
    """

    def __init__(self, b: np.ndarray, preconditioner: Multigrid):
        self.b, self._preconditioner = b, preconditioner
        self.x, self.r, self.p, self.q = (np.zeros(b.shape) for _ in range(4))
        self._partial = np.zeros(b.shape[0])
        self._partial_2 = np.zeros((b.shape[0], 2))

    def start(self) -> None:
        """Begin with x = 0, for the f that stands in r."""
        self.x[:] = 0
        self.p[:] = 0
        self._alpha, self._previous = 0.0, 1.0  # the first direction is z: beta = 0
        self._advance(0.0)

    def step(self) -> float | None:
        """One iteration: by how much x . A x / 2 - f . x fell, doubled; None if none is left to
        make, as rounding has the last word."""
        z = self._preconditioner(self.r)
        vectors.products(z, self.r, self.q, self._partial_2)
        with_r, with_q = self._partial_2.sum(axis=0)
        # Polak-Ribiere, as z is not a linear function of r; here r - r_before = -alpha q
        vectors.turn(self.p, z, -self._alpha * with_q / self._previous)
        finest.apply(self.b, self.p, self.q, self._partial)
        curvature = self._partial.sum()
        if not curvature > 0:
            return None
        self._alpha, self._previous = with_r / curvature, with_r
        self._advance(self._alpha)
        return self._alpha * with_r

    def compare(self) -> None:
        """Make r what x really leaves of the f that stands in r; the steps let both drift apart."""
        self.p[:] = self.x
        self.p[:, :, 0] = self.p[:, :, -2]
        self.p[:, :, -1] = self.p[:, :, 1]
        finest.apply(self.b, self.p, self.q, self._partial)
        self.r -= self.q
        self._advance(0.0)

    def _advance(self, alpha: float) -> None:
        """x += alpha p, r -= alpha q, and the new residual."""
        vectors.advance(self.x, self.r, self.p, self.q, alpha, self._partial)
        self.residual = float(np.sqrt(self._partial.sum()))
