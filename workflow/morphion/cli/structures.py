"""``morphion structures``, ``morphion loadings`` and ``morphion walked``."""

from pathlib import Path
from typing import Annotated

import typer

from morphion.cli.options import PIPELINE, ConfigFile


def structures(
    output: Annotated[Path, typer.Argument(help="Store to write.")],
    config: ConfigFile,
    shard: Annotated[int, typer.Option(min=0, help="Number of the shard.")],
) -> None:
    """Generate a shard of the structure families (round 0)."""
    from morphion import provenance, store
    from morphion.config import load_config
    from morphion.config.load import block
    from morphion.structures.generate import generate_shard

    run = load_config(config)
    blocks = {key: block(getattr(run, key)) for key in ("geometry", "structures")}
    store.write(
        output,
        generate_shard(run, shard),
        kind="structures",
        provenance=provenance.record(blocks, seed=run.seed, shard=shard),
    )


def loadings(
    outputs: Annotated[list[Path], typer.Argument(help="Structure shards to write.")],
    config: ConfigFile,
    dataset: Annotated[Path, typer.Option(help="Data set of the last round.")],
    volume_fraction: Annotated[float, typer.Option(help="Loading to reach.")],
) -> None:
    """Bring the structures of the test split to another loading."""
    from morphion.config import load_config
    from morphion.dataset.loadings import write_loadings

    write_loadings(load_config(config), dataset, volume_fraction, outputs)


def walked(
    outputs: Annotated[list[Path], typer.Argument(help="Structure shards to write.")],
    config: ConfigFile,
    dataset: Annotated[Path, typer.Option(help="Data set of round 0.")],
) -> None:
    """Draw structures of the test split that are to be walked beside their exact labels."""
    from morphion.config import load_config
    from morphion.dataset.walked import write_walked

    write_walked(load_config(config), dataset, outputs)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PIPELINE)(structures)
    app.command(rich_help_panel=PIPELINE)(loadings)
    app.command(rich_help_panel=PIPELINE)(walked)
