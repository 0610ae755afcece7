"""Hops per second and core of the walk beside a plain one, and the cost of a label.

    python benchmarks/kmc.py [--lattices 75 150] [--hops 2e7] [--labels]

The bound is what the same loop does when all tables fit the caches next to a core: the chain
structure on a lattice of 20 sites. CPU seconds count, so that other work on the machine disturbs
little but the shared cache; of several repetitions the fastest counts. The plain walk is what one
writes first: one walker after another, float b, six neighbours summed at every hop, math.log.
"""

import argparse
import math
import time

import numpy as np
from numba import njit

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.kmc import engine_cpu, estimate
from morphion.kmc.engine import WalkRequest
from morphion.kmc.palette import quantised
from morphion.kmc.tables import WORDS, walk_tables
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import rasterise

GEOMETRY = Geometry()
WALKERS = 128
REPETITIONS = 5
CACHED = 20
LINE = 64
LABELLED = (("rsa", 0), *(("chain", i) for i in range(8)), *(("gapped", i) for i in range(3)))


def lattice_of(family: str, index: int, n: int):
    positions = generate(GEOMETRY, Structures(), 1, family, index)
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell(), n)


def hops_per_second(n: int, hops: float) -> tuple[float, float]:
    """Hops per CPU second of one thread, and seconds to make the tables."""
    lattice = lattice_of("chain", 4, n)
    walk_tables(lattice)
    begin = time.perf_counter()
    tables = walk_tables(lattice)
    preparation = time.perf_counter() - begin
    key = stream_key(1, "benchmark")
    duration = hops / WALKERS / tables.summary.hop_rate
    engine_cpu.walk(tables, WalkRequest(key, 0, WALKERS, duration / 1e4, 1))
    best = 0.0
    for _ in range(REPETITIONS):
        begin = time.process_time()
        walk = engine_cpu.walk(tables, WalkRequest(key, 0, WALKERS, duration / 64, 64))
        best = max(best, walk.hops.sum() / (time.process_time() - begin))
    return best, preparation


@njit(error_model="numpy")
def _plain_walk(b, a, start, duration, random):
    """Hops and mean squared displacement (sites^2) of walkers from ``start`` (flat site numbers).

    b, a: float32 [n, n, n]; ``duration`` in units of h^2; ``random``: a NumPy generator.
    """
    n = b.shape[0]
    hops, square = 0, 0.0
    rate = np.empty(6)
    for site in start:
        i, j, k = site // (n * n), site // n % n, site % n
        x, y, z = i, j, k
        elapsed = 0.0
        while True:
            rate[0], rate[1] = b[(i + 1) % n, j, k], b[(i - 1) % n, j, k]
            rate[2], rate[3] = b[i, (j + 1) % n, k], b[i, (j - 1) % n, k]
            rate[4], rate[5] = b[i, j, (k + 1) % n], b[i, j, (k - 1) % n]
            total = rate.sum()
            elapsed -= math.log(1 - random.random()) / (a[i, j, k] * total)
            if not elapsed < duration:
                break
            left, direction = random.random() * total - rate[0], 0
            while left >= 0 and direction < 5:
                direction += 1
                left -= rate[direction]
            step = 1 - 2 * (direction % 2)
            if direction < 2:
                x, i = x + step, (i + step) % n
            elif direction < 4:
                y, j = y + step, (j + step) % n
            else:
                z, k = z + step, (k + step) % n
            hops += 1
        square += (x - site // (n * n)) ** 2 + (y - site // n % n) ** 2 + (z - site % n) ** 2
    return hops, square / len(start)


def plain_hops_per_second(n: int, hops: float) -> float:
    """Hops per CPU second of the plain walk on the lattice of ``hops_per_second``."""
    lattice = lattice_of("chain", 4, n)
    weight = lattice.weight.ravel().astype(np.float64)
    random = np.random.default_rng(1)
    start = random.choice(weight.size, WALKERS, p=weight / weight.sum())
    duration = hops / WALKERS / walk_tables(lattice).summary.hop_rate / lattice.spacing**2
    _plain_walk(lattice.b, lattice.a, start, duration / 1e4, random)
    best = 0.0
    for _ in range(REPETITIONS):
        begin = time.process_time()
        done, _ = _plain_walk(lattice.b, lattice.a, start, duration, random)
        best = max(best, done / (time.process_time() - begin))
    return best


def labels(target: float) -> None:
    """Cost and z of one label of each family and window at n = 75."""
    print(f"labels at n = 75, relative error {target:g}")
    print("structure    diffusivity  rel. error      z  million hops  seconds  efficiency")
    for family, index in LABELLED:
        lattice = lattice_of(family, index, 75)
        result = estimate(lattice, 1, target_relative_error=target)
        z = (result.diffusivity - solve(quantised(lattice)).diffusivity) / result.stderr
        print(
            f"{family:>6} {index:>3} {result.diffusivity:>14.5f} "
            f"{result.stderr / result.diffusivity:>11.4f} {z:>6.2f} {result.hops / 1e6:>13.1f} "
            f"{result.seconds:>8.2f} {result.efficiency:>11.2f} {result.reason}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattices", type=int, nargs="+", default=[75, 150])
    parser.add_argument("--hops", type=float, default=2e7, help="hops of a repetition")
    parser.add_argument("--labels", action="store_true", help="also label one of each family")
    parser.add_argument("--target", type=float, default=0.03, help="relative error of the labels")
    arguments = parser.parse_args()
    bound, _ = hops_per_second(CACHED, arguments.hops)
    record = 4 * WORDS
    print(f"bound (n = {CACHED}, tables in cache): {bound / 1e6:.1f} million hops/s a core")
    print(
        "n    million hops/s a core  share of bound  plain walk  ratio"
        "  table, MB  bytes a hop (line)  tables, s"
    )
    for n in arguments.lattices:
        speed, preparation = hops_per_second(n, arguments.hops)
        plain = plain_hops_per_second(n, arguments.hops)
        print(
            f"{n:<4} {speed / 1e6:>21.1f} {speed / bound:>15.2f} {plain / 1e6:>11.1f} "
            f"{speed / plain:>6.1f} {record * n**3 / 1e6:>10.1f} "
            f"{record:>12} ({LINE}) {preparation:>13.3f}",
            flush=True,
        )
    if arguments.labels:
        labels(arguments.target)


if __name__ == "__main__":
    main()
