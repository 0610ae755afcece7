"""Rasterised structures against the definition of the coverage, summed in plain NumPy."""

import warnings

import numba
import numpy as np
import pytest

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.errors import MorphionWarning, TransportError
from morphion.structures.families import generate
from morphion.transport import Lattice, checks, rasterise

GEOMETRY = Geometry()
MODEL = CoverageShell()


def by_definition(positions, box_length, diameter, model, n, images=1) -> Lattice:
    """Lattice from the coverage of all particles and the given shells of images, no cut-off."""
    x = (np.arange(n) + 0.5) * box_length / n
    coverage, blocked = np.zeros((n, n, n)), np.zeros((n, n, n), bool)
    shifts = np.arange(-images, images + 1) * box_length
    for centre in positions:
        for shift in np.stack(np.meshgrid(shifts, shifts, shifts), -1).reshape(-1, 3):
            dx, dy, dz = ((x - c) ** 2 for c in centre + shift)
            r = np.sqrt(dx[:, None, None] + dy[None, :, None] + dz[None, None, :])
            argument = (model.shell_radius * diameter - r) / (model.shell_width * diameter)
            coverage += (1 + np.tanh(argument)) / 2
            blocked |= r < diameter / 2
    single, double = np.minimum(coverage, 1), np.maximum(coverage - 1, 0)
    solvent, shell = model.solvent_diffusivity, model.shell_diffusivity
    diffusivity = solvent + (shell - solvent) * single
    diffusivity *= np.exp(-model.interdigitation_friction * double)
    diffusivity[blocked] = 0
    free_energy = -model.affinity * single - model.interdigitation_affinity * double
    return Lattice.from_fields(diffusivity, free_energy, box_length / n)


def assert_same(lattice: Lattice, expected: Lattice, tolerance: float = 1e-6) -> None:
    np.testing.assert_array_equal(lattice.b > 0, expected.b > 0)
    np.testing.assert_allclose(lattice.b, expected.b, rtol=tolerance)
    np.testing.assert_allclose(lattice.weight, expected.weight, rtol=2 * tolerance)
    assert lattice.spacing == expected.spacing


@pytest.fixture(scope="module")
def structure() -> np.ndarray:
    return generate(GEOMETRY, Structures(), 11, "chain", 0)  # the closest window: layers overlap


@pytest.mark.parametrize("n", [56, 75])
def test_lattice_follows_the_definition_of_the_coverage(structure, n):
    box, diameter = GEOMETRY.box_length, GEOMETRY.diameter
    lattice = rasterise(structure[:30], box, diameter, MODEL, n)
    assert lattice.b.dtype == lattice.weight.dtype == np.float32
    assert lattice.weight.max() == 1
    assert_same(lattice, by_definition(structure[:30], box, diameter, MODEL, n))


@pytest.mark.parametrize("diameter", [0.5, 1.0, 1.05])
def test_one_sphere_in_its_unit_cell_meets_all_its_images(diameter):
    # shells reach far beyond the box, and at 1.05 the spheres themselves overlap their images
    lattice = rasterise([[0.3, 0.1, 0.95]], 1.0, diameter, MODEL, 24)
    expected = by_definition([[0.3, 0.1, 0.95]], 1.0, diameter, MODEL, 24, images=2)
    assert_same(lattice, expected)


def test_a_position_outside_the_box_is_its_image_inside(structure):
    box, diameter = GEOMETRY.box_length, GEOMETRY.diameter
    inside = rasterise(structure, box, diameter, MODEL, 60)
    moved = structure.astype(np.float64) + box * np.array([1, -2, 3])
    assert_same(rasterise(moved, box, diameter, MODEL, 60), inside)


def test_shift_by_whole_sites_rolls_the_lattice(structure):
    box, diameter, n = GEOMETRY.box_length, GEOMETRY.diameter, 60
    reference = rasterise(structure, box, diameter, MODEL, n)
    shift = np.array([7, -4, 1])
    moved = rasterise(structure + shift * box / n, box, diameter, MODEL, n)
    np.testing.assert_allclose(moved.b, np.roll(reference.b, shift, (0, 1, 2)), rtol=1e-5)


def test_lattice_does_not_depend_on_the_number_of_threads(structure):
    before = numba.get_num_threads()
    arguments = (structure, GEOMETRY.box_length, GEOMETRY.diameter, MODEL, 64)
    try:
        numba.set_num_threads(1)
        alone = rasterise(*arguments)
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        together = rasterise(*arguments)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(alone.b, together.b)
    np.testing.assert_array_equal(alone.weight, together.weight)


def test_negative_interdigitation_affinity_repels(structure):
    box, diameter = GEOMETRY.box_length, GEOMETRY.diameter
    repelling = CoverageShell(interdigitation_affinity=-3.0)
    lattice = rasterise(structure, box, diameter, repelling, 56)
    assert_same(lattice, by_definition(structure, box, diameter, repelling, 56))


@pytest.mark.parametrize("n", [15, 0, -3, 20.5])
def test_lattice_below_16_sites_is_refused(structure, n):
    with pytest.raises(TransportError, match=f"lattice = {n}: .* at least 16"):
        rasterise(structure, GEOMETRY.box_length, GEOMETRY.diameter, MODEL, n)


def test_fewer_than_two_sites_across_the_shell_warn_with_a_lattice_that_would_do(structure):
    box, diameter = GEOMETRY.box_length, GEOMETRY.diameter
    with pytest.warns(MorphionWarning, match="lattice = 55: fewer than two sites .* 56 sites"):
        rasterise(structure, box, diameter, MODEL, 55)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rasterise(structure, box, diameter, MODEL, 56)


def test_no_open_site_in_any_shell_is_an_error():
    thin = CoverageShell(shell_radius=0.5001, shell_width=0.0001)
    with pytest.raises(TransportError, match=r"no open site lies in a ligand shell .* at least"):
        rasterise([[1.0, 1.0, 1.0]], 32.0, 9.6, thin, 16)


def test_a_box_full_of_particles_is_an_error():
    with pytest.raises(TransportError, match="no open"):
        rasterise([[0.5, 0.5, 0.5]], 1.0, 1.8, MODEL, 16)


def test_lattice_beyond_memory_is_refused_with_the_one_that_fits(structure, monkeypatch):
    monkeypatch.setattr(checks, "available_memory", lambda: 8 * 100**3 / 0.95 * 1.0001)
    with pytest.raises(TransportError, match=r"= 4000: .* needs 476\.8 GiB.* has 100 sites"):
        rasterise(structure, GEOMETRY.box_length, GEOMETRY.diameter, MODEL, 4000)


def test_affinities_beyond_float32_are_refused(structure):
    model = CoverageShell(affinity=90.0)
    with pytest.raises(TransportError, match=r"spread over .* kT: weights underflow"):
        rasterise(structure, GEOMETRY.box_length, GEOMETRY.diameter, model, 56)


@pytest.mark.parametrize(
    ("positions", "box", "diameter", "message"),
    [
        (np.zeros((4, 2)), 75.0, 9.6, "shape"),
        ([[0, 0, 0], [1, np.nan, 2]], 75.0, 9.6, "particle 1"),
        ([[0, 0, 0]], -75.0, 9.6, "box length = -75"),
        ([[0, 0, 0]], 75.0, np.nan, "sphere diameter = nan"),
    ],
)
def test_bad_geometry_is_refused(positions, box, diameter, message):
    with pytest.raises(TransportError, match=message):
        rasterise(positions, box, diameter, MODEL, 16)
