"""The exact solver's kernels, run on the host, against CPU cores and exact results."""

import re
from functools import cache

import numpy as np
import pytest
from exact_lattices import layered, random_lattice
from host_device import HostDevice

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.errors import DeviceMemoryError, TransportError
from morphion.exact import multigrid_gpu, solve, solver_gpu
from morphion.gpu.source import join
from morphion.structures.families import generate
from morphion.transport import Lattice, rasterise


@cache
def structure_lattice(n: int, device=None) -> Lattice:
    """A chain structure (window 13.5-14.5)."""
    geometry = Geometry()
    positions = generate(geometry, Structures(), 7, "chain", 4)
    return rasterise(positions, geometry.box_length, geometry.diameter, CoverageShell(), n, device)


def require_agreement(found, expected, axes=(0, 1, 2)):
    """Iterations within one, D to 1e-6, residuals reached, the same course to the solution."""
    assert found.converged
    assert np.abs(found.iterations - expected.iterations).max() <= 1
    scale = np.nanmax(np.abs(expected.tensor))
    np.testing.assert_allclose(found.tensor, expected.tensor, rtol=0, atol=1e-6 * scale)
    for axis in axes:
        one, other = found.diffusivity_history[axis], expected.diffusivity_history[axis]
        both = min(len(one), len(other))
        np.testing.assert_allclose(one[:both], other[:both], rtol=1e-6)


@pytest.mark.parametrize(
    ("n", "blocked", "residual"), [(16, 0.45, 1e-9), (17, 0.45, 1e-5), (24, 0.1, 1e-6)]
)
def test_random_lattices_agree_with_cpu_cores_despite_isolated_pockets(n, blocked, residual):
    lattice = random_lattice(n, blocked)
    found = solve(lattice, residual, device=HostDevice())
    require_agreement(found, solve(lattice, residual))
    assert (found.relative_residual <= 1.01 * residual).all()


@pytest.mark.parametrize("small", [0, multigrid_gpu.SMALL])
@pytest.mark.filterwarnings("ignore:lattice = 33")
def test_a_structure_agrees_with_cpu_cores_on_levels_launched_or_in_one_block(small, monkeypatch):
    monkeypatch.setattr(multigrid_gpu, "SMALL", small)
    lattice, device = structure_lattice(33), HostDevice()
    found = solve(lattice, axes=[1], device=device)
    require_agreement(found, solve(lattice, axes=[1]), axes=[1])
    steps = device.launches.count("coarse_step") / found.iterations[1]
    # Levels of 17, 9 and 5 sites; a cycle of a level has 14 steps and two cycles of the next.
    assert steps == (14 + 2 * 14 if small == 0 else 14)


@pytest.mark.filterwarnings("ignore:lattice = 24")
def test_a_lattice_may_lie_on_the_device():
    device = HostDevice()
    found = solve(structure_lattice(24, device), axes=[2], device=device)
    require_agreement(found, solve(structure_lattice(24), axes=[2]), axes=[2])


def test_memory_order_of_the_lattice_does_not_matter():
    lattice = random_lattice(16, blocked=0.1)
    turned = Lattice(lattice.b.T, lattice.weight.T, lattice.spacing)
    found, expected = solve(turned, device=HostDevice()), solve(lattice)
    np.testing.assert_allclose(found.tensor, expected.tensor[::-1, ::-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n", "axis"), [(20, 0), (21, 1), (21, 2)])
def test_layers_follow_the_formulas_of_the_lattice(n, axis):
    lattice, expected = layered(n, axis)
    solution = solve(lattice, relative_residual=1e-9, device=HostDevice())
    np.testing.assert_allclose(solution.tensor, expected, rtol=0, atol=1e-8)


def test_layers_between_blocked_ones_conduct_along_themselves_alone():
    n = 16
    diffusivity = np.ones((n, n, n))
    diffusivity[:, [3, 4, 11]] = 0
    diffusivity[:, 5:11] = 0.5
    lattice = Lattice.from_fields(diffusivity, np.zeros((n, n, n)), 1.0)
    tensor = solve(lattice, relative_residual=1e-8, device=HostDevice()).tensor
    along = (7 * 1.0 + 6 * 0.5) / 13
    np.testing.assert_allclose(tensor, np.diag([along, 0, along]), rtol=0, atol=1e-7)


def test_a_uniform_medium_needs_no_iteration():
    field = np.ones((17, 17, 17))
    solution = solve(Lattice.from_fields(0.37 * field, field, 75 / 17), device=HostDevice())
    assert solution.iterations.sum() == 0
    assert solution.converged
    np.testing.assert_allclose(solution.tensor, 0.37 * np.eye(3), rtol=0, atol=1e-7)


@pytest.mark.parametrize("small", [0, multigrid_gpu.SMALL])
def test_results_do_not_depend_on_the_order_of_threads_and_blocks(small, monkeypatch):
    monkeypatch.setattr(multigrid_gpu, "SMALL", small)
    lattice = random_lattice(18, blocked=0.3)
    one, other = (
        solve(lattice, axes=[0], return_chi=True, device=HostDevice(backwards=backwards))
        for backwards in (False, True)
    )
    np.testing.assert_array_equal(one.tensor, other.tensor)
    np.testing.assert_array_equal(one.chi[0], other.chi[0])
    np.testing.assert_array_equal(one.diffusivity_history[0], other.diffusivity_history[0])


def test_chi_satisfies_the_cell_problem_in_voxels():
    lattice = random_lattice(16, blocked=0.2)
    solution = solve(lattice, 1e-7, axes=[1], return_chi=True, device=HostDevice())
    chi, b, h, balance = solution.chi[1], lattice.b.astype(np.float64), lattice.spacing, 0.0
    for axis in range(3):
        for shift in (1, -1):
            step = h * -shift * (axis == 1)  # np.roll by +1 brings the neighbour at -1
            balance = balance + b * np.roll(b, shift, axis) * (
                np.roll(chi, shift, axis) - chi + step
            )
    assert np.abs(balance).max() < 1e-5 * h
    assert solution.chi[0] is None
    assert np.isnan(solution.tensor[[0, 2]]).all()


def test_too_few_iterations_leave_an_upper_bound():
    lattice, seen = random_lattice(16, blocked=0.3), []
    trial = solve(
        lattice,
        max_iterations=3,
        axes=[0],
        report=lambda *args: seen.append(args),
        device=HostDevice(),
    )
    assert not trial.converged
    assert [entry[:2] for entry in seen] == [(0, 1), (0, 2), (0, 3)]
    assert (np.diff(trial.diffusivity_history[0]) < 0).all()
    assert trial.tensor[0, 0] == pytest.approx(trial.diffusivity_history[0][3], rel=1e-7)
    assert trial.tensor[0, 0] > solve(lattice, axes=[0]).tensor[0, 0]


def test_an_iteration_waits_for_the_device_once():
    class Waiting(HostDevice):
        waits = 0

        def host(self, array):
            self.waits += 1
            return super().host(array)

    waits = []
    for iterations in (2, 5):
        device = Waiting()
        solve(random_lattice(16), max_iterations=iterations, axes=[0], device=device)
        waits.append(device.waits)
    assert waits[1] - waits[0] == 3


def test_a_solve_allocates_the_bytes_per_site_that_it_asks_for():
    class Counting(HostDevice):
        allocated = 0

        def _allocate(self, size):
            self.allocated += size

    device, n = Counting(), 64
    solve(random_lattice(n, blocked=0.1), max_iterations=1, device=device)
    lattice = 2 * 4  # b and the weights, copied
    assert device.allocated / n**3 == pytest.approx(solver_gpu.BYTES_PER_SITE + lattice, rel=0.03)


def test_lattices_that_do_not_fit_are_refused_with_the_one_that_does():
    lattice = random_lattice(32, blocked=0.1)
    with pytest.raises(DeviceMemoryError, match=r"lattice = 32: the exact solver.*has 24 sites"):
        solve(lattice, device=HostDevice(memory=1e6))
    large = np.broadcast_to(np.float32(1), (1291, 1291, 1291))
    with pytest.raises(TransportError, match=r"lattice = 1291: .* at most 1290"):
        solve(Lattice(large, large, 1.0), device=HostDevice(memory=1e15))


def test_python_and_kernels_number_steps_and_scalars_alike():
    source = join(multigrid_gpu.KERNELS)
    steps = re.search(r"enum Step \{([^}]*)\}", source).group(1)
    assert tuple(name.strip().lower() for name in steps.split(",")) == multigrid_gpu.STEPS
    scalars = re.search(r"struct Scalars \{([^}]*)\}", source).group(1)
    names = re.findall(r"\w+", re.sub(r"//.*|double|\[2\]", "", scalars))
    assert (*names[:-1], "sum_0", "sum_1") == solver_gpu.SCALARS
