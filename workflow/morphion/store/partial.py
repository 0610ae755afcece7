"""Finished chunks of an unfinished job, from which a restarted job continues."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from morphion.errors import MorphionError
from morphion.files import atomic_file, hold_lock, require_replaceable
from morphion.progress import log
from morphion.provenance import digest

_MARKER, _LOCK = "identity", "lock"
_DIGITS = 8  # of a digest, that tell folders apart


class Partial:
    """Chunks kept beside a future output, in ``<output>.partial/``.

    ``identity`` names everything the chunks depend on (inputs, configuration, seed). Those of
    another one are set aside in ``<output>.partial-<digest>/``, so that a changed configuration
    never mixes with old results, and taken back once theirs is asked for again. Raises
    MorphionError if something else lies there, or another process is at work on it, as far as the
    file system has locks.
    """

    def __init__(self, output: Path | str, identity: Any):
        self._output = output = Path(output)
        self.folder = output.with_name(output.name + ".partial")
        self._marker = self.folder / _MARKER
        expected = digest(identity)
        require_replaceable(self.folder, "the unfinished work of a job", _is_one)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = hold_lock(self.folder / _LOCK, f"{output}: another process is at work on it")
        if self._marker.is_file() and (other := self._marker.read_text().strip()) != expected:
            self._set_aside(self._aside(other))
        self._take_back(self._aside(expected))
        # Written once and whole: a marker cut off by a full disk would cost the chunks.
        if not self._marker.is_file():
            with atomic_file(self._marker) as scratch:
                scratch.write_text(expected)

    def save(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a finished chunk; on disk whole or not at all."""
        if not self._marker.is_file():
            raise MorphionError(f"{self.folder}: was removed while its job ran; start that again")
        with atomic_file(self.folder / f"{key}.npz") as scratch:
            np.savez(scratch, **arrays)

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """Arrays of a chunk an earlier job finished, or None."""
        path = self.folder / f"{key}.npz"
        if not path.is_file():
            return None
        try:
            with zipfile.ZipFile(path):  # or else it might be a single array
                pass
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error):
            # A machine that lost power can leave a file without its content.
            log(f"{path}: truncated or altered; this chunk is made again")
            path.unlink(missing_ok=True)
            return None

    def discard(self) -> None:
        """Remove all chunks, once the output they belong to is published."""
        self._clear()
        self._held.close()  # NFS keeps a file that is open, and its folder with it
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        for entry in self._entries():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _entries(self) -> list[Path]:
        """What belongs to the marker, and the marker last: without it, after a kill, nobody would
        know what the rest is."""
        found = (entry for entry in self.folder.iterdir() if entry.name != _LOCK)
        return sorted(found, key=lambda entry: entry == self._marker)

    def _aside(self, identity: str) -> Path:
        return self._output.with_name(f"{self._output.name}.partial-{identity[:_DIGITS]}")

    def _set_aside(self, folder: Path) -> None:
        log(
            f"{self.folder}: of another configuration or input; kept as {folder.name}, where that "
            "configuration finds it; delete it if it is of no use"
        )
        folder.mkdir(exist_ok=True)
        for entry in self._entries():
            os.replace(entry, folder / entry.name)

    def _take_back(self, folder: Path) -> None:
        if not folder.is_dir():
            return
        log(f"{self.folder}: goes on with what was kept as {folder.name}")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name != _MARKER):
            os.replace(entry, self.folder / entry.name)
        folder.rmdir()


def _is_one(folder: Path) -> bool:
    """Whether this is the work of a job, or of one that was killed before it had said so."""
    return (folder / _MARKER).is_file() or all(
        name == _LOCK or name.startswith(f".{_MARKER}.") for name in os.listdir(folder)
    )
