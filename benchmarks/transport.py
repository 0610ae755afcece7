"""Time and memory of rasterising a structure on a lattice.

    python benchmarks/transport.py [--lattices 75 150 375] [--repeats 5]

Prints, for both transport models, the best wall time, sites/s, and the peak memory of the process.
"""

import argparse
import resource
import time
from pathlib import Path

import numba

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.structures.families import generate
from morphion.transport import load_transport, rasterise

TABLE = Path(__file__).parents[1] / "config" / "transport" / "example-table.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattices", type=int, nargs="+", default=[75, 150, 375])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    geometry = Geometry()
    positions = generate(geometry, Structures(), 1, "chain", 4)
    print(f"{numba.get_num_threads()} threads")
    print(f"{'model':16} {'n':>4} {'seconds':>9} {'Msites/s':>9} {'peak GiB':>9}")
    for n in arguments.lattices:
        for model in (CoverageShell(), load_transport(TABLE)):
            rasterise(positions, geometry.box_length, geometry.diameter, model, 64)  # compile
            best = float("inf")
            for _ in range(arguments.repeats):
                start = time.perf_counter()
                rasterise(positions, geometry.box_length, geometry.diameter, model, n)
                best = min(best, time.perf_counter() - start)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            rate = n**3 / best / 1e6
            print(f"{model.model:16} {n:4d} {best:9.3f} {rate:9.1f} {peak:9.2f}", flush=True)


if __name__ == "__main__":
    main()
