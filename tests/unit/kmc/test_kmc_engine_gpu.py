"""The GPU engine's kernels, executed on the host, against the engine on CPU cores: bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
from host_device import HostDevice
from kmc_lattices import random_lattice, with_pocket

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.errors import DeviceMemoryError, TransportError
from morphion.kmc import engine_cpu, engine_gpu
from morphion.kmc.control import Control
from morphion.kmc.engine import WalkRequest
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.engine_gpu import GpuEngine
from morphion.kmc.palette import quantise
from morphion.kmc.run import estimate_all
from morphion.kmc.tables import start_sites, walk_tables
from morphion.kmc.transient import transient
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import rasterise
from morphion.transport.lattice import Lattice

KEY = stream_key(11, "kmc", "test")
LATTICES = {
    "even": lambda: random_lattice(16, 4, blocked=0.1),
    "odd": lambda: random_lattice(19, 5, blocked=0.3),
    "pocket": lambda: with_pocket(17, 2)[0],
    "structure": lambda: structure_lattice(26),
}


def structure_lattice(n, device=None):
    geometry = Geometry(voxels=40, particles=14)
    mix = Structures(rsa=1, chain=0, gapped=0)
    positions = generate(geometry, mix, 3, "rsa", 0)
    model = CoverageShell(shell_radius=0.9)
    return rasterise(positions, geometry.box_length, geometry.diameter, model, n, device)


@pytest.fixture(scope="module")
def device():
    return HostDevice()


@pytest.fixture(params=LATTICES, scope="module")
def lattice(request):
    return LATTICES[request.param]()


@pytest.fixture
def pair(lattice, device):
    return walk_tables(lattice), GpuEngine(device).prepare(lattice)


def any_control(n, seed=1):
    """A control of random velocities: the walk does not ask where they come from."""
    velocity = np.random.default_rng(seed).normal(size=(n**3, 3)).astype(np.float32)
    return Control(np.eye(3), velocity)


def unbricked(codes, n):
    """Codes in the order of sites from bricks of 4 x 4 x 2."""
    quarter, half = -(-n // 4), -(-n // 2)
    bricks = codes.reshape(quarter, quarter, half, 4, 4, 2)
    return bricks.transpose(0, 3, 1, 4, 2, 5).reshape(4 * quarter, 4 * quarter, 2 * half)[
        :n, :n, :n
    ]


def assert_same_walk(one, other):
    np.testing.assert_array_equal(one.displacements, other.displacements)
    np.testing.assert_array_equal(one.hops, other.hops)
    np.testing.assert_array_equal(one.next_sample, other.next_sample)
    if other.integrals is not None:
        np.testing.assert_array_equal(one.integrals, other.integrals)


def test_palette_and_summary_are_those_of_the_cpu(lattice, pair):
    on_cpu, on_gpu = pair
    codes, palette = quantise(lattice)
    np.testing.assert_array_equal(unbricked(on_gpu.codes, lattice.n), codes)
    np.testing.assert_array_equal(on_gpu.palette.b, palette.b)
    np.testing.assert_array_equal(on_gpu.palette.weight, palette.weight)
    assert on_gpu.summary.hop_rate == on_cpu.summary.hop_rate
    np.testing.assert_array_equal(on_gpu.summary.axis_bound, on_cpu.summary.axis_bound)
    np.testing.assert_array_equal(on_gpu.summary.row_cumulative, on_cpu.summary.row_cumulative)


@pytest.mark.parametrize("launch_hops", [2000, 1 << 34])
def test_walk_is_that_of_the_cpu_bit_for_bit(pair, device, launch_hops):
    on_cpu, on_gpu = pair
    interval = 6.5 / on_cpu.summary.hop_rate
    request = WalkRequest(KEY, (1 << 31) + 40, 150, interval, 35)
    assert_same_walk(
        engine_gpu.walk(device, on_gpu, request, launch_hops), engine_cpu.walk(on_cpu, request)
    )


@pytest.mark.parametrize("launch_hops", [2000, 1 << 34])
def test_integrals_of_a_control_are_those_of_the_cpu_bit_for_bit(lattice, device, launch_hops):
    control = any_control(lattice.n)
    on_cpu, on_gpu = walk_tables(lattice, control), GpuEngine(device).prepare(lattice, control)
    request = WalkRequest(KEY, 40, 150, 6.5 / on_cpu.summary.hop_rate, 35)
    expected = engine_cpu.walk(on_cpu, request)
    assert np.abs(expected.integrals).max() > 0
    assert_same_walk(engine_gpu.walk(device, on_gpu, request, launch_hops), expected)


def test_start_sites_are_those_of_the_cpu(pair, device):
    on_cpu, on_gpu = pair
    request = WalkRequest(KEY, 5, 200, 1.0, 1)
    site = engine_gpu.Launch(device, [(on_gpu, request)]).states()["site"]
    n = on_cpu.summary.n
    np.testing.assert_array_equal(
        np.ravel_multi_index(tuple(site.T), (n, n, n)), start_sites(on_cpu, KEY, 5, 200)
    )


@pytest.mark.parametrize("controlled", [False, True])
def test_a_batch_of_structures_walks_as_each_alone(device, controlled):
    """Boxes, durations and keys of several structures in one launch; curves and hops are equal."""
    lattices = [random_lattice(16, seed, blocked=0.1 * seed) for seed in range(3)]
    lattices = [replace(x, spacing=1.0 + i) for i, x in enumerate(lattices)]
    requests = [
        WalkRequest(stream_key(seed, "batch"), seed, walkers, 0.5 + seed, samples)
        for seed, (walkers, samples) in enumerate([(130, 33), (5, 48), (257, 40)])
    ]
    cpu, gpu = CpuEngine(2), GpuEngine(device, launch_hops=7000)
    shares = []
    controls = [any_control(16, seed) if controlled else None for seed in range(3)]

    def jobs(engine):
        prepared = map(engine.prepare, lattices, controls)
        return list(zip(prepared, requests, strict=True))

    found = gpu.walk(jobs(gpu), shares.append)
    expected = cpu.walk(jobs(cpu))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.curves.products, other.curves.products)
        if controlled:
            products = one.integral_curves.products, other.integral_curves.products
            np.testing.assert_array_equal(*products)
        assert one.hops == other.hops
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) > 1


def test_estimates_of_both_engines_are_the_same_bit_for_bit(device):
    lattices = [random_lattice(16, 7, blocked=0.2), with_pocket(16, 3)[0]]
    results = []
    for engine in (CpuEngine(2), GpuEngine(device)):
        prepared = [
            (engine.prepare(x), stream_key(i, "e"), transient(x)) for i, x in enumerate(lattices)
        ]
        results.append(estimate_all(prepared, engine, target_relative_error=0.1))
    for one, other in zip(*results, strict=True):
        for name, value in vars(one).items():
            if name != "seconds":
                np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("controlled", [False, True])
def test_a_device_short_of_memory_splits_the_batch(controlled):
    lattice, control = random_lattice(16, 4, blocked=0.1), any_control(16) if controlled else None
    request = WalkRequest(KEY, 0, 300, 0.7, 40)
    cpu = CpuEngine(1)
    whole = cpu.walk([(cpu.prepare(lattice, control), request)])
    small = HostDevice(memory=120_000)
    engine = GpuEngine(small)
    tables = engine.prepare(lattice, control)
    split = engine.walk([(tables, request)])
    assert small.launches.count("start") > 5
    if controlled:
        found, expected = split[0].integral_curves, whole[0].integral_curves
        np.testing.assert_array_equal(found.products, expected.products)
    np.testing.assert_array_equal(split[0].curves.products, whole[0].curves.products)
    assert split[0].hops == whole[0].hops


def test_a_batch_that_does_not_fit_after_all_is_halved(monkeypatch):
    """Another process took memory between the question and the allocation."""
    device = HostDevice(memory=200_000)
    monkeypatch.setattr(device, "usable_memory", lambda: 10_000_000)
    lattice, request = random_lattice(16, 4), WalkRequest(KEY, 0, 600, 0.7, 40)
    engine = GpuEngine(device)
    split = engine.walk([(engine.prepare(lattice), request)])
    cpu = CpuEngine(1)
    whole = cpu.walk([(cpu.prepare(lattice), request)])
    np.testing.assert_array_equal(split[0].curves.products, whole[0].curves.products)


def test_a_device_without_room_for_one_walker_is_an_error():
    engine = GpuEngine(HostDevice())
    tables = engine.prepare(random_lattice(16, 4))
    engine.device.memory = 1000
    with pytest.raises(DeviceMemoryError, match=r"host: .*MiB of its memory are left, and a walk"):
        engine.walk([(tables, WalkRequest(KEY, 0, 10, 1.0, 40))])


def test_two_jobs_without_room_for_one_walker_are_an_error(monkeypatch):
    device = HostDevice()
    engine = GpuEngine(device)
    jobs = [
        (engine.prepare(random_lattice(16, seed)), WalkRequest(KEY, 0, 4, 1.0, 40))
        for seed in (4, 5)
    ]
    for usable in (0, 4000):  # less than the tables that stay beside walkers
        monkeypatch.setattr(device, "usable_memory", lambda usable=usable: usable)
        with pytest.raises(DeviceMemoryError):
            engine.walk(jobs)
    monkeypatch.setattr(device, "usable_memory", lambda: 20_000)
    split = engine.walk(jobs)
    monkeypatch.setattr(device, "usable_memory", lambda: 10_000_000)
    for one, other in zip(split, engine.walk(jobs), strict=True):
        np.testing.assert_array_equal(one.curves.products, other.curves.products)


def test_weights_beyond_the_fixed_point_are_refused_as_on_the_cpu(device):
    energy = np.zeros((16, 16, 16))
    energy[0] = -40.0
    lattice = Lattice.from_fields(np.ones((16, 16, 16)), energy, 1.0)
    with pytest.raises(TransportError, match="range of affinities"):
        GpuEngine(device).prepare(lattice)
