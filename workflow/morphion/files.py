"""Publishing files and folders by an atomic rename."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def scratch_path(path: Path) -> Path:
    """A hidden sibling of ``path`` for work in progress; same suffix, same file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a scratch path to write to; it becomes ``path`` only if the block succeeds."""
    path = Path(path)
    scratch = scratch_path(path)
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """As ``atomic_file`` for a folder; an earlier folder of that name is replaced."""
    path = Path(path)
    scratch = scratch_path(path)
    try:
        yield scratch
        if path.exists():
            # A folder cannot be renamed onto a non-empty one.
            retired = scratch_path(path)
            os.replace(path, retired)
            os.replace(scratch, path)
            shutil.rmtree(retired)
        else:
            os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
