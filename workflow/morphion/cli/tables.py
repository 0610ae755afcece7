"""Tables on a terminal, a row to a structure."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def table_of_structures(*headings: str, left: Collection[str] = ()) -> "Table":
    """An empty table of structures and what is told of them: numbers, to the right, but for the
    headings ``left``."""
    from rich.table import Table

    table = Table()
    table.add_column("structure", overflow="fold", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    return table


def print_whole(table: "Table") -> "Console":
    """Print a table as wide as its numbers need: on a narrow terminal long paths are folded, and
    lines break where it ends, but no digit is left out. Returns the console."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    needed = Measurement.get(console, console.options.update(width=10_000), table).minimum
    Console(width=max(console.width, needed)).print(table)
    return console
