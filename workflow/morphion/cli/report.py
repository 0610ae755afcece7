"""``morphion descriptors``, ``pca``, ``table``, ``figure`` and ``results``."""

from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PIPELINE, ConfigFile, Threads, use_threads

Output = Annotated[Path, typer.Argument(help="Store to write.")]


def descriptors(
    output: Output,
    config: ConfigFile,
    dataset: Annotated[Path, typer.Option(help="Data set of the last round.")],
    threads: Threads = None,
) -> None:
    """g(r), nearest distances and clusters of every labelled structure."""
    from morphion.analysis.descriptors import descriptors_store
    from morphion.config import load_config

    use_threads(threads)
    descriptors_store(dataset, load_config(config), output)


def pca(
    output: Output,
    config: ConfigFile,
    source: Annotated[Path, typer.Option("--descriptors", help="Store of descriptors.")],
) -> None:
    """Principal components of g(r) and their correlation with the diffusivity."""
    from morphion.analysis.pca import pca_store
    from morphion.config import load_config

    pca_store(source, load_config(config), output)


def table(
    name: Annotated[str, typer.Argument(help="Name of the table, e.g. table1 or summary.")],
    output: Annotated[Path, typer.Argument(help="OUT.csv; OUT.html is written beside it.")],
    config: ConfigFile,
    threads: Threads = None,
) -> None:
    """A table of the report, from the results of the run."""
    from morphion.analysis.catalogue import find, tables
    from morphion.analysis.page import write_page
    from morphion.config import load_config
    from morphion.files import require_suffix

    require_suffix(output, ".csv")
    run = load_config(config)
    artifact = find(tables(run), name)
    use_threads(threads, networks=artifact.threads > 1)  # timed
    artifact.make(run, output)
    write_page(output, artifact.title)


def figure(
    name: Annotated[str, typer.Argument(help="Name of the figure, e.g. figure10.")],
    output: Annotated[Path, typer.Argument(help="OUT.png; OUT.svg is written beside it.")],
    config: ConfigFile,
) -> None:
    """A figure of the report, from the results of the run."""
    from morphion.analysis.catalogue import figures, find
    from morphion.config import load_config
    from morphion.files import require_suffix

    require_suffix(output, ".png")
    run = load_config(config)
    find(figures(run), name).make(run, output)


def results(
    output: Annotated[Path, typer.Argument(help="OUT.md; its figures are written beside it.")],
    config: ConfigFile,
) -> None:
    """The comparison of networks as a page of Markdown, from the tables of the run."""
    from morphion.analysis.catalogue import results as results_of
    from morphion.config import load_config
    from morphion.files import require_suffix

    require_suffix(output, ".md")
    run = load_config(config)
    results_of(run).make(run, output)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (descriptors, pca, table, figure, results):
        app.command(rich_help_panel=PIPELINE)(command)
