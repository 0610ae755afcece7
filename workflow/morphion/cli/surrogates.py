"""``morphion train``, ``evaluate``, ``predict`` and ``publish``."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import (
    PEOPLE,
    PIPELINE,
    ConfigFile,
    Json,
    Threads,
    TrainingThreads,
    use_threads,
)
from morphion.cli.tables import print_whole, table_of_structures

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
    currents: Annotated[
        list[Path] | None,
        typer.Option(help="Store of its structures' currents; repeat for each."),
    ] = None,
    threads: TrainingThreads = None,
) -> None:
    """Train a network; starts its own ranks, and continues a killed training."""
    from morphion.config import load_config
    from morphion.surrogates import train as train_network

    use_threads(threads, networks=True)
    train_network(
        load_config(config), dataset, network, split.value, round_, output, currents or ()
    )


def evaluate(
    output: Annotated[Path, typer.Argument(help="Table of predictions to write (CSV).")],
    model: Model,
    dataset: Annotated[Path, typer.Option(help="Data set with labels.")],
    threads: Threads = None,
) -> None:
    """Predict every structure of a data set, beside its label."""
    from morphion.files import atomic_file, require_suffix, require_writable
    from morphion.surrogates import Surrogate, predict_dataset

    require_suffix(output, ".csv")
    require_writable(output)
    use_threads(threads, networks=True)
    table = predict_dataset(Surrogate.load(model), dataset)
    with atomic_file(output) as scratch:
        table.to_csv(scratch, index=False)


def predict(
    structures: Annotated[
        list[Path],
        typer.Argument(
            help="GSD (last frame) or extended XYZ files, or stores.", show_default=False
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a trained network; default: the one that ships."),
    ] = None,
    transport: Annotated[
        Path | None,
        typer.Option(help="Transport model (YAML) that is meant; default: the network's."),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Diffusivity of structure files by a trained network, with its spread.

    D is in units of the solvent's diffusivity; the spread is one standard deviation. A structure
    is in the domain of the network if its training set held such: loading, box, arrangement,
    transport model and D*; if not, the reason is given, and the spread may be several times too
    small. D is that of the lattice of the training's labels, which the spread leaves out: on 75
    sites an edge, a few per cent of D.
    """
    from morphion.surrogates.files import predict_files
    from morphion.transport.files import load_transport

    use_threads(threads, networks=True)
    meant = None if transport is None else load_transport(transport)
    results = predict_files(structures, model, transport=meant)
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        _print_table(results)


def publish(
    model: Annotated[Path, typer.Argument(help="Folder of a trained network.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write.")],
    predictions: Annotated[
        Path, typer.Option(help="Its predictions for its data set, by morphion evaluate (CSV).")
    ],
    licence: Annotated[str, typer.Option(help="Licence the model card names.")] = "BSD-3-Clause",
) -> None:
    """A trained network with its model card and checksums, without paths of this machine."""
    from morphion.analysis.predictions import read_predictions, scored
    from morphion.surrogates.publish import publish as publish_model

    table = scored(read_predictions(predictions))
    publish_model(model, destination, table, source=str(predictions), licence=licence)


def _print_table(results: list[dict]) -> None:
    from rich.text import Text

    table = table_of_structures("D", "± spread", "D*", "in domain")
    for row in results:
        values = (row[key] for key in ("diffusivity", "spread", "diffusivity_star"))
        known = "yes" if row["in_domain"] else "NO"
        table.add_row(Text(row["structure"]), *(f"{value:.4g}" for value in values), known)
    console = print_whole(table)
    for row in results:
        if not row["in_domain"]:
            console.print(f"{row['structure']}: {row['reason']}", markup=False, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PEOPLE)(predict)
    app.command(rich_help_panel=PEOPLE)(publish)
    app.command(rich_help_panel=PIPELINE)(train)
    app.command(rich_help_panel=PIPELINE)(evaluate)
