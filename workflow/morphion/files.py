"""Publishing files and folders by an atomic rename."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from morphion.errors import MorphionError


def scratch_path(path: Path) -> Path:
    """A hidden sibling of ``path`` for work in progress; same suffix, same file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a scratch path to write to; it becomes ``path`` only if the block succeeds.

    Raises MorphionError, which names ``path``, for a folder and where nothing may be written.
    """
    path = Path(path)
    if path.is_dir():
        raise MorphionError(f"{path}: is a folder; name the file to write")
    scratch = scratch_path(path)
    try:
        with _told_by_name(path, scratch):
            yield scratch
            os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def _told_by_name(path: Path, scratch: Path) -> Iterator[None]:
    """Tell errors of writing ``scratch``, which users do not know, by ``path``; a disk that is full
    names no file at all. Errors of other files stay as they are."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(scratch)):
            raise
        raise MorphionError(f"{path}: cannot be written ({error.strerror or error})") from error


def hold_lock(path: Path, taken: str) -> IO[str]:
    """A file, made if need be, locked until it is closed or the process ends, however it does.

    Raises MorphionError, which says ``taken``, if another process has the lock. Some file systems
    know no locks; there the file is held without.
    """
    file = path.open("a")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        raise MorphionError(f"{taken}; wait for it, or stop it") from None
    except OSError:
        pass
    return file


def require_suffix(path: Path | str, suffix: str) -> None:
    """Refuse a file to write by another name: it may be one that was meant to be read."""
    if Path(path).suffix != suffix:
        raise MorphionError(f"{path}: a file named *{suffix} is written here; name the output so")


def require_writable(path: Path | str) -> None:
    """Refuse an output that nothing may be written to before hours of work on it, as far as the
    file system tells; its folder is made. Raises MorphionError."""
    path = Path(path)
    with _told_by_name(path, path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "its folder may not be written to")


def require_replaceable(path: Path | str, what: str, is_one: Callable[[Path], bool]) -> None:
    """Refuse an output folder that is a file, or holds something else than an earlier one: of a
    folder that is not empty ``is_one`` says whether it is ``what``. Raises MorphionError."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise MorphionError(f"{path}: is a file, where a folder ({what}) is to be written")
    if path.is_dir() and (held := sorted(os.listdir(path))) and not is_one(path):
        raise MorphionError(
            f"{path}: holds {held[0]!r} and is not {what}; what is not of this kind is not "
            "replaced: name another folder"
        )


@contextmanager
def atomic_folder(path: Path | str, what: str, is_one: Callable[[Path], bool]) -> Iterator[Path]:
    """As ``atomic_file`` for a folder; an earlier one is replaced.

    Raises MorphionError as ``require_replaceable`` does.
    """
    path = Path(path)
    require_replaceable(path, what, is_one)
    scratch = scratch_path(path)
    try:
        with _told_by_name(path, scratch):
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
