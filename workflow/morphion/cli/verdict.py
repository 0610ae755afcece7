"""``morphion verdict`` for shards of labels and ``morphion judge`` for a set of them."""

from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PIPELINE, ConfigFile, Threads, use_threads

SetName = Annotated[str, typer.Option("--set", help="Name of the set, e.g. round0.")]


def verdict(
    structures: Annotated[Path, typer.Argument(help="Structure shard.")],
    labels: Annotated[Path, typer.Argument(help="Its label shard.")],
    output: Annotated[Path, typer.Argument(help="Table to write (CSV).")],
    config: ConfigFile,
    set_: SetName,
    threads: Threads = None,
) -> None:
    """Draw structures of a label shard, solve them exactly and write z of their labels."""
    from morphion.config import load_config
    from morphion.files import require_suffix
    from morphion.verdict import measure_shard

    require_suffix(output, ".csv")
    use_threads(threads)
    measure_shard(load_config(config), set_, structures, labels, output)


def judge(
    tables: Annotated[list[Path], typer.Argument(help="Table of every shard of the set.")],
    output: Annotated[Path, typer.Argument(help="Decision to write (JSON).")],
    config: ConfigFile,
    set_: SetName,
) -> None:
    """Judge the labels of a set; a failure is an error unless verdict.stop is false."""
    from morphion.config import load_config
    from morphion.files import require_suffix
    from morphion.verdict import judge_set

    require_suffix(output, ".json")
    judge_set(load_config(config), set_, tables, output)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (verdict, judge):
        app.command(rich_help_panel=PIPELINE)(command)
