"""Currents through the faces between the Voronoi cells of particles.

In a unit field along axis a the bond from a site to its neighbour along axis k carries

    c = b_i b_j (chi_j - chi_i + h delta_ak) / h

and no site is a source. Summed over the bonds between the cells of particles i and j, per unit of
the weight of all sites and of a length of one sphere diameter, this is the current J_ij,a. What
flows into a cell leaves it, so that the currents alone give the tensor

    D_ab = sum_(i<j) J_ij,a d_ij,b          d_ij = minimum-image x_i - x_j in sphere diameters

as long as no two cells meet across the box twice (Tellegen's theorem).
"""

import numpy as np
from numba import njit

from morphion.transport import Lattice


def pairs_of(particles: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second particle of each pair, int64 [P], in the order in which pairs are kept."""
    return np.triu_indices(particles, 1)


def pair_currents(
    lattice: Lattice, chi: np.ndarray, nearest: np.ndarray, particles: int, diameter: float
) -> np.ndarray:
    """J_ij,a of all pairs, float64 [P, 3]: from the second to the first particle is positive.

    ``chi`` [3, n, n, n] are the correctors of ``morphion.exact.solve``, ``nearest`` [n, n, n] the
    particle each site belongs to, ``diameter`` that of the spheres in voxels.
    """
    slope = np.asarray(chi) / np.float32(lattice.spacing)
    total = np.zeros((particles, particles, 3))
    _collect(np.asarray(lattice.b), slope, nearest, total)
    first, second = pairs_of(particles)
    weight = float(np.asarray(lattice.weight).sum(dtype=np.float64))
    return total[first, second] * (diameter / lattice.spacing / weight)


def occupancy(lattice: Lattice, nearest: np.ndarray, particles: int, diameter: float) -> np.ndarray:
    """Equilibrium weight in the cell of each particle, float64 [particles], over that of a cube of
    free energy 0, as solvent has, with an edge of one sphere diameter (voxels)."""
    weight = np.asarray(lattice.weight).ravel()
    found = np.bincount(nearest.ravel(), weight, minlength=particles)
    return found * (np.exp(-lattice.lowest) * (lattice.spacing / diameter) ** 3)


@njit(cache=True)
def _collect(b, slope, nearest, total):
    """Add the current of each bond to ``total`` [N, N, 3], antisymmetric in its ends."""
    n = b.shape[0]
    for x in range(n):
        for y in range(n):
            for z in range(n):
                here = nearest[x, y, z]
                for k in range(3):
                    u, v, w = x + (k == 0), y + (k == 1), z + (k == 2)
                    u, v, w = u % n, v % n, w % n
                    there = nearest[u, v, w]
                    conductance = np.float64(b[x, y, z]) * b[u, v, w]
                    if here == there or conductance == 0:
                        continue
                    for a in range(3):
                        current = conductance * (
                            slope[a, u, v, w] - slope[a, x, y, z] + (1.0 if a == k else 0.0)
                        )
                        total[there, here, a] += current
                        total[here, there, a] -= current
