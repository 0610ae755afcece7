"""Publishing files and folders by an atomic rename."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morphion.errors import MorphionError


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


def require_replaceable(path: Path | str, marker: str) -> None:
    """Refuse a folder to write that exists, unless it is empty or holds the file ``marker``, by
    which it is an earlier one of the kind; raises MorphionError."""
    path = Path(path)
    if path.is_dir() and not (path / marker).is_file() and (held := sorted(os.listdir(path))):
        raise MorphionError(
            f"{path}: holds {held[0]!r} and no {marker}; what is not of this kind is not replaced: "
            "name another folder"
        )


@contextmanager
def atomic_folder(path: Path | str, marker: str) -> Iterator[Path]:
    """As ``atomic_file`` for a folder; an earlier one, which holds ``marker``, is replaced.

    Raises MorphionError as ``require_replaceable`` does.
    """
    path = Path(path)
    require_replaceable(path, marker)
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
