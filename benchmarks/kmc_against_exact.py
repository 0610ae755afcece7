"""z = (D_kMC - D_exact) / stderr over structures of all families, and the cost of their labels.

    python benchmarks/kmc_against_exact.py [--structures 120] [--lattice 75] [--target 0.03]

Both methods see the same quantised lattice, so z must have mean 0 and standard deviation 1.
"""

import argparse

import numpy as np

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.kmc import estimate
from morphion.kmc.palette import quantised
from morphion.philox import stream_key
from morphion.progress import progress
from morphion.structures.families import enumerate_structures, generate
from morphion.transport import rasterise

GEOMETRY = Geometry()
MIX = Structures()


def compare(family: str, index: int, n: int, target: float, seed: int) -> tuple:
    """Whether the walk converged, z of D and of the six tensor components, seconds."""
    positions = generate(GEOMETRY, MIX, seed, family, index)
    lattice = rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell(), n)
    exact = solve(quantised(lattice), relative_residual=1e-5)
    key = stream_key(seed, "kmc-against-exact", family, index)
    walk = estimate(lattice, key, target_relative_error=target)
    components = np.triu_indices(3)
    tensor_z = ((walk.tensor - exact.tensor) / walk.tensor_stderr)[components]
    return walk.converged, (walk.diffusivity - exact.diffusivity) / walk.stderr, tensor_z, walk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=120, help="first N of the data set")
    parser.add_argument("--lattice", type=int, default=75)
    parser.add_argument("--target", type=float, default=0.03, help="relative error asked for")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    chosen = enumerate_structures(MIX)[: options.structures]
    found, seconds = [], {}
    with progress("labels", len(chosen), "structures") as report:
        for family, index in chosen:
            entry = compare(family, index, options.lattice, options.target, options.seed)
            found.append(entry)
            seconds.setdefault(family, []).append(entry[3].seconds)
            report.advance()
    used = [entry for entry in found if entry[0]]
    z = np.array([entry[1] for entry in used])
    tensor = np.array([entry[2] for entry in used])
    print(f"{len(found)} structures, {len(found) - len(used)} flagged as not converged")
    print(f"z of D: mean {z.mean():.3f}, standard deviation {z.std(ddof=1):.3f}")
    print("z of xx, xy, xz, yy, yz, zz: mean", tensor.mean(axis=0).round(2))
    print("                standard deviation", tensor.std(axis=0, ddof=1).round(2))
    for family, times in seconds.items():
        print(f"{family:7s} median {np.median(times):.2f} s, longest {max(times):.2f} s a label")


if __name__ == "__main__":
    main()
