"""``morphion train``, ``morphion evaluate`` and ``morphion predict``."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PEOPLE, PIPELINE, ConfigFile, Json, Threads, use_threads

Model = Annotated[Path, typer.Option(help="Folder of a trained network.")]


class Split(StrEnum):
    """Which split of the data set a network is trained and scored on."""

    random = "random"
    by_run = "by_run"


def train(
    output: Annotated[Path, typer.Argument(help="Model folder to write.")],
    config: ConfigFile,
    dataset: Annotated[Path, typer.Option(help="Data set of the round.")],
    network: Annotated[
        str, typer.Option(help="Key in surrogates.networks, or KEY-N: on N structures.")
    ],
    round_: Annotated[int, typer.Option("--round", min=0, help="Round; seeds the weights.")],
    split: Annotated[Split, typer.Option(help="Which split.")] = Split.random,
    threads: Threads = None,
) -> None:
    """Train a network; starts its own ranks, and continues a killed training."""
    from morphion.config import load_config
    from morphion.surrogates import train as train_network

    use_threads(threads)
    train_network(load_config(config), dataset, network, split.value, round_, output)


def evaluate(
    output: Annotated[Path, typer.Argument(help="Table of predictions to write (CSV).")],
    model: Model,
    dataset: Annotated[Path, typer.Option(help="Data set with labels.")],
    threads: Threads = None,
) -> None:
    """Predict every structure of a data set, beside its label."""
    from morphion.files import atomic_file
    from morphion.surrogates import Surrogate, predict_dataset

    use_threads(threads)
    table = predict_dataset(Surrogate.load(model), dataset)
    with atomic_file(output) as scratch:
        table.to_csv(scratch, index=False)


def predict(
    structures: Annotated[
        list[Path], typer.Argument(help="GSD or extended XYZ files.", show_default=False)
    ],
    model: Model,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Diffusivity of structure files by a trained network, with its spread.

    D is in units of the solvent's diffusivity; the spread is one standard deviation.
    """
    from morphion.surrogates.files import predict_files

    use_threads(threads)
    results = predict_files(structures, model)
    if as_json:
        print(json.dumps(results, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("structure", "D", "± spread", "D*")
    for row in results:
        values = (row[key] for key in ("diffusivity", "spread", "diffusivity_star"))
        table.add_row(row["structure"], *(f"{value:.5f}" for value in values))
    Console().print(table)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PEOPLE)(predict)
    app.command(rich_help_panel=PIPELINE)(train)
    app.command(rich_help_panel=PIPELINE)(evaluate)
