"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path, typer.Option("--config", help="Configuration file of the run.", show_default=False)
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads; results do not depend on it."),
]
TrainingThreads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="CPU threads; sums over an image are rounded otherwise by another number.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

PIPELINE = "Pipeline stages"
PEOPLE = "Commands for people"


def use_threads(threads: int | None, *, networks: bool = False) -> None:
    """Limit the threads of this process's compiled loops and, if it runs some, of networks.

    Called by every command that runs such loops, so that it also says where they are compiled.
    """
    import numba

    from morphion.compiling import announce_compilation

    announce_compilation()
    if threads is None:
        return
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if networks:
        # Loaded later, torch would take as many as there are.
        import torch

        torch.set_num_threads(threads)
