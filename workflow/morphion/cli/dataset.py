"""``morphion dataset`` and ``morphion unpack``."""

from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PIPELINE, ConfigFile, Threads, use_threads


def dataset(
    output: Annotated[Path, typer.Argument(help="Data set to write.")],
    config: ConfigFile,
    structures: Annotated[list[Path], typer.Option(help="Structure shard; repeat for each.")],
    labels: Annotated[list[Path], typer.Option(help="Its label shard, in the same order.")],
    round_: Annotated[
        int | None,
        typer.Option("--round", min=0, help="Round; without it the set is for evaluation only."),
    ] = None,
    previous: Annotated[
        Path | None, typer.Option(help="Data set of the round before (or the last one).")
    ] = None,
    threads: Threads = None,
) -> None:
    """Join structures and labels, append to the round before, split anew and voxelise."""
    from morphion.config import load_config
    from morphion.dataset import build_dataset

    use_threads(threads)
    build_dataset(load_config(config), structures, labels, output, round_=round_, previous=previous)


def unpack(
    source: Annotated[Path, typer.Argument(help="Packed data set, *.zarr.zip.")],
    output: Annotated[Path, typer.Argument(help="Data set to write.")],
    config: ConfigFile,
    threads: Threads = None,
) -> None:
    """The data set of round 0 from a packed one, with its voxel images."""
    from morphion.config import load_config
    from morphion.dataset import unpack_dataset

    use_threads(threads)
    unpack_dataset(load_config(config), source, output)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PIPELINE)(dataset)
    app.command(rich_help_panel=PIPELINE)(unpack)
