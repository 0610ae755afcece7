"""Voronoi cells: the sites of a lattice that lie nearest to each particle."""

import numpy as np
from numba import njit


def nearest_particle(positions: np.ndarray, box_length: float, n: int) -> np.ndarray:
    """Index of the particle nearest to each of n^3 sites, int32 [n, n, n].

    ``positions`` [particles, 3] and ``box_length`` in voxels; minimum-image distances to the
    centres of the sites. Two particles at one distance leave a site to the first.
    """
    places = np.asarray(positions, dtype=np.float64) * (n / box_length) - 0.5
    # Balls of this radius cover most of space; what they leave is searched site by site.
    radius = 1.2 * (3 * n**3 / (4 * np.pi * len(places))) ** (1 / 3)
    return _nearest(places, radius, n)


@njit(cache=True)
def _nearest(places, radius, n):
    squares = np.full((n, n, n), radius * radius)
    found = np.full((n, n, n), -1, np.int32)
    # Beyond half the box another image is nearer.
    reach = int(min(np.ceil(radius), (n + 1) // 2))
    for particle in range(len(places)):
        x, y, z = places[particle]
        low_x, low_y, low_z = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        for i in range(low_x - reach, low_x + reach + 2):
            for j in range(low_y - reach, low_y + reach + 2):
                across = (i - x) ** 2 + (j - y) ** 2
                if across >= radius * radius:
                    continue
                for k in range(low_z - reach, low_z + reach + 2):
                    square = across + (k - z) ** 2
                    a, b, c = i % n, j % n, k % n
                    if square < squares[a, b, c]:
                        squares[a, b, c], found[a, b, c] = square, particle
    for a in range(n):
        for b in range(n):
            for c in range(n):
                if found[a, b, c] < 0:
                    found[a, b, c] = _search(places, a, b, c, n)
    return found


@njit(cache=True)
def _search(places, a, b, c, n):
    """The particle nearest to the site (a, b, c), among all of them."""
    nearest, least = -1, np.inf
    for particle in range(len(places)):
        square = 0.0
        for axis, site in enumerate((a, b, c)):
            away = abs(site - places[particle, axis])
            away -= n * np.rint(away / n)
            square += away * away
        if square < least:
            nearest, least = particle, square
    return nearest
