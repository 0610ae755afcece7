"""The comparison of networks as a page of Markdown, from the tables of a run."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from morphion import __version__
from morphion.analysis.tables import DOUBTS, METRICS, read_table
from morphion.anneal.selection import FAMILY
from morphion.config import Config
from morphion.files import atomic_file
from morphion.progress import log
from morphion.provenance import git_commit

_NEEDS_GPU = "needs a GPU"
_SCORED = ("structures", "groups", *METRICS)


def results_page(
    tables: Mapping[str, Path], figures: Mapping[str, Path], config: Config, output: Path
) -> None:
    """Write the page and, beside it, the figures it shows.

    Parameters
    ----------
    tables : Mapping
        Tables of the report by name: ``networks``, ``costs``, ``speed``, ``table1`` and
        ``out_of_distribution``, and ``left_out``, ``learning_curve``, ``table2`` and ``walked``
        where the run has them.
    figures : Mapping
        PNG files by name, each with an SVG file beside it: ``training``, ``calibration``, and
        ``learning_curves`` where the run has it. They are copied to ``OUTPUT-NAME.png`` and
        ``.svg``.
    config : Config
        Of the run.
    output : Path
        The page. A file ``OUTPUT-notes.md`` beside it is linked.
    """
    networks = read_table(tables["networks"], ("network", "split", *_SCORED, *DOUBTS))
    costs = read_table(tables["costs"], ("network", "kind", "training_structures"))
    of_speed = ("network", "device", "batch", "seconds_per_prediction", "label_method", "lattice")
    speed = read_table(tables["speed"], of_speed)
    left_out = _left_out(tables.get("left_out"))
    parts = [
        _head(config, networks, speed, output),
        _accuracy(networks, costs, left_out),
        _costs(costs, speed, left_out),
        _beside_the_papers(networks, costs, speed, left_out),
        _calibration(networks),
        [_shown("calibration", "Spreads and errors", output)],
    ]
    if "walked" in tables:
        parts.append(_walked(tables["walked"]))
    if "learning_curve" in tables:
        parts.append(_learning_curve(tables["learning_curve"], left_out))
        parts.append([_shown("learning_curves", "MAPE against training structures", output)])
    parts.append(_losses(output))
    parts.append(_out_of_distribution(tables["table1"], tables.get("table2")))
    parts.append(_every_network(tables["out_of_distribution"]))
    for name, source in figures.items():
        for suffix in (".png", ".svg"):
            with atomic_file(_figure(name, output).with_suffix(suffix)) as scratch:
                shutil.copyfile(source.with_suffix(suffix), scratch)
    with atomic_file(output) as scratch:
        scratch.write_text("\n\n".join("\n".join(part) for part in parts) + "\n", encoding="utf-8")
    log(f"{output}: written, with {len(figures)} figures")


def _head(config: Config, networks: pd.DataFrame, speed: pd.DataFrame, output: Path) -> list[str]:
    first = networks[networks.network == networks.network.iloc[0]].set_index("split").structures
    made = speed.iloc[0]
    labels = f"{made.label_method} labels on the {made.lattice}³ lattice"
    lines = ["# Networks compared", ""]
    lines.append(
        "Made by `morphion results` from the tables of a run; edits would be lost. "
        f"Version {__version__}, commit {(git_commit() or 'unknown')[:8]}."
    )
    notes = output.with_name(f"{output.stem}-notes.md")
    if notes.is_file():
        lines.append(f"What limits these numbers, and trials: [{notes.stem}]({notes.name}).")
    lines += [
        "",
        f"Run seed {config.seed}; {first.get('validation', 0)} structures to validate, "
        f"{first.get('test', 0)} to test; {labels}. In brackets: 95 % bootstrap intervals over "
        "independent structures, as one of which a run of an annealing counts: a network trained "
        "anew, from other weights, may lie outside. MSE is in D*², "
        "D* = D / (largest D of the first data set).",
    ]
    return lines


def _losses(output: Path) -> list[str]:
    return [
        "## Loss curves",
        "",
        "Validation: mean squared error of D*. Training: what the network minimises, of which "
        "errors of logarithms, tensors and currents are part for some, and only its course tells.",
        "",
        _shown("training", "Losses of every epoch", output),
    ]


def _accuracy(networks: pd.DataFrame, costs: pd.DataFrame, left_out: pd.DataFrame) -> list[str]:
    trained = costs.set_index("network").training_structures
    rows = [
        [
            row.network if row.split == "train" else "",
            str(trained.get(row.network, "")) if row.split == "train" else "",
            row.split,
            _interval(row, "mse"),
            _interval(row, "mape"),
            _interval(row, "pearson", digits=5),
        ]
        for _, row in networks.iterrows()
    ]
    for _, row in left_out.iterrows():
        rows.append([row.network, str(row.training_structures), _NEEDS_GPU, "", "", ""])
    head = ("network", "trained on", "set", "MSE", "MAPE, %", "R")
    return ["## Accuracy", "", *_table(head, rows)]


def _costs(costs: pd.DataFrame, speed: pd.DataFrame, left_out: pd.DataFrame) -> list[str]:
    devices = list(dict.fromkeys(speed.device))
    head = ["network", "parameters", "FLOPs", "training", "epochs"]
    head += [f"{device}, {what}" for device in devices for what in ("single", "in batches")]
    rows = []
    for _, row in costs.iterrows():
        cells = [row.network, _number(row.parameters), _number(row.flops)]
        cells += [f"{_time(row.training_seconds)} on {row.ranks} x {row.device}"]
        cells += [_number(row.epochs)]
        for device in devices:
            times = speed[(speed.network == row.network) & (speed.device == device)]
            single, batched = times.iloc[0], times.iloc[-1]
            cells.append(_time(single.seconds_per_prediction))
            cells.append(_batched(batched.seconds_per_prediction, batched.batch))
        rows.append(cells)
    for _, row in left_out.iterrows():
        estimate = (
            f"{_NEEDS_GPU}: {_time(row.seconds_per_sample)} a sample measured here, "
            f"{_time(3600 * row.hours)} for {row.training_structures} structures and "
            f"{row.max_epochs} epochs"
        )
        times = {
            "cpu": [_time(row.seconds_single), _batched(row.seconds_batched, row.batch_predicted)]
        }
        cells = [cell for device in devices for cell in times.get(device, ["", ""])]
        known = [_number(row.parameters), _number(row.flops)]
        rows.append([row.network, *known, estimate, "", *cells])
    where = "; ".join(
        f"{device}: {part.processor}" + (f", {part.threads} threads" if device == "cpu" else "")
        for device, part in ((d, speed[speed.device == d].iloc[0]) for d in devices)
    )
    return [
        "## Costs",
        "",
        f"Time of a prediction for each structure, from positions to D*, measured in one run on "
        f"{where}; the size of the batch in brackets. FLOPs of one prediction: products of "
        "matrices, convolutions and Kirchhoff's equations, a multiplication and an addition being "
        "two; element by element work is not counted. Training time includes validation.",
        "",
        *_table(head, rows),
    ]


def _beside_the_papers(
    networks: pd.DataFrame, costs: pd.DataFrame, speed: pd.DataFrame, left_out: pd.DataFrame
) -> list[str]:
    """MAPE and times as ratios to the network of kind ``paper`` that learned from the most
    structures; of several, the one with the most operations. Times also to one that is left out,
    which has no MAPE."""
    papers = costs[costs.kind == "paper"]
    if papers.empty:
        return ["No network of kind `paper` was trained, so that nothing is compared with it."]
    reference = papers.sort_values(["training_structures", "flops"]).network.iloc[-1]
    mape = networks[networks.split == "test"].set_index("network").mape
    devices = list(dict.fromkeys(speed.device))
    others = left_out[left_out.kind == "paper"].sort_values("training_structures")
    larger = others.iloc[-1] if len(others) and "cpu" in devices else None

    def seconds(network: str, device: str, place: int) -> float:
        times = speed[(speed.network == network) & (speed.device == device)]
        return times.seconds_per_prediction.iloc[place]

    rows = []
    for name in costs.network[costs.network != reference]:
        ratios = [mape[reference] / mape[name]]
        for device in devices:
            ratios += [seconds(reference, device, k) / seconds(name, device, k) for k in (0, -1)]
        if larger is not None:
            ratios.append(larger.seconds_single / seconds(name, "cpu", 0))
            ratios.append(larger.seconds_batched / seconds(name, "cpu", -1))
        rows.append([name, *(_number(ratio) for ratio in ratios)])
    head = ["network", "MAPE"]
    head += [f"{device}, {what}" for device in devices for what in ("single", "in batches")]
    text = (
        "How many times smaller the error on the test set is, and how many times shorter a "
        "prediction takes."
    )
    if larger is not None:
        head += [f"`{larger.network}`: cpu, {what}" for what in ("single", "in batches")]
        text += f" The last two columns are of `{larger.network}`, which is left out, in its place."
    return [
        f"### `{reference}` over each",
        "",
        text,
        "",
        *_table(head, rows),
    ]


def _calibration(networks: pd.DataFrame) -> list[str]:
    rows = [
        [
            row.network,
            f"{100 * row.coverage_68:.1f}",
            f"{100 * row.coverage_68_least:.1f} to {100 * row.coverage_68_most:.1f}",
            f"{100 * row.coverage_95:.1f}",
            f"{row.mape_noise_floor:.3g}",
        ]
        for _, row in networks[networks.split == "test"].iterrows()
    ]
    head = (
        "network",
        "within 68 %, %",
        "by thirds, %",
        "within 95 %, %",
        "MAPE by noise of labels alone, %",
    )
    return [
        "## Calibration",
        "",
        "Share of test labels within the intervals of 68.3 and 95.0 % that the spread of a "
        "prediction claims; the former also of the thirds of the structures, from small to large "
        "D*, that are covered least and most.",
        "",
        *_table(head, rows),
    ]


def _walked(path: Path) -> list[str]:
    table = read_table(path, ("network", *_SCORED, "mape_noise_floor", "exact_mape"))
    rows = [
        [
            row.network,
            _interval(row, "mape"),
            _interval(row, "exact_mape"),
            f"{row.mape_noise_floor:.3g}",
        ]
        for _, row in table.iterrows()
    ]
    head = ("network", "MAPE by walks, %", "MAPE by exact labels, %", "by noise of walks alone, %")
    return [
        "## Labels by kinetic Monte Carlo",
        "",
        f"{table.structures.iloc[0]} structures of the test set, labelled by walks as well. A "
        "network without any error would have the last column's MAPE by the walks' labels.",
        "",
        *_table(head, rows),
    ]


def _learning_curve(path: Path, left_out: pd.DataFrame) -> list[str]:
    table = read_table(path, ("network", "training_structures", *_SCORED))
    missing = {
        (str(row.network).partition("-")[0], row.training_structures)
        for _, row in left_out.iterrows()
    }
    sizes = sorted({*table.training_structures, *(size for _, size in missing)})
    names = [*table.network, *(name for name, _ in sorted(missing))]
    rows = []
    for name in dict.fromkeys(names):
        part = table[table.network == name].set_index("training_structures")
        part = part[~part.index.duplicated()]  # trained twice on as many, as labels had it
        cells = [
            _interval(part.loc[size], "mape")
            if size in part.index
            else (_NEEDS_GPU if (name, size) in missing else "")
            for size in sizes
        ]
        rows.append([name, *cells])
    return [
        "## Learning curves",
        "",
        "MAPE on the test set in percent against the number of structures trained on, at the same "
        "number of epochs: fewer structures are fewer steps as well.",
        "",
        *_table(("network", *map(str, sizes)), rows),
    ]


def _out_of_distribution(table1: Path, table2: Path | None) -> list[str]:
    annealed = read_table(table1, ("network", "annealing", *_SCORED))
    rows = [
        [f"{row.annealing}, network of {row.network}", *_scores(row), *_directions(row)]
        for _, row in annealed.iterrows()
    ]
    if table2 is not None:
        loadings = read_table(table2, ("volume_fraction", *_SCORED))
        rows += [
            [f"{100 * row.volume_fraction:g} % loading", *_scores(row), "", "", ""]
            for _, row in loadings.iterrows()
        ]
    head = ["structures", "scored", "independent", "MSE", "MAPE, %", "R", "MAPE in the paper, %"]
    head += ["MAPE evenly in D*, %", *(f"MAPE of {family}, %" for family in FAMILY.values())]
    return [
        "## Out of distribution",
        "",
        "The driver of the annealing on structures that annealing runs found: those that its own "
        "runs of a round selected, before it was trained again with them, and those sampled from "
        "the last runs, which no network was trained on; and the network trained last on other "
        "loadings. Evenly in D*: every range of predictions counts as much as another, as where "
        "the paper's selection draws evenly from them. The paper's own are of other structures and "
        "of labels by walks, whose noise counts.",
        "",
        *_table(head, rows),
    ]


def _every_network(path: Path) -> list[str]:
    table = read_table(path, ("set", "network", *_SCORED))
    sets = list(dict.fromkeys(table.set))
    table = table.set_index(["network", "set"])
    networks = list(dict.fromkeys(table.index.get_level_values(0)))
    rows = [[n, *(_interval(table.loc[(n, set_)], "mape") for set_ in sets)] for n in networks]
    return [
        "MAPE in percent of every network as the first data set trained it, on the sample of the "
        "last annealing (`evaluation`) and on the other loadings:",
        "",
        *_table(("network", *(f"`{set_}`" for set_ in sets)), rows),
    ]


def _scores(row: pd.Series) -> list[str]:
    metrics = (_interval(row, name) for name in ("mse", "mape"))
    reported = row.get("paper_mape")
    return [
        str(int(row.structures)),
        str(int(row.groups)),
        *metrics,
        _interval(row, "pearson", digits=5),
        "" if pd.isna(reported) else f"{reported:.3g}",
    ]


def _directions(row: pd.Series) -> list[str]:
    return [_interval(row, f"mape_{part}") for part in ("even", *FAMILY.values())]


def _left_out(path: Path | None) -> pd.DataFrame:
    columns = ("network", "kind", "training_structures", "max_epochs", "parameters", "flops")
    columns += ("seconds_per_sample", "hours", "seconds_single", "seconds_batched")
    columns += ("batch_predicted",)
    return pd.DataFrame(columns=list(columns)) if path is None else read_table(path, columns)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _interval(row: pd.Series, name: str, digits: int = 3) -> str:
    """A metric with its limits; empty where there was nothing to score."""
    if pd.isna(row[name]):
        return ""
    value, low, high = (f"{row[f'{name}{limit}']:.{digits}g}" for limit in ("", "_low", "_high"))
    return value if pd.isna(row[f"{name}_low"]) else f"{value} [{low}, {high}]"


def _batched(seconds: float, batch: int) -> str:
    return f"{_time(seconds)} ({batch})"


def _number(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3g}" if value >= 1e6 or value != int(value) else f"{int(value)}"


def _time(seconds: float) -> str:
    """Three digits in the unit that suits."""
    if pd.isna(seconds):
        return ""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= (2 if size >= 60 else 1) * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _figure(name: str, output: Path) -> Path:
    return output.with_name(f"{output.stem}-{name.replace('_', '-')}.png")


def _shown(name: str, what: str, output: Path) -> str:
    return f"![{what}]({_figure(name, output).name})"
