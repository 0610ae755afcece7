"""``morphion config``: check, print and describe configurations."""

from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PEOPLE
from morphion.config import load_config
from morphion.config.load import block
from morphion.config.schema import reference_text, schema_text

commands = typer.Typer(help="Check a configuration, or print its schema.", no_args_is_help=True)


@commands.command()
def check(file: Annotated[Path, typer.Argument(help="A configuration file.")]) -> None:
    """Validate FILE and print it with every default filled in."""
    import yaml

    from morphion.feasible import require_feasible

    config = load_config(file)
    require_feasible(config, str(file))
    print(yaml.safe_dump(block(config), sort_keys=False), end="")


@commands.command()
def schema() -> None:
    """Print the JSON schema that config/schema.json holds."""
    print(schema_text(), end="")


@commands.command()
def reference() -> None:
    """Print the reference of all keys that docs/configuration.md holds."""
    print(reference_text(), end="")


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, name="config", rich_help_panel=PEOPLE)
