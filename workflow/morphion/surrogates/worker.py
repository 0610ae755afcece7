"""One rank of a training: ``python -m morphion.surrogates.worker FOLDER``.

Started by torchrun from ``morphion.surrogates.parallel.launch``; not meant for people, who run
``morphion train``, alone or under their own torchrun.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

from morphion.config import parse_config
from morphion.errors import MorphionError
from morphion.stopping import end_with_parent, note_when_told
from morphion.surrogates.stage import train


def main(folder: str) -> int:
    """Exit status of the rank; the first rank that fails, or is stopped, leaves a file."""
    end_with_parent()
    note_when_told()
    path = Path(folder, "job.json")
    job = json.loads(path.read_text())
    try:
        config = parse_config(job.pop("config"), source=str(path), folder=path.parent)
        train(config, **job)
    except (MorphionError, OSError) as error:
        _leave(path.with_name("error.txt"), str(error))
        return 2
    except SystemExit as stopped:
        # All ranks have stopped, which torchrun is not to report as a failure.
        _leave(path.with_name("stopped"), str(stopped.code))
    return 0


def _leave(path: Path, text: str) -> None:
    with suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
