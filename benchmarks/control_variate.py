"""What a label costs with a control variate from a coarser lattice, and without.

    python benchmarks/control_variate.py [--lattice 150] [--coarse 75] [--target 0.01]

Both are walked as ``labels`` does, with lags from coarser lattices, on one thread. The plain walk
is asked for ``--plain-target`` only and scaled to ``--target``: its relative variance x hops does
not depend on it. Seconds are processor time, so that other work on the machine hardly counts,
without rasterising and compilation. z is the deviation from the exact solution over the standard
error; delta = D_psi - D is what is left to the walk. Lines are kept in
``--csv``; a later call continues there.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.errors import muted
from morphion.exact import solve
from morphion.kmc import KmcResult, estimate
from morphion.kmc.control import control_variate
from morphion.kmc.palette import quantised
from morphion.kmc.tables import walk_tables
from morphion.labels.lags import lags
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import Lattice, rasterise

GEOMETRY = Geometry()
SEED = 41
STRUCTURES = (("rsa", 0), ("chain", 0), ("chain", 4), ("gapped", 0), ("gapped", 2))
MOST_HOPS = 5e11


def structure_of(family: str, index: int) -> tuple:
    """What ``rasterise`` and ``lags`` take of a structure."""
    positions = generate(GEOMETRY, Structures(), SEED, family, index)
    return positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell()


def lattice_of(structure: tuple, n: int) -> Lattice:
    with muted():  # coarse lattices resolve the shells poorly
        return rasterise(*structure, n)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Result and processor time of work."""
    begin = time.process_time()
    return work(), time.process_time() - begin


def measure(family: str, index: int, options) -> dict:
    structure = structure_of(family, index)
    lattice, coarse = (lattice_of(structure, n) for n in (options.lattice, options.coarse))
    known, planning = timed(lambda: lags(*structure, options.lattice).result())
    control, solving = timed(lambda: control_variate(lattice, coarse))
    exact, exactly = timed(lambda: solve(quantised(lattice), relative_residual=1e-6))
    _, preparing = timed(lambda: walk_tables(lattice))
    key = stream_key(SEED, "control variate", family, index)

    def walked(target: float, used) -> tuple[KmcResult, float]:
        walk, seconds = timed(
            lambda: estimate(
                lattice,
                key,
                target_relative_error=target,
                max_hops=MOST_HOPS,
                threads=1,
                known=known,
                control=used,
            )
        )
        return walk, seconds - preparing

    row = {name: getattr(options, name) for name in ("lattice", "coarse", "target")}
    row |= {"family": family, "index": index, "exact": exact.diffusivity, "exactly": exactly}
    row |= {"delta": np.trace(control.trial) / 3 / exact.diffusivity - 1}
    row |= {"preparing": preparing, "planning": planning, "solving": solving}
    for name, target, used in (
        ("plain", options.plain_target, None),
        ("control", options.target, control),
    ):
        walk, seconds = walked(target, used)
        error = walk.stderr / walk.diffusivity
        row |= {
            f"error_{name}": error,
            f"z_{name}": (walk.diffusivity - exact.diffusivity) / walk.stderr,
            f"tau_{name}": walk.shortest_lag,
            f"hops_{name}": walk.hops,
            f"cost_{name}": error**2 * walk.hops,
            f"seconds_{name}": seconds,
            f"reason_{name}": walk.reason,
        }
    return row


def totals(row: dict) -> tuple[float, float]:
    """Seconds of a label with the error asked for, without and with the control variate."""
    shared = row["preparing"] + row["planning"]
    plain = row["seconds_plain"] * max((row["error_plain"] / row["target"]) ** 2, 1)
    return shared + plain, shared + row["solving"] + row["seconds_control"]


def show(row: dict) -> None:
    plain, controlled = totals(row)
    print(
        f"{row['family']:>6} {row['index']:>3.0f} {row['delta']:>7.4f} "
        f"{row['tau_plain']:>8.3g} {row['tau_control']:>8.3g} "
        f"{row['z_plain']:>6.2f} {row['z_control']:>6.2f} {row['error_control']:>9.5f} "
        f"{row['hops_control']:>9.2e} {row['cost_plain']:>9.2e} {row['cost_control']:>9.2e} "
        f"{row['cost_plain'] / row['cost_control']:>7.0f} {plain:>8.1f} {controlled:>8.2f} "
        f"{plain / controlled:>6.1f} {row['solving']:>6.2f} {row['exactly']:>6.2f} "
        f"{row['reason_plain']} {row['reason_control']}",
        flush=True,
    )


def rows_of(path: Path, options) -> dict[tuple[str, int], dict]:
    """Lines of the table for this case, numbers as such."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = [
            {k: v if k == "family" or k.startswith("reason") else float(v) for k, v in r.items()}
            for r in csv.DictReader(file)
        ]
    case = ("lattice", "coarse", "target")
    here = [r for r in rows if all(r[k] == getattr(options, k) for k in case)]
    return {(r["family"], int(r["index"])): r for r in here}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattice", type=int, default=150)
    parser.add_argument("--coarse", type=int, default=75)
    parser.add_argument("--target", type=float, default=0.01, help="relative error asked for")
    parser.add_argument("--plain-target", type=float, default=0.02, help="of the plain walk")
    parser.add_argument("--csv", type=Path, default=Path("control_variate.csv"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="start none beyond")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    found = rows_of(options.csv, options)
    small = lattice_of(structure_of(*STRUCTURES[0]), 32)  # compiles what is timed
    estimate(small, 0, target_relative_error=0.4, control=control_variate(small, small))
    solve(small)
    print(
        "structure delta/D    tau r  control  z r, control     error      hops    cost r  control"
        "   ratio  seconds  control  ratio    psi  exact"
    )
    for family, index in STRUCTURES:
        if (family, index) not in found:
            if time.monotonic() > end:
                break
            row = measure(family, index, options)
            with open(options.csv, "a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row))
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
            found[family, index] = row
        show(found[family, index])


if __name__ == "__main__":
    main()
