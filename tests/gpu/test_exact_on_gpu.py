"""The exact solver on a real GPU, against CPU cores."""

import numpy as np
import pytest

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.errors import DeviceMemoryError
from morphion.exact import multigrid_gpu, solve
from morphion.structures.families import generate
from morphion.transport import Lattice, rasterise

pytestmark = pytest.mark.gpu

GEOMETRY = Geometry()


def lattice_of(family, index, n, device=None):
    positions = generate(GEOMETRY, Structures(), 7, family, index)
    model = CoverageShell()
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, model, n, device)


def random_lattice(n, blocked):
    """Uncorrelated D and U; at 45 % of blocked sites there are many isolated pockets."""
    random = np.random.default_rng(1)
    diffusivity = np.exp(random.normal(size=(n, n, n)))
    diffusivity[random.random((n, n, n)) < blocked] = 0
    return Lattice.from_fields(diffusivity, 2 * random.normal(size=(n, n, n)), 75 / n)


def require_agreement(found, expected):
    assert found.converged
    assert np.abs(found.iterations - expected.iterations).max() <= 1
    scale = np.abs(expected.tensor).max()
    np.testing.assert_allclose(found.tensor, expected.tensor, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize(("n", "residual"), [(16, 1e-9), (17, 1e-5), (48, 1e-5), (65, 1e-5)])
def test_random_lattices_agree_with_cpu_cores(device, n, residual):
    lattice = random_lattice(n, 0.45)
    require_agreement(solve(lattice, residual, device=device), solve(lattice, residual))


@pytest.mark.parametrize(
    ("family", "index", "n"),
    [("rsa", 0, 75), ("chain", 0, 96), ("chain", 4, 150), ("gapped", 2, 75)],
)
def test_structures_agree_with_cpu_cores(device, family, index, n):
    found = solve(lattice_of(family, index, n, device), device=device)
    require_agreement(found, solve(lattice_of(family, index, n)))


def test_every_run_gives_the_same_bits(device):
    lattice = lattice_of("chain", 4, 150, device)
    runs = [solve(lattice, axes=[0], return_chi=True, device=device) for _ in range(3)]
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].tensor, other.tensor)
        np.testing.assert_array_equal(runs[0].chi[0], other.chi[0])


def test_levels_in_one_block_do_what_launches_do(device, monkeypatch):
    lattice = lattice_of("rsa", 0, 75, device)
    one_block = solve(lattice, device=device)
    monkeypatch.setattr(multigrid_gpu, "SMALL", 0)
    require_agreement(solve(lattice, device=device), one_block)


def test_uniform_layers_are_exact(device):
    b = np.ones((40, 40, 40), np.float32)
    b[:15] = 0.25
    solution = solve(Lattice(b, b, 1.0), 1e-9, device=device)
    along, mean = (25 + 15 / 16) / 40, (25 + 15 / 4) / 40
    across = 40 / (24 + 14 * 16 + 2 * 4)
    expected = np.diag([across, along, along]) / mean
    np.testing.assert_allclose(solution.tensor, expected, rtol=0, atol=1e-8)


def test_a_lattice_that_does_not_fit_is_an_error_that_says_so(device, monkeypatch):
    monkeypatch.setattr(device, "usable_memory", lambda: 10_000_000)
    with pytest.raises(DeviceMemoryError, match="lattice = 64: the exact solver needs"):
        solve(random_lattice(64, 0.1), device=device)
