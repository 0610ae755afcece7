"""How fast a mean squared displacement becomes linear, from the lattice and without noise.

Walks alone cannot tell: a transient of a few thousandths of D, which is what an error of 1 % asks
about, is far below the noise of any pilot, and no bound by the diffusivity alone holds for
structures with gaps or with clusters of particles apart from the rest.

A cation at r is followed as y = r + psi(r), psi a periodic function (zero for r itself), from
equilibrium. With chi the corrector of the cell problem (:mod:`morphion.exact`) and phi = chi - psi
in units of h, reversible hops give along each axis

    1/2 d<(y(t) - y(0))^2>/dt = D + phi A exp(-A t / (h^2 pi)) phi / sum pi

with A the matrix of bonds b_i b_j. The second term, the transient, is a sum of decaying
exponentials. Their times and weights come from the Lanczos recursion of A^-1 pi, which is
self-adjoint in the scalar product of A and finds the slowest modes first. m steps are exact for
the transient at t = 0, for its integral (the intercept of the mean squared displacement) and for
2 m moments of the relaxation times in all.

Source: Gauss quadrature of a spectral measure; Golub & Meurant, Matrices, Moments and Quadrature
with Applications (Princeton, 2010), chapter 6.
"""

from dataclasses import dataclass

import numpy as np

from morphion.exact import solve
from morphion.exact.bonds import Bonds
from morphion.transport.lattice import Lattice

BYTES_PER_SITE = 180  # of the lattice that is solved
_STEPS = 3
_RESIDUAL = 1e-3
_FLOOR = 1e-6  # of the bound without correlations: the least diffusivity that is told from zero
# Lags are members of one geometric sequence, so that rounding leaves no trace in them.
_LAGS = 1.01 ** np.arange(-1000.0, 4000.0)


@dataclass(frozen=True)
class Transient:
    """Long-time diffusivity along each axis, and what the slope of the MSD has on top of it.

    Parameters
    ----------
    diffusivity : float64 array of shape [3]
        D_xx, D_yy, D_zz, to three digits.
    times, weights : float64 arrays of shape [3, modes]
        Relaxation times in voxel^2 (solvent D = 1) and weights in units of the solvent's
        diffusivity: the transient along axis e is sum_k weights[e, k] exp(-t / times[e, k]).
    conducts : bool
        False if along no axis the diffusivity is told from zero.
    """

    diffusivity: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    conducts: bool = True

    @property
    def slowest(self) -> float:
        """Longest relaxation time, to three digits, voxel^2 (solvent D = 1)."""
        return float(f"{self.times[self.weights > 0].max(initial=0.0):.2e}")

    def rate(self, time: np.ndarray) -> np.ndarray:
        """(dMSD/dt) / 2 along each axis less D at times [...], shape [..., 3]."""
        decay = np.exp(-np.asarray(time)[..., None, None] / self.times)
        return (decay * self.weights).sum(axis=-1)

    def displacement(self, time: np.ndarray) -> np.ndarray:
        """MSD / 2 along each axis less D t at times [...], shape [..., 3]."""
        decay = -np.expm1(-np.asarray(time)[..., None, None] / self.times)
        return (decay * self.weights * self.times).sum(axis=-1)

    def bias(self, weights: np.ndarray, sample_interval: float) -> np.ndarray:
        """Of D along each axis, [3], from weights on the MSD at 1, 2, ... intervals."""
        lags = sample_interval * np.arange(1, weights.size + 1)
        return weights @ self.displacement(lags) / sample_interval

    def settled(self, share_of_mean: float, share_of_axis: float) -> float:
        """First lag at which the transient is below shares of the mean and of each axis' D."""
        rate = self.rate(_LAGS)
        floor = self.diffusivity.mean() / 20  # noise of an axis that hardly conducts
        too_early = (rate.mean(axis=1) > share_of_mean * self.diffusivity.mean()) | (
            rate > share_of_axis * np.maximum(self.diffusivity, floor)
        ).any(axis=1)
        return float(_LAGS[min(int(too_early.sum()), _LAGS.size - 1)])


def on_finer(known: Transient, sites: int, finer: Lattice, target: int) -> Transient:
    """A transient from a lattice of ``sites`` an edge, as on one of ``target`` sites.

    A lattice that hardly resolves the edges of the shells conducts too well, and its transients are
    as much too short: times grow as D along their axis falls. D is solved on a lattice ``finer``
    than ``sites``; ln D is taken for linear in the square of the spacing from there to ``target``.
    No axis is made faster.
    """
    h2, h2_finer, h2_target = 1 / sites**2, 1 / len(finer.b) ** 2, 1 / target**2
    found = np.diagonal(solve(finer, _RESIDUAL).tensor)
    # To three digits, as that of the coarser lattice.
    fallen = [
        # An axis without a single bond on either lattice stays as it is.
        max(float(f"{d:.2e}") / coarse, _FLOOR) if coarse > 0 else 1.0
        for d, coarse in zip(found, known.diffusivity, strict=True)
    ]
    slower = np.maximum(1.0, np.array(fallen) ** -((h2 - h2_target) / (h2 - h2_finer)))
    return Transient(
        known.diffusivity / slower,
        known.times * slower[:, None],
        known.weights / slower[:, None],
        known.conducts,
    )


def transient(lattice: Lattice) -> Transient:
    """Transient of the cations on a lattice, good to a tenth in the lag at which it is small.

    That of a coarser lattice of the same structure will do, see :func:`on_finer`. With another
    number of threads times and weights differ by rounding, some 1e-10, which the digits of
    ``diffusivity`` and the steps of ``settled`` absorb.
    """
    bonds = Bonds(lattice)
    diffusivity, modes, conducts = np.empty(3), [], False
    for axis in range(3):
        chi = bonds.solve(bonds.drift(axis), _RESIDUAL)
        least = _FLOOR * bonds.energy(np.zeros_like(chi), axis)
        found = bonds.energy(chi, axis)
        conducts |= found > least
        diffusivity[axis] = float(f"{max(found, least):.2e}")
        modes.append(relaxation(bonds, chi, _STEPS, _RESIDUAL))
    return joined(diffusivity, modes, conducts)


def joined(
    diffusivity: np.ndarray, modes: list[tuple[np.ndarray, np.ndarray]], conducts: bool = True
) -> Transient:
    """Transient of three axes from the (times, weights) of each."""
    most = max(times.size for times, _ in modes)
    padded_times = [np.pad(t, (0, most - t.size), constant_values=1.0) for t, _ in modes]
    padded_weights = [np.pad(w, (0, most - w.size)) for _, w in modes]
    return Transient(
        np.asarray(diffusivity), np.stack(padded_times), np.stack(padded_weights), conducts
    )


def relaxation(
    bonds: Bonds, phi: np.ndarray, steps: int, relative_residual: float
) -> tuple[np.ndarray, np.ndarray]:
    """Relaxation times and weights of phi (units of h) along one axis, by Lanczos steps."""
    phi = bonds.centred(phi)
    image = bonds.times(phi)
    energy = np.vdot(phi, image)
    if energy <= 0:
        return np.ones(1), np.zeros(1)
    basis, images = [phi / np.sqrt(energy)], [image / np.sqrt(energy)]
    diagonal, beside = [], []
    for step in range(steps):
        w = bonds.solve(bonds.weight * basis[-1], relative_residual)
        diagonal.append(np.vdot(images[-1], w))
        for _ in range(2):
            for known, known_image in zip(basis, images, strict=True):
                w -= np.vdot(known_image, w) * known
        # Rounding leaves a mean, for which there is no solution.
        w = bonds.centred(w)
        image = bonds.times(w)
        norm = np.sqrt(max(np.vdot(w, image), 0.0))
        if step == steps - 1 or norm < 1e-6 * diagonal[0]:
            break
        beside.append(norm)
        basis.append(w / norm)
        images.append(image / norm)
    times, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    kept = times > 0
    weights = vectors[0] ** 2 * energy / bonds.total_weight
    return times[kept] * bonds.lattice.spacing**2, weights[kept]
