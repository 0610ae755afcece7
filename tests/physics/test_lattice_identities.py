"""Exact results for tracers on a lattice that the cell problem must reproduce."""

import numpy as np
import pytest
from exact_lattices import layered

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.structures.families import generate
from morphion.transport import Lattice, rasterise

GEOMETRY = Geometry()
pytestmark = pytest.mark.filterwarnings("ignore:lattice = 48")  # 48 sites an edge are fast


@pytest.fixture(scope="module")
def chain_lattice() -> Lattice:
    """A chain structure (window 13.5-14.5) on a 48^3 lattice."""
    return chain(48)


def chain(n: int) -> Lattice:
    positions = generate(GEOMETRY, Structures(), 7, "chain", 4)
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell(), n)


@pytest.mark.parametrize("n", [16, 25])
def test_uniform_medium_diffuses_isotropically(n):
    field = np.ones((n, n, n))
    tensor = solve(Lattice.from_fields(0.37 * field, -3 * field, 75 / n)).tensor
    np.testing.assert_allclose(tensor, 0.37 * np.eye(3), rtol=0, atol=1e-7)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("n", [20, 21])
def test_layers_follow_the_formulas_of_the_lattice(axis, n):
    lattice, expected = layered(n, axis)
    solution = solve(lattice, relative_residual=1e-9)
    np.testing.assert_allclose(solution.tensor, expected, rtol=0, atol=1e-8)


def test_constant_product_of_diffusivity_and_weight_needs_no_solve():
    random = np.random.default_rng(3)
    free_energy = random.normal(size=(24, 24, 24))
    lattice = Lattice.from_fields(np.exp(free_energy), free_energy, 1.0)
    expected = float((lattice.b[0, 0, 0].astype(np.float64)) ** 2 / lattice.weight.mean())
    np.testing.assert_allclose(solve(lattice).tensor, expected * np.eye(3), rtol=0, atol=1e-6)


def test_a_constant_added_to_the_free_energy_changes_nothing():
    random = np.random.default_rng(4)
    diffusivity = np.exp(random.normal(size=(20, 20, 20)))
    free_energy = random.integers(-4, 4, size=(20, 20, 20)).astype(float)
    one = solve(Lattice.from_fields(diffusivity, free_energy, 1.0))
    other = solve(Lattice.from_fields(diffusivity, free_energy + 64, 1.0))
    np.testing.assert_array_equal(one.tensor, other.tensor)


def test_shift_by_whole_sites_leaves_the_tensor(chain_lattice):
    reference = solve(chain_lattice, relative_residual=1e-7)
    shifted = Lattice(
        np.roll(chain_lattice.b, (5, -3, 1), (0, 1, 2)),
        np.roll(chain_lattice.weight, (5, -3, 1), (0, 1, 2)),
        chain_lattice.spacing,
    )
    tensor = solve(shifted, relative_residual=1e-7).tensor
    np.testing.assert_allclose(tensor, reference.tensor, rtol=0, atol=1e-9)


def test_rotation_and_mirror_move_the_tensor_with_the_structure(chain_lattice):
    reference = solve(chain_lattice, relative_residual=1e-7)
    turned = Lattice(
        *(
            np.ascontiguousarray(np.rot90(field, axes=(0, 1)))
            for field in (chain_lattice.b, chain_lattice.weight)
        ),
        chain_lattice.spacing,
    )
    quarter_turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    solution = solve(turned, relative_residual=1e-7)
    expected = quarter_turn @ reference.tensor @ quarter_turn.T
    np.testing.assert_allclose(solution.tensor, expected, rtol=0, atol=1e-9)
    assert solution.diffusivity == pytest.approx(reference.diffusivity, rel=1e-7)

    mirrored = Lattice(
        *(np.ascontiguousarray(f[:, :, ::-1]) for f in (chain_lattice.b, chain_lattice.weight)),
        chain_lattice.spacing,
    )
    mirror = np.diag([1, 1, -1])
    tensor = solve(mirrored, relative_residual=1e-7).tensor
    np.testing.assert_allclose(tensor, mirror @ reference.tensor @ mirror, rtol=0, atol=1e-9)


def test_mean_bond_bounds_the_diffusivity(chain_lattice):
    solution = solve(chain_lattice)
    b = chain_lattice.b.astype(np.float64)
    for axis in range(3):
        bound = (b * np.roll(b, -1, axis)).sum() / chain_lattice.weight.sum(dtype=np.float64)
        assert solution.tensor[axis, axis] <= bound
        assert solution.diffusivity_history[axis][0] == pytest.approx(bound, rel=1e-12)
    assert np.linalg.eigvalsh(solution.tensor).min() > 0


def test_refinement_of_a_chain_structure_converges_from_below_at_first_order():
    spacings = np.array([75 / n for n in (48, 64, 96, 128)])
    diffusivities = np.array([solve(chain(round(75 / h)), axes=[0]).tensor[0, 0] for h in spacings])
    assert (np.diff(diffusivities) > 0).all()
    slope, limit = np.polyfit(spacings, diffusivities, 1)
    assert slope < 0
    np.testing.assert_allclose(np.polyval([slope, limit], spacings), diffusivities, rtol=0.01)
    assert 1.02 < limit / diffusivities[0] < 1.2
