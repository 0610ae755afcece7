"""One rank of a training: ``python -m morphion.surrogates.worker JOB.json ERROR.txt``.

Started by torchrun from ``morphion.surrogates.parallel.launch``; not meant for people, who run
``morphion train``, alone or under their own torchrun.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

from morphion.config import parse_config
from morphion.errors import MorphionError
from morphion.surrogates.stage import train


def main(job_path: str, error_path: str) -> int:
    """Exit status of the rank; the first rank that fails writes its message."""
    job = json.loads(Path(job_path).read_text())
    try:
        config = parse_config(job.pop("config"), source=job_path, folder=Path(job_path).parent)
        train(config, **job)
    except (MorphionError, OSError) as error:
        with suppress(FileExistsError), open(error_path, "x", encoding="utf-8") as file:
            file.write(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
