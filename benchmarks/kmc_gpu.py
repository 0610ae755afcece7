"""Hops per second of the walk on a GPU, and its share of the memory bound.

    python benchmarks/kmc_gpu.py [--lattices 75 150 375] [--structures 16] [--walkers 8192]

A site and its six neighbours lie in bricks of 4 x 4 x 2 one-byte codes, the 32-byte sectors of
memory. A move along x or y leaves the brick at one site in four on either side, along z at one in
two, so that the seven sites of a hop touch 1 + 2/4 + 2/4 + 2/2 = 3 sectors on average. The bound is
96 bytes a hop at the rate of a device-to-device copy measured in the same run. Where the codes of a
structure stay in the device's cache, a walk can exceed it.
"""

import argparse
import time

import numpy as np

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.gpu import choose
from morphion.kmc.engine import WalkRequest
from morphion.kmc.engine_gpu import GpuEngine, Launch
from morphion.philox import stream_key
from morphion.structures.families import enumerate_structures, generate
from morphion.transport import rasterise

GEOMETRY = Geometry()
MIX = Structures()
SECTORS, SECTOR = 3, 32
SAMPLES = 64
ROUNDS = 1 << 17


def copy_rate(device) -> float:
    """Bytes/s, read and written, of a copy of half a gigabyte on the device."""
    source, target = (device.zeros(1 << 26, np.float64) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        target[...] = source
        device.host(target[:1])
        best = min(best, time.perf_counter() - begin)
    return 2 * source.nbytes / best


def batch(engine: GpuEngine, n: int, structures: int, walkers: int, hops: float):
    """Jobs of the first structures of the paper's mix, and seconds to prepare one."""
    chosen = enumerate_structures(MIX)
    jobs, begin = [], time.perf_counter()
    for family, index in chosen[:: len(chosen) // structures][:structures]:
        positions = generate(GEOMETRY, MIX, 1, family, index)
        lattice = rasterise(
            positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell(), n, engine.device
        )
        tables = engine.prepare(lattice)
        interval = hops / SAMPLES / tables.summary.hop_rate
        key = stream_key(1, "benchmark", family, index)
        jobs.append((tables, WalkRequest(key, 0, walkers, interval, SAMPLES)))
    return jobs, (time.perf_counter() - begin) / structures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattices", type=int, nargs="+", default=[75, 150, 375])
    parser.add_argument("--structures", type=int, default=16, help="walked in one launch")
    parser.add_argument("--walkers", type=int, default=8192, help="of each structure")
    parser.add_argument("--hops", type=float, default=2e5, help="of a walker")
    arguments = parser.parse_args()
    device = choose("gpu")
    engine = GpuEngine(device)
    rate = copy_rate(device)
    bound = rate / (SECTORS * SECTOR)
    print(f"{device.name}: copy {rate / 1e9:.0f} GB/s, bound {bound:.3g} hops/s")
    print("n     hops/s    sectors/hop  share of bound  prepare one, s  products, s  codes, MB")
    for n in arguments.lattices:
        # A first launch, whose time does not count, loads the kernels.
        short, _ = batch(engine, n, 1, 128, 1e2)
        Launch(device, short).run(ROUNDS, lambda samples: None)
        jobs, preparation = batch(
            engine, n, arguments.structures, arguments.walkers, arguments.hops
        )
        launch = Launch(device, jobs)
        launch.states()
        begin = time.perf_counter()
        launch.run(ROUNDS, lambda samples: None)
        walked = time.perf_counter() - begin
        hops = int(launch.states()["count"].sum())
        begin = time.perf_counter()
        launch.products()
        reduced = time.perf_counter() - begin
        print(
            f"{n:<5} {hops / walked:<9.3g} {SECTORS:>11} {hops / walked / bound:>15.2f} "
            f"{preparation:>15.3f} {reduced:>12.3f} {jobs[0][0].codes.nbytes / 1e6:>10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
