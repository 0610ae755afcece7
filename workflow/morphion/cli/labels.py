"""``morphion label`` for structure files and ``morphion labels`` for shards."""

import json
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from morphion.cli.options import PEOPLE, PIPELINE, ConfigFile, Json, Threads, use_threads
from morphion.cli.tables import print_whole, table_of_structures

if TYPE_CHECKING:
    from morphion.config.labels import Labels


class Method(StrEnum):
    """How a label is made."""

    kmc = "kmc"
    exact = "exact"


class Engine(StrEnum):
    """Where a label is made."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


# What the configuration's own would be too coarse, or too much, for.
_DEFAULTS = {"target_relative_error": 0.01, "max_hops": 5e11, "relative_residual": 1e-6}


def _help(what: str, name: str) -> str:
    """Of an option whose default is none, so that it shows whether it was given."""
    return f"{what}; default: {_DEFAULTS[name]:g}."


def label(
    structures: Annotated[
        list[Path], typer.Argument(help="GSD or extended XYZ files, or stores.", show_default=False)
    ],
    method: Annotated[Method, typer.Option(help="Kinetic Monte Carlo or exact solver.")],
    lattice: Annotated[int, typer.Option(help="Lattice sites along the box edge, at least 16.")],
    transport: Annotated[
        Path | None, typer.Option(help="Transport model (YAML); default: coverage-shell.")
    ] = None,
    walkers: Annotated[int | None, typer.Option(help="kmc: walkers; default: a pilot.")] = None,
    relative_error: Annotated[
        float | None,
        typer.Option(help=_help("kmc: standard error aimed at", "target_relative_error")),
    ] = None,
    control_variate: Annotated[
        int | None, typer.Option(help="kmc: sites of a coarser lattice that saves hops.")
    ] = None,
    max_hops: Annotated[
        float | None,
        typer.Option(help=_help("kmc: hops a file may cost", "max_hops")),
    ] = None,
    relative_residual: Annotated[
        float | None,
        typer.Option(help=_help("exact: residual to reach", "relative_residual")),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="kmc: seed of the walk.")] = 0,
    engine: Annotated[Engine, typer.Option(help="auto takes a GPU where there is one.")] = (
        Engine.auto
    ),
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Cation diffusivity of structure files, with its standard error.

    Lengths of the transport model are in units of each file's sphere diameter; D is in units of
    the solvent's. A file's walk depends on the seed and the file only.
    """
    from morphion.gpu import choose
    from morphion.labels.files import label_files
    from morphion.transport import load_transport

    use_threads(threads)
    given = {
        Method.kmc: {
            "walkers": walkers,
            "target_relative_error": relative_error,
            "control_variate": control_variate,
            "max_hops": max_hops,
        },
        Method.exact: {"relative_residual": relative_residual},
    }
    config = _labels_config(method, lattice, given)
    results: list[dict] = []
    try:
        results.extend(
            label_files(structures, load_transport(transport), config, seed, choose(engine.value))
        )
    finally:  # what was found before an error, or before someone had enough
        if results and as_json:
            print(json.dumps(results, indent=2))
        elif results:
            _print_table(results)


def _labels_config(method: Method, lattice: int, given: dict[Method, dict]) -> "Labels":
    """The block ``labels`` of what was ``given`` of the settings of each method, by key."""
    from morphion.config.labels import Labels
    from morphion.config.load import validate
    from morphion.errors import ConfigError

    options = {"method": method.value, "lattice": lattice} | _DEFAULTS
    # Keys of the configuration, which the options are named after but for one.
    names = {name: "--" + name.replace("_", "-") for name in chain(options, *given.values())}
    names["target_relative_error"] = "--relative-error"
    for of, settings in given.items():
        asked = {name: value for name, value in settings.items() if value is not None}
        if asked and of is not method:
            raise ConfigError(
                f"morphion label: {names[min(asked)]} is for --method {of.value}: leave it out"
            )
        options |= asked
    return validate(Labels, options, source="morphion label", names=names)


def labels(
    structures: Annotated[Path, typer.Argument(help="Structure shard.")],
    output: Annotated[Path, typer.Argument(help="Label shard to write.")],
    config: ConfigFile,
    set_: Annotated[str, typer.Option("--set", help="Name of the set, e.g. round0.")],
    threads: Threads = None,
) -> None:
    """Label a shard of structures; a killed job continues after the last finished structure."""
    from morphion.config import load_config
    from morphion.labels import label_shard

    use_threads(threads)
    label_shard(load_config(config), set_, structures, output)


def _print_table(results: list[dict]) -> None:
    from rich.text import Text

    table = table_of_structures(
        "method", "n", "D", "± stderr", "converged", "hops", "seconds", left=("method",)
    )
    for row in results:
        walked = row["method"] == Method.kmc.value  # an exact label has no statistical error
        table.add_row(
            Text(row["structure"]),  # a path may look like markup
            row["method"],
            str(row["lattice"]),
            f"{row['diffusivity']:.6f}",
            f"{row['stderr']:.6f}" if walked else "-",
            "yes" if row["converged"] else "NO",
            f"{row['hops']:.2g}" if walked else "-",
            f"{row['seconds']:.2f}",
        )
    print_whole(table)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PEOPLE)(label)
    app.command(rich_help_panel=PIPELINE)(labels)
