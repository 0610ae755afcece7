"""z = (D_kMC - D_exact) / stderr over structures of all families, and the cost of their labels.

    python benchmarks/kmc_against_exact.py [--structures 216] [--lattice 75] [--target 0.03]
    python benchmarks/kmc_against_exact.py --engine gpu --lattice 375 --target 0.01 --at-once 64

Both methods see the lattice of the walk's palette, so z must have mean 0 and standard deviation 1;
what the palette itself changes is printed beside. Families take turns, and chain windows and
numbers of slabs within them, so that any number of structures is an even draw. Each finished
structure is a line of ``--csv``: a later call continues there, and one that ``--minutes`` ended
prints what there is. A GPU needs the walkers of many structures ``--at-once``.
"""

import argparse
import csv
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.gpu import CudaDevice, choose
from morphion.kmc.engine_cpu import CpuEngine
from morphion.kmc.engine_gpu import GpuEngine
from morphion.kmc.palette import quantised
from morphion.kmc.run import estimate_all
from morphion.labels.lags import lags
from morphion.philox import stream_key
from morphion.progress import progress
from morphion.structures.families import FAMILIES, generate
from morphion.transport import rasterise

GEOMETRY = Geometry()
MIX = Structures()
COMPONENTS = ("xx", "xy", "xz", "yy", "yz", "zz")
COLUMNS = (
    *("seed", "lattice", "target", "family", "index", "exact", "palette_shift"),
    *("planning", "diffusivity", "stderr"),
    *(f"z_{name}" for name in COMPONENTS),
    *("walkers", "duration", "shortest_lag", "hops", "pilot_hops", "seconds", "efficiency"),
    "reason",
)


def structure_of(family: str, index: int, seed: int) -> tuple:
    """What ``rasterise`` and ``lags`` take of a structure."""
    positions = generate(GEOMETRY, MIX, seed, family, index)
    return positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell()


@dataclass(frozen=True)
class Compared:
    """A structure whose walk is still to come."""

    row: dict
    tensor: np.ndarray
    prepared: tuple


def solved(
    family: str, index: int, n: int, target: float, seed: int, device: CudaDevice | None
) -> Compared:
    """The exact part, and what the walk takes."""
    structure = structure_of(family, index, seed)
    on_cores = rasterise(*structure, n)
    lattice = on_cores if device is None else rasterise(*structure, n, device)
    exact = solve(quantised(on_cores), relative_residual=1e-5, device=device)
    unquantised = solve(lattice, relative_residual=1e-5, device=device)
    begin = time.perf_counter()
    known = lags(*structure, n).result()
    row = {"seed": seed, "lattice": n, "target": target, "family": family, "index": index}
    row |= {"exact": exact.diffusivity, "planning": time.perf_counter() - begin}
    row |= {"palette_shift": exact.diffusivity / unquantised.diffusivity - 1}
    key = stream_key(seed, "kmc-against-exact", family, index)
    return Compared(row, exact.tensor, (engine_of(device).prepare(lattice), key, known))


def engine_of(device: CudaDevice | None) -> CpuEngine | GpuEngine:
    """The engine on a device, or on all cores."""
    return CpuEngine(len(os.sched_getaffinity(0))) if device is None else GpuEngine(device)


def walked(compared: list[Compared], target: float, device: CudaDevice | None) -> Iterator[dict]:
    """Finished rows of structures that are walked together."""
    prepared = [found.prepared for found in compared]
    walks = estimate_all(prepared, engine_of(device), target_relative_error=target, max_hops=5e11)
    for found, walk in zip(compared, walks, strict=True):
        z = ((walk.tensor - found.tensor) / walk.tensor_stderr)[np.triu_indices(3)]
        row = found.row | {f"z_{name}": value for name, value in zip(COMPONENTS, z, strict=True)}
        yield row | {name: getattr(walk, name) for name in COLUMNS if hasattr(walk, name)}


def measure(path: Path, chosen: list[tuple[str, int]], options, device: CudaDevice | None) -> None:
    """Append to ``path`` the structures that it lacks, until ``options.minutes`` have passed."""
    case = (options.lattice, options.target, options.seed)
    found = {which_of(row) for row in rows_of(path, *case)}
    left = [which for which in chosen if which not in found]
    end = time.monotonic() + 60 * options.minutes
    with (
        open(path, "a", newline="", encoding="utf-8") as file,
        progress("labels", len(left), "structures") as report,
    ):
        table = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            table.writeheader()
        for first in range(0, len(left), options.at_once):
            if time.monotonic() >= end:
                break
            part = left[first : first + options.at_once]
            compared = [solved(*which, *case, device) for which in part]
            table.writerows(walked(compared, options.target, device))
            file.flush()
            report.advance(len(part))


def which_of(row: dict) -> tuple[str, int]:
    """The structure of a line."""
    return row["family"], int(row["index"])


def rows_of(path: Path, lattice: int, target: float, seed: int) -> list[dict]:
    """Lines of the table with this lattice, target and seed."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        case = (str(lattice), str(target), str(seed))
        return [
            row
            for row in csv.DictReader(file)
            if (row["lattice"], row["target"], row["seed"]) == case
        ]


def z_of(row: dict) -> float:
    return (float(row["diffusivity"]) - float(row["exact"])) / float(row["stderr"])


def summarise(rows: list[dict]) -> None:
    """z of those that are not flagged, and the median cost by family."""
    used = [row for row in rows if not row["reason"]]
    print(f"{len(rows)} structures, {len(rows) - len(used)} flagged as not converged")
    if len(used) < 2:
        print(f"too few for a spread; z of D: {[round(z_of(row), 2) for row in used]}")
        return
    z = np.array([(float(r["diffusivity"]) - float(r["exact"])) / float(r["stderr"]) for r in used])
    print(
        f"z of D: mean {z.mean():.3f} +- {1 / math.sqrt(z.size):.3f}, "
        f"standard deviation {z.std(ddof=1):.3f} +- {1 / math.sqrt(2 * z.size):.3f}"
    )
    shift = np.array([float(row["palette_shift"]) for row in rows])
    print(f"shift of D by the palette: mean {shift.mean():.2%}, largest {np.abs(shift).max():.3%}")
    tensor = np.array([[float(row[f"z_{name}"]) for name in COMPONENTS] for row in used])
    print(f"z of {', '.join(COMPONENTS)}: mean", tensor.mean(axis=0).round(2))
    print("                standard deviation", tensor.std(axis=0, ddof=1).round(2))
    print("family  structures  mean z  sd z  rel. error  efficiency (lowest)  rel. variance x hops")
    for family in FAMILIES:
        here = [row for row in used if row["family"] == family]
        if here:
            summarise_family(family, here, z[[row["family"] == family for row in used]])


def summarise_family(family: str, rows: list[dict], z: np.ndarray) -> None:
    """Medians over the structures of a family."""
    numbers = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("diffusivity", "stderr", "efficiency", "hops", "seconds", "planning")
    }
    relative = numbers["stderr"] / numbers["diffusivity"]
    cost = relative**2 * numbers["hops"]
    spread = f"{z.std(ddof=1):.2f}" if z.size > 1 else "-"
    print(
        f"{family:7s} {len(rows):>10d} {z.mean():>7.2f} {spread:>5s} {np.median(relative):>11.4f} "
        f"{np.median(numbers['efficiency']):>11.2f} ({numbers['efficiency'].min():.2f}) "
        f"{np.median(cost):>20.3g}   seconds {np.median(numbers['seconds']):.2f} "
        f"(longest {numbers['seconds'].max():.2f}), planning {np.median(numbers['planning']):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=216, help="families take turns")
    parser.add_argument("--lattice", type=int, default=75)
    parser.add_argument("--target", type=float, default=0.03, help="relative error asked for")
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--csv", type=Path, default=Path("kmc_against_exact.csv"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no label beyond")
    parser.add_argument("--at-once", type=int, default=1, help="structures walked together")
    parser.add_argument("--engine", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args()
    chosen = [(FAMILIES[k % len(FAMILIES)], k // len(FAMILIES)) for k in range(options.structures)]
    measure(options.csv, chosen, options, choose(options.engine))
    rows = rows_of(options.csv, options.lattice, options.target, options.seed)
    summarise([row for row in rows if which_of(row) in chosen])


if __name__ == "__main__":
    main()
