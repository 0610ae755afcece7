"""What the lattice costs: D of 30 structures of all families on growing lattices.

    python benchmarks/lattice_study.py [--seconds 270]

One row per structure and lattice goes to ``--table`` as soon as it is solved; a later call goes on
where this one stopped, and starts no row after ``--seconds``. Once all rows are there, a report
(.md) and a figure (.png, .svg) are written beside the table. The limit of vanishing spacing h is
extrapolated by D(h) = D(0) + c1 h + c2 h^2 through three lattices, and a fourth tests this form.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from morphion.analysis import style
from morphion.analysis.parity import family_handles
from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.files import atomic_file
from morphion.progress import log, progress
from morphion.structures.families import generate, variant
from morphion.transport import rasterise

SEED = 2021
LATTICES = (75, 150, 225, 375)
FITTED, HELD_OUT = (75, 150, 375), 225
RESIDUAL = 1e-5
# Two structures of each window, three of each number of gapped axes.
STRUCTURES = (
    *(("rsa", index) for index in range(5)),
    *(("chain", index) for index in range(16)),
    *(("gapped", index) for index in range(9)),
)
WIDTH = CoverageShell().shell_width
# What wider shell edges change is measured on three structures.
WIDER, WIDER_EDGES, WIDER_LATTICES = (
    (("rsa", 2), ("chain", 10), ("chain", 14)),
    (0.1, 0.2),
    (75, 150, 225),
)
TASKS = [(*structure, WIDTH, n) for n in LATTICES for structure in STRUCTURES] + [
    (*structure, width, n) for structure in WIDER for width in WIDER_EDGES for n in WIDER_LATTICES
]
TEXT = """# What the lattice costs

Written by `python benchmarks/lattice_study.py`: D of 30 structures (seed {seed}: rsa 0-4, chain
0-15, gapped 0-8) under the default transport model on lattices of 75³, 150³, 225³ and 375³ sites,
by the exact solver at a relative residual of {residual:g}, so without statistical error. The
numbers are in [lattice.csv](lattice.csv); they took {seconds:.0f} s of solver time on 2 cores.

![error of D against the spacing, and of D* against D*](lattice.png)

## Its order

An error of first order in the spacing h would make (D75 - D150) / (D150 - D375) 1.67, one of
second order 3.57; it lies between {ratio_low:.1f} and {ratio_high:.1f}. Neither holds alone, but

    D(h) = D(0) + c1 h + c2 h²

does: through 75³, 150³ and 375³ it meets D at 225³, which it has not seen, within {held_out:.2f} %
for all 30 structures. D(0) is the limit below. Taken through 150³, 225³ and 375³ instead, it
differs by {finest_rms:.2f} % (rms), {finest:.2f} % at most: so much of it is uncertain.

c1 is what insulating spheres have (`tests/physics/test_exact_cubic_arrays.py`): a staircase of
blocked sites acts larger than the sphere by a part of h, and D is too low. c2 comes from the edge
of the shells, w = 0.05 sigma = 0.48 voxels, which h = 1 does not resolve: D is too high where
cations must leave a shell to reach the next. With edges four times as wide c2 all but vanishes:

{widths}

## Errors of D in per cent: mean ± standard deviation between structures (worst)

Relative to 375³:

{against_375}

Relative to the limit:

{against_limit}

Means by kind of structure, relative to the limit, whose D is in the second column:

{kinds}

## D* = D / D0 and ranks, against those of the limit

D0 is the largest of the 30, on each lattice.

{ranks}

## What follows

The error is *not* common to all structures, and dividing by D0 does not remove it: structures
whose shells meet come out too low on a coarse lattice, those with gaps between shells too high. As
D spans a factor of ten, ranks over all families survive on any of these lattices; among similar
structures they do not at 75³.

- `config/paper.yaml` asks for labels to 1 %. 375³, the paper's lattice, is the only one of the four
  on which the error of D* scatters by less than that ({paper:.1f} %).
- `config/demo.yaml` asks for 3 %, and 75³ is not fine enough for it: the error of D* scatters by
  {demo:.1f} %, systematically, so that a network learns it with the labels. It stands there because
  a label takes about a second. The demo's labels, predictions and gains are those of a 75³ lattice
  and to be compared with each other only.
- For a study with labels to 3 %, take 150³ ({study:.1f} %).

How large a gain found by annealing is in the limit, labels of the best structures on a finer
lattice tell: `morphion label best.gsd --method exact --lattice 375`.
"""
TABLE = Path(__file__).parents[1] / "docs" / "results" / "lattice.csv"


def measure(family: str, index: int, width: float, n: int) -> dict:
    """One row of the table: D of a structure on n^3 sites with shell edges of ``width`` sigma."""
    geometry, model = Geometry(), CoverageShell(shell_width=width)
    positions = generate(geometry, Structures(), SEED, family, index)
    lattice = rasterise(positions, geometry.box_length, geometry.diameter, model, n)
    solution = solve(lattice, RESIDUAL)
    if not solution.converged:
        raise SystemExit(f"{family} {index} at n = {n}: residuals {solution.relative_residual}")
    return {
        "family": family,
        "index": index,
        "shell_width": width,
        "n": n,
        "diffusivity": solution.diffusivity,
        "d_xx": solution.tensor[0, 0],
        "d_yy": solution.tensor[1, 1],
        "d_zz": solution.tensor[2, 2],
        "iterations": solution.iterations.sum(),
        "seconds": round(solution.seconds, 2),
    }


def complete(path: Path, seconds: float) -> pd.DataFrame:
    """The table with as many rows more as can be started within ``seconds``."""
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["family"], row["index"], row["shell_width"], row["n"]) for row in rows}
    begin = time.monotonic()
    with progress("lattice study", len(TASKS), "solutions", done=len(rows)) as reporter:
        for task in TASKS:
            if task in done:
                continue
            if time.monotonic() - begin > seconds:
                break
            rows.append(measure(*task))
            with atomic_file(path) as scratch:
                pd.DataFrame(rows).to_csv(scratch, index=False, float_format="%.8g")
            reporter.advance(note="{family} {index}, n = {n}".format(**rows[-1]))
    return pd.DataFrame(rows)


def by_structure(table: pd.DataFrame) -> pd.DataFrame:
    """D of each structure (rows: family, index) on each lattice (columns: n) and its limit."""
    table = table[table.shell_width == WIDTH]
    solved = table.pivot_table(index=["family", "index"], columns="n", values="diffusivity")
    solved = solved.reindex(pd.MultiIndex.from_tuples(STRUCTURES, names=["family", "index"]))
    solved["limit"] = predicted(solved, FITTED, np.inf)
    return solved


def predicted(solved: pd.DataFrame, lattices: tuple[int, ...], n: float) -> np.ndarray:
    """D on a lattice of n sites an edge from the polynomial in h through other lattices."""
    spacing = [1 / lattice for lattice in lattices]
    weights = [
        np.prod([(1 / n - other) / (own - other) for other in spacing if other != own])
        for own in spacing
    ]
    return solved[list(lattices)].to_numpy() @ weights


def errors(solved: pd.DataFrame, reference: int | str) -> pd.DataFrame:
    """Relative errors of all lattices in per cent."""
    return 100 * (solved[list(LATTICES)].div(solved[reference], axis=0) - 1)


def width_table(table: pd.DataFrame) -> str:
    """c1 and c2 of a few structures at growing widths of the shells' edge."""
    spacing, widths = [Geometry().box_length / n for n in WIDER_LATTICES], (WIDTH, *WIDER_EDGES)
    solved = table.set_index(["family", "index", "shell_width", "n"]).diffusivity
    rows = []
    for structure in WIDER:
        rows.append(["{} {}".format(*structure)])
        for width in widths:
            found = [solved[*structure, width, n] for n in WIDER_LATTICES]
            second, first, limit = np.polyfit(spacing, found, 2)
            rows[-1].append(f"{100 * first / limit:+.1f}, {100 * second / limit:+.1f}")
    return markdown(["c1, c2 in % of D(0)", *(f"w = {width:g} sigma" for width in widths)], rows)


def kind_of(family: str, index: int) -> str:
    """What is common to structures of a family with the same insertion."""
    kind = variant(family, index, Structures())
    if family == "chain":
        return "chain {:g}-{:g}".format(*Structures().chain_windows[kind])
    return f"gapped, {kind} ax{'i' if kind == 1 else 'e'}s" if family == "gapped" else family


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def family_table(solved: pd.DataFrame, reference: int | str, lattices: tuple[int, ...]) -> str:
    """Mean, standard deviation and worst error of each family on some lattices."""
    found = errors(solved, reference)
    groups = {name: found.loc[[name]] for name in ("rsa", "chain", "gapped")} | {"all": found}
    rows = []
    for name, group in groups.items():
        cells = [name, str(len(group))]
        for n in lattices:
            worst = group[n].loc[group[n].abs().idxmax()]
            cells.append(f"{group[n].mean():+.2f} ± {group[n].std():.2f} ({worst:+.2f})")
        rows.append(cells)
    return markdown(["family", "structures", *(f"{n}³" for n in lattices)], rows)


def kind_table(solved: pd.DataFrame) -> str:
    """Mean error of each chain window and number of gapped axes."""
    found = errors(solved, "limit").assign(D=solved.limit)
    kinds = [kind_of(family, index) for family, index in STRUCTURES]
    rows = [
        [kind, f"{group.D.mean():.4f}", *(f"{group[n].mean():+.2f}" for n in LATTICES)]
        for kind, group in found.groupby(kinds, sort=False)
    ]
    return markdown(["structures", "D", *(f"{n}³" for n in LATTICES)], rows)


def reduced_errors(solved: pd.DataFrame) -> pd.DataFrame:
    """Errors of D* = D / largest D on each lattice in per cent."""
    reduced = solved / solved.max()
    return errors(reduced, "limit")


def ranking_table(solved: pd.DataFrame) -> str:
    """How D* and ranks on each lattice compare with those of the limit."""
    found = reduced_errors(solved)
    first, second = np.triu_indices(len(solved), 1)
    order = solved.apply(lambda values: values.to_numpy()[first] > values.to_numpy()[second])
    rows = [
        [
            f"{n}³",
            f"{pearsonr(solved[n], solved.limit).statistic:.5f}",
            f"{spearmanr(solved[n], solved.limit).statistic:.4f}",
            f"{(order[n] != order.limit).sum()}",
            f"{found[n].mean():+.2f} ± {found[n].std():.2f}",
            f"{found[n].abs().max():.2f}",
        ]
        for n in LATTICES
    ]
    pairs = f"of {len(first)} pairs reversed"
    header = ["lattice", "Pearson", "Spearman", pairs, "error of D*, %", "largest, %"]
    return markdown(header, rows)


def report(table: pd.DataFrame) -> str:
    """The study in words, with its numbers."""
    solved = by_structure(table)
    step = -np.diff(solved[list(FITTED)])
    ratio = step[:, 0] / step[:, 1]
    held_out = 100 * (predicted(solved, FITTED, HELD_OUT) / solved[HELD_OUT] - 1)
    finest = 100 * (predicted(solved, LATTICES[1:], np.inf) / solved.limit - 1)
    scatter = reduced_errors(solved).std()
    return TEXT.format(
        seed=SEED,
        residual=RESIDUAL,
        seconds=table.seconds.sum(),
        ratio_low=ratio.min(),
        ratio_high=ratio.max(),
        held_out=held_out.abs().max(),
        finest=finest.abs().max(),
        finest_rms=np.sqrt((finest**2).mean()),
        against_375=family_table(solved, 375, LATTICES[:3]),
        against_limit=family_table(solved, "limit", LATTICES),
        kinds=kind_table(solved),
        ranks=ranking_table(solved),
        widths=width_table(table),
        **dict(zip(("demo", "study", "paper"), scatter[list(FITTED)], strict=True)),
    )


def draw(solved: pd.DataFrame, output: Path) -> None:
    """Error of D against the spacing, and error of D* against D*."""
    colours = [style.family_of(family)[0] for family, _ in STRUCTURES]
    reduced, found = solved.limit / solved.limit.max(), reduced_errors(solved)
    spacing = [Geometry().box_length / n for n in LATTICES]
    fine = np.linspace(0, spacing[0], 100)
    with style.figure(output, 1, 2, 7.4, 3.5) as (drawn, axes):
        left, right = axes[0]
        for (_, row), colour in zip(solved.iterrows(), colours, strict=True):
            relative = 100 * (row / row.limit - 1)
            fitted = [Geometry().box_length / n for n in FITTED]
            through = np.polyfit(fitted, relative[list(FITTED)], 2)
            left.plot(fine, np.polyval(through, fine), color=colour, lw=0.7, alpha=0.6)
            left.plot(spacing, relative[list(LATTICES)], "o", color=colour, ms=3, mew=0)
        style.letter(left, "a", "error of $D$")
        left.set(xlabel="spacing, voxels", ylabel="relative to the limit, %")
        for n, filled in ((75, True), (150, False)):
            face = colours if filled else "none"
            right.scatter(reduced, found[n], s=18, facecolors=face, edgecolors=colours, lw=0.9)
        style.letter(right, "b", "error of $D$* at 75³ (filled) and 150³ (open)")
        right.set(xlabel="$D$* of the limit", ylabel="relative to the limit, %")
        for panel in axes[0]:
            panel.axhline(0, color=style.INK, lw=0.8, zorder=1)
        names = pd.Series([family for family, _ in STRUCTURES])
        drawn.legend(handles=family_handles(names), loc="outside lower center", ncols=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=TABLE, help="CSV file to complete")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no row after")
    arguments = parser.parse_args()
    table = complete(arguments.table, arguments.seconds)
    if len(table) < len(TASKS):
        log(f"{arguments.table}: {len(table)} of {len(TASKS)} rows; call again to go on")
        return
    with atomic_file(arguments.table.with_suffix(".md")) as scratch:
        scratch.write_text(report(table))
    draw(by_structure(table), arguments.table.with_suffix(".png"))


if __name__ == "__main__":
    main()
