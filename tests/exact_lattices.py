"""Lattices on which the exact solver is judged."""

import numpy as np

from morphion.transport import Lattice


def random_lattice(n: int, blocked: float = 0.45, seed: int = 1) -> Lattice:
    """Uncorrelated D and U; at this share of blocked sites there are many isolated pockets."""
    random = np.random.default_rng(seed)
    diffusivity = np.exp(random.normal(size=(n, n, n)))
    diffusivity[random.random((n, n, n)) < blocked] = 0
    return Lattice.from_fields(diffusivity, 2 * random.normal(size=(n, n, n)), 75 / n)


def layered(n: int, axis: int) -> tuple[Lattice, np.ndarray]:
    """Layers of random D and U normal to an axis, and their tensor, float64 [3, 3].

    Along the layers <b^2>/<pi>, across 1/(<pi> <1/(b_i b_(i+1))>).
    """
    random = np.random.default_rng(axis)
    shape = [1, 1, 1]
    shape[axis] = n
    diffusivity = np.exp(random.normal(size=shape)) * np.ones((n, n, n))
    free_energy = 2 * random.normal(size=shape) * np.ones((n, n, n))
    lattice = Lattice.from_fields(diffusivity, free_energy, 75 / n)
    b = np.moveaxis(lattice.b, axis, 0)[:, 0, 0].astype(np.float64)
    weight = np.moveaxis(lattice.weight, axis, 0)[:, 0, 0].astype(np.float64)
    expected = np.full(3, (b**2).mean() / weight.mean())
    expected[axis] = 1 / (weight.mean() * (1 / (b * np.roll(b, -1))).mean())
    return lattice, np.diag(expected)
