"""``morphion anneal``, ``morphion select`` and ``morphion sample``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PIPELINE, ConfigFile, Threads, use_threads

Outputs = Annotated[list[Path], typer.Argument(help="Structure shards to write.")]
Annealed = Annotated[list[Path], typer.Option(help="Annealing store; repeat for each.")]
Round = Annotated[int, typer.Option("--round", min=0, help="Round of the annealing.")]


class Direction(StrEnum):
    """Direction of the search."""

    maximise = "maximise"
    minimise = "minimise"


def anneal(
    output: Annotated[Path, typer.Argument(help="Annealing store to write.")],
    config: ConfigFile,
    model: Annotated[Path, typer.Option(help="Folder of the network that is the energy.")],
    round_: Round,
    objective: Annotated[Direction, typer.Option(help="Direction of the search.")],
    job: Annotated[int, typer.Option(min=0, help="Which runs: job * runs_per_job onwards.")] = 0,
    start: Annotated[
        list[Path] | None,
        typer.Option(help="Structure file to start from; one for each run of the job."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Simulated annealing of several structures at once; continues after a killed cycle."""
    from morphion.anneal import anneal as anneal_runs
    from morphion.anneal.starts import read_starts
    from morphion.config import load_config

    use_threads(threads, networks=True)
    run = load_config(config)
    starts = read_starts(start, run.geometry) if start else None
    anneal_runs(run, model, round_, objective.value, job, output, starts=starts)


def select(
    outputs: Outputs,
    config: ConfigFile,
    dataset: Annotated[Path, typer.Option(help="Data set that the network was trained on.")],
    annealed: Annealed,
    round_: Round,
    report: Annotated[Path, typer.Option(help="What was selected, and why (CSV).")],
) -> None:
    """Choose annealed structures to label: beyond the data, uniform in prediction."""
    from morphion.anneal import select as select_structures
    from morphion.config import load_config

    select_structures(load_config(config), dataset, annealed, round_, outputs, report)


def sample(outputs: Outputs, config: ConfigFile, annealed: Annealed, round_: Round) -> None:
    """Sample annealed structures at random; their labels serve evaluation only."""
    from morphion.anneal import evaluation_sample
    from morphion.config import load_config

    evaluation_sample(load_config(config), annealed, round_, outputs)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (anneal, select, sample):
        app.command(rich_help_panel=PIPELINE)(command)
