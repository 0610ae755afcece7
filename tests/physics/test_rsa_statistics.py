"""Random sequential addition against what is known of it, and against equilibrium.

At volume fraction 0.1 the contact value of g(r) is 1.23 for plain random sequential addition. An
equilibrium hard-sphere fluid has (1 - phi/2) / (1 - phi)^3 = 1.303 (Carnahan & Starling,
J. Chem. Phys. 51, 635 (1969), doi:10.1063/1.1672048); the same estimator is tried on both.
"""

import numpy as np
import pytest
from numba import njit

from morphion.config.geometry import Geometry, Structures
from morphion.structures.families import generate
from morphion.structures.geometry import minimum_image_squared

GEOMETRY = Geometry()
BOX, DIAMETER, PARTICLES = GEOMETRY.box_length, GEOMETRY.diameter, GEOMETRY.particles
EDGES = np.linspace(1.0, 1.5, 26) * DIAMETER


@njit
def _squared(a, b, box_length):
    return minimum_image_squared(a[0] - b[0], a[1] - b[1], a[2] - b[2], box_length)


@njit
def pair_histogram(positions, edges, box_length):
    counts = np.zeros(len(edges) - 1)
    width = edges[1] - edges[0]
    for i in range(len(positions)):
        for j in range(i):
            distance = np.sqrt(_squared(positions[i], positions[j], box_length))
            if distance < edges[-1]:
                counts[int((distance - edges[0]) / width)] += 1
    return counts


@njit
def equilibrate(positions, particles, displacements, box_length, diameter):
    """Metropolis moves of hard spheres: a displacement is accepted unless it overlaps."""
    for move in range(len(particles)):
        i = particles[move]
        trial = (positions[i] + displacements[move]) % box_length
        free = True
        for j in range(len(positions)):
            if j != i and _squared(positions[j], trial, box_length) < diameter**2:
                free = False
                break
        if free:
            positions[i] = trial


def sweep(positions, sweeps, random):
    moves = sweeps * PARTICLES
    particles = random.integers(PARTICLES, size=moves)
    displacements = random.uniform(-8, 8, (moves, 3))
    equilibrate(positions, particles, displacements, BOX, DIAMETER)


def contact_of_carnahan_starling(volume_fraction):
    return (1 - volume_fraction / 2) / (1 - volume_fraction) ** 3


def contact_in_equilibrium():
    """Contact value of N spheres in the canonical ensemble, normalised by N (N - 1).

    n2(N) = n2 - S(0) / (2 N) rho^2 d^2 n2 / d rho^2 with n2 = rho^2 g: Lebowitz & Percus,
    Phys. Rev. 124, 1673 (1961), doi:10.1103/PhysRev.124.1673.
    """
    phi, step = 0.1, 1e-3
    compressibility = (1 - phi) ** 4 / ((1 + 2 * phi) ** 2 + phi**3 * (phi - 4))
    density = phi + step * np.array([-1, 0, 1])
    pairs = density**2 * contact_of_carnahan_starling(density)
    curvature = (pairs[0] - 2 * pairs[1] + pairs[2]) / step**2
    finite = pairs[1] / phi**2 - compressibility / (2 * PARTICLES) * curvature
    return finite * PARTICLES / (PARTICLES - 1)


def contact_value(histograms):
    """Contact value of g(r) and its standard error, from pair histograms [samples, bins].

    A quadratic in r is fitted to the samples' mean and taken at r = sigma. The samples are
    independent, so that their scatter gives the covariance of all bins.
    """
    shells = 4 / 3 * np.pi * np.diff(EDGES**3)
    ideal = PARTICLES * (PARTICLES - 1) / 2 * shells / BOX**3
    radial = histograms / ideal
    middle = (EDGES[:-1] + EDGES[1:]) / 2 / DIAMETER - 1
    # Bins hold pairs in proportion to their volume, nearly the inverse of the variance of g.
    design = np.vander(middle, 3, increasing=True)
    weight = ideal[:, None]
    to_contact = np.linalg.solve(design.T @ (weight * design), (weight * design).T)[0]
    estimates = radial @ to_contact
    return estimates.mean(), estimates.std(ddof=1) / np.sqrt(len(estimates))


@pytest.fixture(scope="module")
def rsa_contact():
    structures = (generate(GEOMETRY, Structures(), 2021, "rsa", i) for i in range(10_000))
    return contact_value(
        np.array([pair_histogram(positions.astype(float), EDGES, BOX) for positions in structures])
    )


@pytest.fixture(scope="module")
def equilibrium_contact():
    random = np.random.default_rng(1)
    histograms = []
    for i in range(200):
        positions = generate(GEOMETRY, Structures(), 2022, "rsa", i).astype(float)
        sweep(positions, 50, random)
        total = np.zeros(len(EDGES) - 1)
        for _ in range(40):
            sweep(positions, 5, random)
            total += pair_histogram(positions, EDGES, BOX)
        histograms.append(total / 40)
    return contact_value(np.array(histograms))


def test_contact_value_of_plain_rsa_is_1_23(rsa_contact):
    value, stderr = rsa_contact
    assert stderr < 0.01
    assert value == pytest.approx(1.23, abs=0.03)


def test_the_same_estimator_finds_the_contact_value_of_an_equilibrium_fluid(equilibrium_contact):
    value, stderr = equilibrium_contact
    assert stderr < 0.01
    assert abs(value - contact_in_equilibrium()) < 3 * stderr
    assert contact_in_equilibrium() == pytest.approx(1.303, abs=0.01)


def test_rsa_is_not_an_equilibrium_fluid(rsa_contact, equilibrium_contact):
    difference = equilibrium_contact[0] - rsa_contact[0]
    assert difference > 3 * np.hypot(rsa_contact[1], equilibrium_contact[1])
