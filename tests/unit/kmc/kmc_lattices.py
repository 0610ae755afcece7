"""Lattices on which a walk is easily judged."""

import numpy as np

from morphion.philox import generator
from morphion.transport.lattice import Lattice


def random_lattice(n: int, seed: int, blocked: float = 0.0) -> Lattice:
    """Independent random D and U at every site, a share of the sites blocked."""
    random = generator(seed, "test lattice")
    diffusivity = random.uniform(0.2, 2.0, (n, n, n))
    diffusivity[random.random((n, n, n)) < blocked] = 0.0
    return Lattice.from_fields(diffusivity, random.uniform(-1.5, 1.5, (n, n, n)), 75.0 / n)


def with_pocket(n: int, seed: int) -> tuple[Lattice, tuple[int, int, int]]:
    """A random lattice and a deep open site in it whose six neighbours are blocked."""
    random = generator(seed, "test pocket")
    diffusivity = random.uniform(0.5, 1.0, (n, n, n))
    energy = np.zeros((n, n, n))
    site = (n - 1, 0, n // 2)
    for axis in range(3):
        for step in (-1, 1):
            neighbour = list(site)
            neighbour[axis] = (neighbour[axis] + step) % n
            diffusivity[tuple(neighbour)] = 0.0
    # As heavy as all the others together, so that half of the walkers start there.
    energy[site] = -np.log(n**3)
    return Lattice.from_fields(diffusivity, energy, 75.0 / n), site
