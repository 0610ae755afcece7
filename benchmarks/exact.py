"""Time, iterations and memory of the exact solver, and its share of the memory bound.

    python benchmarks/exact.py [--lattices 64 75 150] [--residual 1e-5] [--axes 3] [--seed 1]
    python benchmarks/exact.py --engine gpu --lattices 75 150 375

The bound counts what one iteration must move if every array streams from memory once per pass.
On CPU cores:

    pass                            bytes a site
    matrix times p (float64)        b 4, p 8, q 8
    update of x and r               x 16, r 16, p 8, q 8
    z r and z q                     z 4, r 8, q 8
    new direction                   z 4, p 16
    V-cycle, finest level           first sweep: b 4, r 8, x 4; three sweeps: b 4, r 8, x 4,
                                    out 8 each; residual: b 4, r 8, x 4; prolongation: x 8
    K-cycle, coarse levels          twice per level at an eighth of the sites: about a third
                                    of seven passes of 32 bytes

against the bandwidth that a float64 triad reaches on the same threads in the same run. On a GPU,
with s = D^-1 r in float32 and C, the bytes of a coarse field a site, 4/8:

    kernel                          bytes a site
    finest_pre_smooth               b 4, s 4, x 4
    finest_restrict                 b 4, s 4, x 4, bonds 3 C, s C
    finest_post_smooth_1            b 4, s 4, x 4, y 4, c C
    finest_post_smooth_2            b 4, s 4, y 4, x 8, c C, q 8
    turn                            z 4, p 16, x 16
    apply                           b 4, p 8, q 8
    advance                         b 4, q 8, r 16, s 4
    K-cycle, coarse levels          two cycles of 95 bytes a site of the level, as above with
                                    three bonds for b; products 24 and sums 12 for each; 2^d calls
                                    of the level with 8^-(d+1) of the sites, d = 0, 1, ...

against the bandwidth of a device-to-device copy measured in the same run. The lattice lies on the
device from the start, as the rasteriser leaves it.
"""

import argparse
import resource
import time

import numba
import numpy as np
from kmc_gpu import copy_rate
from numba import njit, prange

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.gpu import CudaDevice, choose
from morphion.structures.families import generate
from morphion.transport import rasterise

BYTES_CPU = 20 + 48 + 20 + 20 + (16 + 3 * 24 + 16 + 8) + 7 * 32 / 3
FLOPS_CPU = 24 + 6 + 4 + 2 + (8 + 3 * 28 + 24 + 1) + 7 * 24 / 3
BYTES_GPU = (12 + 14 + 16.5 + 28.5) + 36 + 20 + 32 + (2 * 95 + 2 * 24 + 2 * 12) / 8 * 4 / 3
CASES = {
    "rsa": ("rsa", 0),
    **{
        f"chain {low:g}-{high:g}": ("chain", window)
        for window, (low, high) in enumerate(Structures().chain_windows)
    },
    "gapped, 1 axis": ("gapped", 0),
    "gapped, 2 axes": ("gapped", 1),
    "gapped, 3 axes": ("gapped", 2),
}


@njit(parallel=True)
def _triad(a, b, c):
    for i in prange(a.shape[0]):
        a[i] = b[i] + 3.0 * c[i]


def bandwidth() -> float:
    """Bytes/s of a float64 triad over 0.6 GB."""
    a, b, c = (np.ones(25_000_000) for _ in range(3))
    _triad(a, b, c)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        _triad(a, b, c)
        times.append(time.perf_counter() - start)
    return 24 * len(a) / min(times)


def memory_peak(device: CudaDevice | None) -> float:
    """GiB that this process has held at most, on the device if there is one."""
    if device is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return device.xp.get_default_memory_pool().total_bytes() / 2**30  # freed blocks included


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--lattices", type=int, nargs="+", default=[64, 75, 150])
    parser.add_argument("--residual", type=float, default=1e-5)
    parser.add_argument("--axes", type=int, choices=(1, 2, 3), default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    geometry, axes = Geometry(), tuple(range(arguments.axes))
    device = choose(arguments.engine)
    if device is None:
        stream, moved = bandwidth(), BYTES_CPU
        print(f"{numba.get_num_threads()} threads, triad {stream / 1e9:.1f} GB/s")
        print(f"an iteration takes {FLOPS_CPU:.0f} flops a site")
    else:
        stream, moved = copy_rate(device), BYTES_GPU
        print(f"{device.name}, copy {stream / 1e9:.0f} GB/s")
    print(f"an iteration moves {moved:.0f} bytes a site")
    print(
        f"{'case':16} {'n':>4} {'iterations':>12} {'seconds':>9} {'ms/iter':>8} {'bound':>6}"
        f" {'peak GiB':>9} {'D':>9}"
    )
    for n in arguments.lattices:
        for case in arguments.cases:
            if device is not None:
                device.release()
            family, index = CASES[case]
            positions = generate(geometry, Structures(), arguments.seed, family, index)
            lattice = rasterise(
                positions, geometry.box_length, geometry.diameter, CoverageShell(), n, device
            )
            runs = [
                solve(lattice, arguments.residual, axes=axes, device=device)
                for _ in range(arguments.repeats)
            ]
            best = min(runs, key=lambda solution: solution.seconds)
            per_iteration = best.seconds / best.iterations.sum()
            share = moved * n**3 / stream / per_iteration
            iterations = " ".join(str(best.iterations[axis]) for axis in axes)
            mean = np.trace(best.tensor[: len(axes), : len(axes)]) / len(axes)
            print(
                f"{case:16} {n:4d} {iterations:>12} {best.seconds:9.3f} {1e3 * per_iteration:8.1f}"
                f" {100 * share:5.0f}% {memory_peak(device):9.2f} {mean:9.6f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
