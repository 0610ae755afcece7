"""The walk and the rasteriser on a real GPU, against CPU cores: bit for bit."""

import numpy as np
import pytest

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.errors import DeviceMemoryError
from morphion.exact import solve
from morphion.kmc import engine_cpu, engine_gpu
from morphion.kmc.control import Control
from morphion.kmc.engine import WalkRequest
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.engine_gpu import GpuEngine
from morphion.kmc.palette import quantised
from morphion.kmc.run import estimate_all
from morphion.kmc.tables import walk_tables
from morphion.kmc.transient import transient
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import rasterise

pytestmark = pytest.mark.gpu

GEOMETRY = Geometry()
FAMILIES = (("rsa", 0), ("chain", 0), ("chain", 4), ("gapped", 2))


def lattice_of(family, index, n, device=None):
    positions = generate(GEOMETRY, Structures(), 7, family, index)
    model = CoverageShell()
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, model, n, device)


@pytest.mark.parametrize(("family", "index"), FAMILIES)
@pytest.mark.parametrize("n", [64, 75])
def test_lattice_is_that_of_the_cpu_bit_for_bit(device, family, index, n):
    found, expected = lattice_of(family, index, n, device), lattice_of(family, index, n)
    np.testing.assert_array_equal(device.host(found.b), expected.b)
    np.testing.assert_array_equal(device.host(found.weight), expected.weight)


@pytest.mark.parametrize(("family", "index"), FAMILIES)
@pytest.mark.parametrize("n", [75, 150, 375])
def test_walk_is_that_of_the_cpu_bit_for_bit(device, family, index, n):
    tables = walk_tables(lattice_of(family, index, n))
    request = WalkRequest(stream_key(1, "gpu"), 5, 300, 200 / tables.summary.hop_rate, 50)
    prepared = GpuEngine(device).prepare(lattice_of(family, index, n, device))
    found = engine_gpu.walk(device, prepared, request, launch_hops=2_000_000)
    expected = engine_cpu.walk(tables, request, threads=4)
    np.testing.assert_array_equal(found.displacements, expected.displacements)
    np.testing.assert_array_equal(found.hops, expected.hops)
    np.testing.assert_array_equal(found.next_sample, expected.next_sample)


def test_integrals_of_a_control_are_those_of_the_cpu_bit_for_bit(device):
    lattice = lattice_of("chain", 4, 75)
    velocity = np.random.default_rng(1).normal(size=(lattice.n**3, 3)).astype(np.float32)
    control = Control(np.eye(3), velocity)
    tables = walk_tables(lattice, control)
    request = WalkRequest(stream_key(1, "gpu"), 5, 300, 200 / tables.summary.hop_rate, 50)
    prepared = GpuEngine(device).prepare(lattice, control)
    found = engine_gpu.walk(device, prepared, request, launch_hops=2_000_000)
    expected = engine_cpu.walk(tables, request, threads=4)
    np.testing.assert_array_equal(found.displacements, expected.displacements)
    np.testing.assert_array_equal(found.integrals, expected.integrals)


def test_labels_of_a_batch_are_those_of_the_cpu_and_agree_with_the_exact_solver(device):
    results = []
    for engine, place in ((GpuEngine(device), device), (CpuEngine(8), None)):
        prepared = [
            (
                engine.prepare(lattice_of(*which, 75, place)),
                stream_key(2, *map(str, which)),
                transient(lattice_of(*which, 56)),
            )
            for which in FAMILIES
        ]
        results.append(estimate_all(prepared, engine, target_relative_error=0.05))
    for which, found, expected in zip(FAMILIES, *results, strict=True):
        assert found.diffusivity == expected.diffusivity
        assert found.stderr == expected.stderr
        assert found.hops == expected.hops
        np.testing.assert_array_equal(found.msd, expected.msd)
        exact = solve(quantised(lattice_of(*which, 75)), relative_residual=1e-5)
        assert abs(found.diffusivity - exact.diffusivity) < 3 * found.stderr


def test_what_does_not_fit_is_an_error_that_says_so(device):
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        device.empty(1 << 50, np.uint8)
    assert device.usable_memory() > 0
