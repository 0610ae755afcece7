"""Structures that trap cations: are their labels converged, flagged, or silently biased?

    python benchmarks/trapping.py [--lattice 75] [--target 0.05] [--seeds 10] [--minutes 4]

Of 500 structures (450 of the paper's mix, and 50 ``compact`` ones whose particles stand in one
block with gaps of 20 to 24 voxels on all sides) the 20 with the longest relaxation time
L^2 / (4 pi^2 D) along their slowest axis are labelled by kMC from several seeds: as asked, and with
a tenth of the hops that this took. Labels that are not flagged must have z of mean 0 and standard
deviation 1. The bias that is left is also computed without noise, from the lattice's transient, for
``--bias-targets``: of these 20, and of one structure of each variant of each family. Lines are kept
in ``--folder``; a later call continues there.
"""

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.exact.bonds import Bonds
from morphion.kmc import estimate
from morphion.kmc.palette import quantised
from morphion.kmc.plan import relative_intercept, shortest_lag
from morphion.kmc.tables import walk_tables
from morphion.kmc.transient import joined, relaxation
from morphion.kmc.weights import LAGS_PER_WINDOW_START, slope_weights
from morphion.labels.lags import lags
from morphion.philox import stream_key
from morphion.progress import progress
from morphion.structures.families import enumerate_structures, generate
from morphion.transport import rasterise

GEOMETRY = Geometry()
MIX = Structures()
COMPACT = Structures(slab_width=(20.0, 24.0))
SEED = 31
DRAWN, DRAWN_COMPACT, SLOWEST = 450, 50, 20
THREE_SLABS = 2  # index of the first gapped structure with gaps along all axes; every third has
EVEN = [("rsa", 0), *(("chain", i) for i in range(8)), *(("gapped", i) for i in range(3))]
SCARCE = 0.1  # of the hops that a label took
STRUCTURE = ("family", "index")
RANKED = (*STRUCTURE, "diffusivity", "lowest", "relaxation_time")
LABELLED = (
    *STRUCTURE,
    "budget",
    "seed",
    "exact",
    "diffusivity",
    "stderr",
    "z_lowest",
    "hops",
    "seconds",
    "reason",
)
BIASED = (*STRUCTURE, "target", "bias_over_stderr", "worst_axis", "shortest_lag", "needed_lag")


def structure_of(family: str, index: int) -> tuple:
    """What ``rasterise`` and ``lags`` take of a structure."""
    if family == "compact":
        positions = generate(GEOMETRY, COMPACT, SEED, "gapped", THREE_SLABS + 3 * index)
    else:
        positions = generate(GEOMETRY, MIX, SEED, family, index)
    return positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell()


class Table:
    """A CSV that a later call continues."""

    def __init__(self, path: Path, columns: tuple[str, ...]):
        self.path, self.columns = path, columns
        self.rows: list[dict] = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))

    def has(self, **key) -> bool:
        return any(all(row[k] == str(v) for k, v in key.items()) for row in self.rows)

    def add(self, **row) -> None:
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append({name: str(value) for name, value in row.items()})


def rank(table: Table, n: int, end: float) -> None:
    """Diffusivity and relaxation time of every structure drawn."""
    drawn = enumerate_structures(MIX)[:DRAWN] + [("compact", i) for i in range(DRAWN_COMPACT)]
    with progress("exact", len(drawn), "structures") as report:
        for family, index in drawn:
            if not table.has(family=family, index=index) and time.monotonic() < end:
                found = solve(rasterise(*structure_of(family, index), n), relative_residual=1e-4)
                lowest = np.linalg.eigvalsh(found.tensor)[0]
                table.add(
                    family=family,
                    index=index,
                    diffusivity=found.diffusivity,
                    lowest=lowest,
                    relaxation_time=GEOMETRY.box_length**2 / (4 * math.pi**2 * lowest),
                )
            report.advance()


def slowest(table: Table) -> list[tuple[str, int]]:
    ranked = sorted(table.rows, key=lambda row: -float(row["relaxation_time"]))
    return [(row["family"], int(row["index"])) for row in ranked[:SLOWEST]]


def label(table: Table, structure: tuple[str, int], options, end: float) -> None:
    """Labels of a structure from every seed, as asked and with scarce hops."""
    name = dict(zip(STRUCTURE, structure, strict=True))
    seeds = [s for s in range(options.seeds) if not table.has(**name, budget="scarce", seed=s)]
    if not seeds:
        return
    given = structure_of(*structure)
    lattice = rasterise(*given, options.lattice)
    known = lags(*given, options.lattice).result()
    exact = solve(quantised(lattice), relative_residual=1e-5)
    lowest = int(np.argmin(np.diagonal(exact.tensor)))
    for seed in seeds:
        if time.monotonic() > end:
            return
        max_hops = 5e11
        for budget in ("ample", "scarce"):
            key = stream_key(seed, "trapping", budget, *structure)
            found = estimate(
                lattice,
                key,
                target_relative_error=options.target,
                max_hops=max_hops,
                known=known,
            )
            table.add(
                **name,
                budget=budget,
                seed=seed,
                exact=exact.diffusivity,
                diffusivity=found.diffusivity,
                stderr=found.stderr,
                z_lowest=(found.tensor - exact.tensor)[lowest, lowest]
                / found.tensor_stderr[lowest, lowest],
                hops=found.hops,
                seconds=found.seconds,
                reason=found.reason,
            )
            max_hops = SCARCE * found.hops


def bias(table: Table, structure: tuple[str, int], options) -> None:
    """Noise-free bias of the plans that a pilot makes, over the requested standard error."""
    name = dict(zip(STRUCTURE, structure, strict=True))
    targets = [t for t in options.bias_targets if not table.has(**name, target=t)]
    if not targets:
        return
    given = structure_of(*structure)
    lattice = rasterise(*given, options.lattice)
    summary = walk_tables(lattice).summary
    known = lags(*given, options.lattice).result()
    bonds = Bonds(quantised(lattice))
    chi = [bonds.solve(bonds.drift(axis)) for axis in range(3)]
    diffusivity = np.array([bonds.energy(chi[axis], axis) for axis in range(3)])
    truth = joined(diffusivity, [relaxation(bonds, x, 8, 1e-5) for x in chi])
    times = np.geomspace(1e2, 1e7, 2000)
    for target in targets:
        tau = shortest_lag(summary, known, target)
        interval = tau / LAGS_PER_WINDOW_START
        intercept = relative_intercept(known, interval)
        model = slope_weights(24 * LAGS_PER_WINDOW_START, intercept, LAGS_PER_WINDOW_START)
        found = truth.bias(model.weights, interval)
        enough = 0.2 * target * diffusivity.mean()
        table.add(
            **name,
            target=target,
            bias_over_stderr=found.mean() / (target * diffusivity.mean()),
            # The error of one component is sqrt(3) times that of their mean.
            worst_axis=np.max(found / diffusivity) / (math.sqrt(3) * target),
            shortest_lag=tau,
            needed_lag=times[np.argmax(truth.rate(times).mean(axis=1) < enough)],
        )


def summarise(ranked: Table, labels: Table, chosen) -> None:
    for family, index in chosen:
        row = next(r for r in ranked.rows if r["family"] == family and r["index"] == str(index))
        print(
            f"{family:>8} {index:>4}  D {float(row['diffusivity']):.5f}  slowest axis "
            f"{float(row['lowest']):.5f}  relaxation time {float(row['relaxation_time']):.3g}"
        )
    for budget in ("ample", "scarce"):
        rows = [row for row in labels.rows if row["budget"] == budget]
        used = [row for row in rows if not row["reason"]]
        print(f"{budget} hops: {len(rows)} labels, {len(rows) - len(used)} flagged")
        if len(used) > 1:
            z = np.array(
                [(float(r["diffusivity"]) - float(r["exact"])) / float(r["stderr"]) for r in used]
            )
            print(
                f"  not flagged: z mean {z.mean():.3f} +- {1 / math.sqrt(z.size):.3f}, standard "
                f"deviation {z.std(ddof=1):.3f} +- {1 / math.sqrt(2 * z.size):.3f}"
            )
            lowest = np.array([float(row["z_lowest"]) for row in used])
            print(
                f"  along the slowest axis: mean {lowest.mean():.3f}, standard deviation "
                f"{lowest.std(ddof=1):.3f}; {np.median([float(r['seconds']) for r in used]):.2f} s "
                f"a label (median), {np.median([float(r['hops']) for r in used]):.3g} hops"
            )


def summarise_bias(what: str, biases: Table, structures: list[tuple[str, int]]) -> None:
    of_these = [row for row in biases.rows if (row["family"], int(row["index"])) in structures]
    for target in sorted({row["target"] for row in of_these}, key=float):
        rows = [row for row in of_these if row["target"] == target]
        share = np.array([float(row["bias_over_stderr"]) for row in rows])
        axis = np.array([float(row["worst_axis"]) for row in rows])
        lag = np.array([float(r["shortest_lag"]) / float(r["needed_lag"]) for r in rows])
        print(f"{what}, target {target}, {len(rows)} structures, without noise:")
        print(
            f"  bias over the requested error: mean {share.mean():.3f}, largest {share.max():.3f}"
        )
        print(
            "  of the worst axis over that axis' error: "
            f"mean {axis.mean():.3f}, largest {axis.max():.3f}"
        )
        print(
            f"  shortest lag over the least that is enough: median {np.median(lag):.2f}, "
            f"{lag.min():.2f} to {lag.max():.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattice", type=int, default=75)
    parser.add_argument("--target", type=float, default=0.05, help="relative error asked for")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--bias-targets", type=float, nargs="*", default=[0.05, 0.01, 0.003])
    parser.add_argument("--folder", type=Path, default=Path("trapping"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="start nothing beyond")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    options.folder.mkdir(parents=True, exist_ok=True)
    ranked = Table(options.folder / "ranked.csv", RANKED)
    labels = Table(options.folder / "labels.csv", LABELLED)
    biases = Table(options.folder / "biases.csv", BIASED)
    rank(ranked, options.lattice, end)
    if len(ranked.rows) < DRAWN + DRAWN_COMPACT:
        return
    chosen = slowest(ranked)
    with progress("kMC", len(chosen), "structures") as report:
        for structure in chosen:
            label(labels, structure, options, end)
            report.advance()
    with progress("bias", len(chosen + EVEN), "structures") as report:
        for structure in EVEN + chosen:
            if time.monotonic() < end:
                bias(biases, structure, options)
            report.advance()
    summarise(ranked, labels, chosen)
    summarise_bias("slowest", biases, chosen)
    summarise_bias("one of each variant", biases, EVEN)


if __name__ == "__main__":
    main()
