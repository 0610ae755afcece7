"""``morphion inspect``, ``morphion export`` and ``morphion pack``."""

from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PEOPLE


def inspect(
    path: Annotated[Path, typer.Argument(help="A store of any kind, or a model folder.")],
    check: Annotated[bool, typer.Option(help="Compare every array with its checksum.")] = True,
) -> None:
    """Contents, units, provenance and integrity of a store."""
    from morphion.store.inspect import describe

    describe(path, check=check)


def export(
    source: Annotated[Path, typer.Argument(help="Store with structures, or a structure file.")],
    output: Annotated[Path, typer.Argument(help="OUT.gsd, OUT.xyz or OUT.vti.")],
    first: Annotated[int, typer.Option(min=0, help="First structure to export.")] = 0,
    count: Annotated[int | None, typer.Option(min=1, help="How many; default: all.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Only each n-th structure.")] = 1,
    lattice: Annotated[
        int | None, typer.Option(help=".vti: lattice sites along the edge; default: 75.")
    ] = None,
    transport: Annotated[
        Path | None, typer.Option(help=".vti: transport model; default: coverage-shell.")
    ] = None,
) -> None:
    """Structures for OVITO (.gsd, .xyz), or one structure's lattice fields for ParaView (.vti)."""
    from morphion.errors import StoreError
    from morphion.store.export import export_structures, structure_at
    from morphion.transport import load_transport
    from morphion.transport.export import export_fields

    if (suffix := output.suffix.lower()) not in (".gsd", ".xyz", ".vti"):
        raise StoreError(f"{output}: unknown suffix; expected one of .gsd, .xyz, .vti")
    if suffix == ".vti":
        if (count, every) != (None, 1):
            raise StoreError(
                f"{output}: lattice fields are of one structure, which --first names; leave out "
                "--count and --every"
            )
        structure = structure_at(source, first)
        export_fields(*structure, load_transport(transport), lattice or 75, output)
    elif lattice is not None or transport is not None:
        raise StoreError(f"{output}: --lattice and --transport are of fields, which *.vti holds")
    else:
        export_structures(source, output, first=first, count=count, every=every)


def pack(
    source: Annotated[Path, typer.Argument(help="Store of any kind.")],
    output: Annotated[Path, typer.Argument(help="File to write, *.zarr.zip.")],
) -> None:
    """A store without its voxel images as one small file, which commands read like the store."""
    from morphion.store.pack import pack as pack_store

    pack_store(source, output)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PEOPLE)(inspect)
    app.command(rich_help_panel=PEOPLE)(export)
    app.command(rich_help_panel=PEOPLE)(pack)
