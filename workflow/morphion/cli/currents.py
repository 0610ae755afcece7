"""``morphion currents``."""

from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PIPELINE, ConfigFile, Threads, use_threads


def currents(
    output: Annotated[Path, typer.Argument(help="Store of currents to write.")],
    config: ConfigFile,
    dataset: Annotated[Path, typer.Option(help="Data set of the round.")],
    round_: Annotated[int, typer.Option("--round", min=0, help="Structures that joined in it.")],
    part: Annotated[int, typer.Option(min=0, help="Which part of them, from 0.")] = 0,
    parts: Annotated[int, typer.Option(min=1, help="Into how many they are divided.")] = 1,
    threads: Threads = None,
) -> None:
    """Exact currents between the particles of a data set's structures."""
    from morphion.config import load_config
    from morphion.currents import solve_shard

    if part >= parts:
        raise typer.BadParameter(f"--part {part} of --parts {parts}: parts count from 0")
    use_threads(threads)
    solve_shard(load_config(config), dataset, round_, part, parts, output)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PIPELINE)(currents)
