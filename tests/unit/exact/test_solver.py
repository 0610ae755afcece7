"""The exact solver against a direct sparse solve, and its promises about convergence."""

import numba
import numpy as np
import pytest
import scipy.sparse as sparse
from exact_lattices import random_lattice
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from morphion.errors import TransportError
from morphion.exact import solve
from morphion.transport import Lattice, checks


def direct_tensor(lattice: Lattice) -> tuple[np.ndarray, int]:
    """Tensor by sparse LU with one site of each open component held fixed; their number."""
    n, b = lattice.n, lattice.b.astype(np.float64)
    index = np.arange(n**3).reshape(n, n, n)
    here = np.tile(index.ravel(), 3)
    there = np.concatenate([np.roll(index, -1, axis).ravel() for axis in range(3)])
    bond = np.concatenate([(b * np.roll(b, -1, axis)).ravel() for axis in range(3)])
    along = np.repeat(np.arange(3), n**3)
    network = sparse.coo_matrix((bond, (here, there)), (n**3, n**3)).tocsr()
    network = network + network.T
    components, label = connected_components(network, directed=False)
    matrix = sparse.diags(np.asarray(network.sum(axis=1)).ravel()) - network
    free = np.setdiff1d(np.arange(n**3), np.unique(label, return_index=True)[1])
    factors = splu(matrix[free][:, free].tocsc())
    strain = np.zeros((3, len(bond)))
    for axis in range(3):
        right, chi = np.zeros(n**3), np.zeros(n**3)
        np.add.at(right, here[along == axis], bond[along == axis])
        np.add.at(right, there[along == axis], -bond[along == axis])
        chi[free] = factors.solve(right[free])
        strain[axis] = (along == axis) + chi[there] - chi[here]
    return (strain * bond) @ strain.T / lattice.weight.sum(dtype=np.float64), components


@pytest.mark.parametrize("n", [16, 17])
def test_tensor_agrees_with_a_direct_solve_despite_isolated_pockets(n):
    lattice = random_lattice(n)
    expected, components = direct_tensor(lattice)
    solution = solve(lattice, relative_residual=1e-9)
    assert components > 1000  # blocked sites count, pockets of open sites too
    assert solution.converged
    np.testing.assert_allclose(solution.tensor, expected, rtol=0, atol=1e-8 * expected.max())
    assert solution.diffusivity == pytest.approx(np.trace(expected) / 3, rel=1e-8)


@pytest.mark.parametrize("n", [20, 21])
def test_relative_residual_of_1e8_is_reached(n):
    solution = solve(random_lattice(n, blocked=0.1), relative_residual=1e-8)
    assert solution.converged
    assert (solution.relative_residual <= 1.01e-8).all()
    assert (solution.iterations > 0).all()


def test_diffusivity_falls_with_every_iteration_and_bounds_the_solution():
    lattice = random_lattice(24, blocked=0.3)
    final = solve(lattice, relative_residual=1e-10, axes=[0])
    history = final.diffusivity_history[0]
    assert (np.diff(history) <= 0).all()
    assert history[-1] == pytest.approx(final.tensor[0, 0], rel=1e-7)
    for iterations in (1, 3, 6):
        trial = solve(lattice, relative_residual=1e-14, max_iterations=iterations, axes=[0])
        assert not trial.converged
        assert trial.iterations[0] == iterations
        assert trial.tensor[0, 0] >= final.tensor[0, 0]
        assert trial.tensor[0, 0] == pytest.approx(history[iterations], rel=1e-7)


def test_result_does_not_depend_on_the_number_of_threads():
    lattice = random_lattice(48, blocked=0.2)  # its second level is parallel too
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = solve(lattice, return_chi=True)
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        together = solve(lattice, return_chi=True)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(alone.tensor, together.tensor)
    np.testing.assert_array_equal(alone.relative_residual, together.relative_residual)
    for chi, other in zip(alone.chi, together.chi, strict=True):
        np.testing.assert_array_equal(chi, other)


def test_chi_satisfies_the_cell_problem_in_voxels():
    lattice = random_lattice(16, blocked=0.2)
    chi = solve(lattice, relative_residual=1e-7, axes=[1], return_chi=True).chi[1]
    b, h, balance = lattice.b.astype(np.float64), lattice.spacing, 0.0
    for axis in range(3):
        for shift in (1, -1):
            step = h * -shift * (axis == 1)  # np.roll by +1 brings the neighbour at -1
            balance = balance + b * np.roll(b, shift, axis) * (
                np.roll(chi, shift, axis) - chi + step
            )
    assert np.abs(balance).max() < 1e-5 * h


def test_axes_not_asked_for_are_nan():
    solution = solve(random_lattice(16, blocked=0.0), axes=(2,))
    assert np.isfinite(solution.tensor[2, 2])
    assert np.isnan(solution.tensor[:2]).all()
    assert np.isnan(solution.diffusivity)
    assert list(solution.iterations[:2]) == [0, 0]
    with pytest.raises(ValueError, match="axes"):
        solve(random_lattice(16, blocked=0.0), axes=(3,))


def test_every_iteration_is_reported():
    seen = []
    solution = solve(random_lattice(16), report=lambda *args: seen.append(args))
    assert len(seen) == solution.iterations.sum()
    assert seen[0][:2] == (0, 1)


def test_lattice_beyond_memory_is_refused_with_the_one_that_fits(monkeypatch):
    monkeypatch.setattr(checks, "available_memory", lambda: 10_000_000)
    with pytest.raises(TransportError, match=r"lattice = 64: the exact solver needs 0\.0.*has 53"):
        solve(random_lattice(64, blocked=0.0))
