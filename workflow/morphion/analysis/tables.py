"""Tables of the report: accuracies with 95 % bootstrap intervals beside the paper's numbers.

Every table is a CSV file. ``structures`` counts what was scored, ``groups`` the independent ones
among them (an annealing run counts once) and ``unconverged`` what was left out; MSE is in D*^2,
MAPE in percent, ``pearson`` is R; ``_low`` and ``_high`` are the limits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from morphion.analysis import paper
from morphion.analysis.predictions import read_predictions, scored
from morphion.anneal.selection import FAMILY
from morphion.config import Config
from morphion.errors import MorphionError
from morphion.files import atomic_file
from morphion.progress import log
from morphion.surrogates.metrics import coverage, mape_evenly, mape_noise_floor, score

SPLITS = ("train", "validation", "test")
LIMITS = ("", "_low", "_high")
METRICS = tuple(f"{metric}{limit}" for metric in ("mse", "mape", "pearson") for limit in LIMITS)

_EVEN = tuple(f"mape_even{limit}" for limit in LIMITS)

# Share of labels within the 68 and 95 % spread of the prediction, the former also in the thirds of
# the structures that are covered least and most; MAPE of a perfect network.
DOUBTS = (
    "coverage_68",
    "coverage_95",
    "coverage_68_least",
    "coverage_68_most",
    "mape_noise_floor",
)


def table1(annealed: Sequence[Path], evaluation: Path, config: Config, output: Path) -> None:
    """Accuracy on annealed structures, before and after each retraining (table 1 of the paper).

    ``annealed[r]``: predictions of round r's network on data set r + 1, of which the structures
    that joined in round r + 1 count; ``evaluation``: the last network's on the evaluation set.
    ``mape_even`` has every range of D* count as much as another, as in the paper's selection;
    ``mape_maximised`` and ``mape_minimised`` are those of the runs of one objective.
    """
    if not annealed:
        raise MorphionError(f"{output}: table 1 needs the predictions of at least one round")
    rows = []
    for round_, path in enumerate(annealed):
        table = read_predictions(path)
        table = table[table["round"] == round_ + 1]
        reported = paper.ANNEALED_FIRST if round_ == 0 else {}
        what = {"network": f"round {round_}", "annealing": f"round {round_}, selected"}
        rows.append(what | _annealed_accuracy(table, config) | _reported(reported))
    what = {"network": f"round {len(annealed)}", "annealing": f"round {len(annealed)}, sampled"}
    sampled = _annealed_accuracy(read_predictions(evaluation), config)
    rows.append(what | sampled | _reported(paper.ANNEALED_RETRAINED))
    write_table(rows, output)


def table2(loadings: Mapping[float, Path], config: Config, output: Path) -> None:
    """Accuracy at other volume fractions (table 2); volume fraction -> predictions."""
    if not loadings:
        raise MorphionError(f"{output}: table 2 needs the predictions of at least one loading")
    rows = [
        {"volume_fraction": fraction}
        | _accuracy(read_predictions(path), config)
        | _reported(paper.LOADINGS.get(fraction, {}))
        for fraction, path in loadings.items()
    ]
    write_table(rows, output)


def networks_table(predictions: Mapping[str, Path], config: Config, output: Path) -> None:
    """Accuracy of every network on each split (figure 5); network -> predictions."""
    if not predictions:
        raise MorphionError(f"{output}: the table of networks needs at least one network")
    rows = [
        {"network": network} | row
        for network, path in predictions.items()
        for row in _splits(path, config)
    ]
    write_table(rows, output)


def learning_curve_table(predictions: Mapping[str, Path], config: Config, output: Path) -> None:
    """Accuracy on the test set against the structures trained on; training -> predictions.

    Trainings are named as ``Surrogates.network`` has it; rows come by network and size.
    """
    if not predictions:
        raise MorphionError(f"{output}: the learning curves need at least one training")
    rows = []
    for name, path in predictions.items():
        table = read_predictions(path)
        test = _accuracy(table[table.split == "test"], config)
        count = int((table.split == "train").sum())
        rows.append({"network": name.partition("-")[0], "training_structures": count} | test)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    rows.sort(key=lambda row: (networks.index(row["network"]), row["training_structures"]))
    write_table(rows, output)


def out_of_distribution_table(
    predictions: Mapping[str, Mapping[str, Path]],
    learned: Mapping[str, Path],
    config: Config,
    output: Path,
) -> None:
    """Accuracy of the first networks on sets unlike their data; set -> network -> predictions.

    ``learned``: network -> predictions of the data set it was trained on. Every round splits anew,
    so that a test split of a later one, from which other loadings are made, has structures of it:
    what comes from one that trained or validated a network is not scored.
    """
    known = {}
    for network, path in learned.items():
        table = read_predictions(path)
        known[network] = table.group[table.split.isin(SPLITS[:2])]
    rows = []
    for set_, networks in predictions.items():
        for network, path in networks.items():
            table = read_predictions(path)
            fresh = table[~table.group.isin(known[network])]
            rows.append({"set": set_, "network": network} | _accuracy(fresh, config))
    if not rows:
        raise MorphionError(f"{output}: the table needs at least one set and one network")
    write_table(rows, output)


def walked_table(
    exact: Mapping[str, Path], walked: Mapping[str, Path], config: Config, output: Path
) -> None:
    """Accuracy on the same structures by labels of walks and by exact ones; network -> predictions.

    ``exact`` are predictions of round 0, ``walked`` those of the structures among them that kinetic
    Monte Carlo labelled as well; ``exact_mape`` and its limits stand beside the scores of these.
    """
    rows = []
    for network, path in walked.items():
        table = read_predictions(path)
        groups = scored(table).group
        same = scored(read_predictions(exact[network]))
        same = same[same.group.isin(groups)]
        if len(same) != len(groups):
            raise MorphionError(
                f"{path}: {len(groups)} structures, of which {exact[network]} has {len(same)}; "
                "make both from one data set"
            )
        beside = _accuracy(same, config)
        beside = {f"exact_mape{limit}": beside[f"mape{limit}"] for limit in LIMITS}
        rows.append({"network": network} | _accuracy(table, config) | beside)
    write_table(rows, output)


def splits_table(
    random: Mapping[str, Path], by_run: Mapping[str, Path], config: Config, output: Path
) -> None:
    """Random split beside the split by annealing run; network -> predictions in each scheme."""
    rows = [
        {"network": network, "scheme": scheme} | row
        for scheme, predictions in (("random", random), ("by_run", by_run))
        for network, path in predictions.items()
        for row in _splits(path, config)
    ]
    if not rows:
        raise MorphionError(f"{output}: the table of splits needs at least one network")
    write_table(rows, output)


def write_table(rows: Sequence[Mapping], output: Path) -> None:
    """Write rows, column -> value, as a CSV file that appears whole or not at all."""
    table = pd.DataFrame(rows)
    with atomic_file(output) as scratch:
        table.to_csv(scratch, index=False, float_format="%.6g")
    log(f"{output}: {len(table)} rows")


def read_table(path: Path, columns: Sequence[str], *, may_be_empty: bool = False) -> pd.DataFrame:
    """A table written by this module; raises MorphionError if it lacks rows or columns."""
    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise MorphionError(f"{path}: no such table; snakemake makes it") from error
    except (OSError, ValueError) as error:
        raise MorphionError(f"{path}: cannot be read as a table ({error})") from error
    missing = [name for name in columns if name not in table]
    if missing or (table.empty and not may_be_empty):
        what = f"no column {missing[0]!r}" if missing else "no rows"
        raise MorphionError(f"{path}: {what}; expected columns {', '.join(columns)}")
    return table


def _splits(path: Path, config: Config) -> list[dict]:
    table = read_predictions(path)
    return [{"split": s} | _accuracy(table[table.split == s], config) for s in SPLITS]


def _accuracy(table: pd.DataFrame, config: Config) -> dict:
    """Scores of the usable rows; NaN where fewer than two are left, as small runs can have it."""
    rows = scored(table)
    groups = int(rows.group.nunique())
    counts = {"structures": len(rows), "groups": groups, "unconverged": len(table) - len(rows)}
    if len(rows) < 2:
        return counts | dict.fromkeys((*METRICS, *DOUBTS), np.nan)
    scores = score(
        rows.label.to_numpy(),
        rows.prediction.to_numpy(),
        rows.group.to_numpy(),
        resamples=config.analysis.bootstrap,
        seed=config.seed,
    )
    label, prediction = rows.label.to_numpy(), rows.prediction.to_numpy()
    doubts = coverage(label, prediction, rows.spread.to_numpy())
    doubts["mape_noise_floor"] = mape_noise_floor(label, rows.label_stderr.to_numpy())
    return counts | {name: scores[name] for name in METRICS} | doubts


def _annealed_accuracy(table: pd.DataFrame, config: Config) -> dict:
    """Scores of annealed structures, all together, by D* and by what their runs were after."""
    scores = _accuracy(table, config) | dict.fromkeys(_EVEN, np.nan)
    rows = scored(table)
    if len(rows) > 1:
        scores |= mape_evenly(
            rows.label.to_numpy(),
            rows.prediction.to_numpy(),
            rows.group.to_numpy(),
            rows.family.to_numpy(),
            bins=config.anneal.selection_bins,
            resamples=config.analysis.bootstrap,
            seed=config.seed,
        )
    for family in FAMILY.values():
        part = _accuracy(table[table.family == family], config)
        scores |= {f"mape_{family}{limit}": part[f"mape{limit}"] for limit in LIMITS}
    return scores


def _reported(values: Mapping[str, float]) -> dict:
    return {f"paper_{name}": values.get(name, np.nan) for name in ("mse", "mape", "pearson")}
