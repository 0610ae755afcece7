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


class Partial:
    """Chunks kept beside a future output, in ``<output>.partial/``.

    ``identity`` names everything the chunks depend on (inputs, configuration, seed); chunks of
    another identity are discarded, so that a changed configuration never mixes with old results.
    Raises MorphionError if something else lies there, or another process is at work on it, as far
    as the file system has locks.
    """

    def __init__(self, output: Path | str, identity: Any):
        output = Path(output)
        self.folder = output.with_name(output.name + ".partial")
        self._marker = self.folder / _MARKER
        expected = digest(identity)
        require_replaceable(self.folder, "the unfinished work of a job", _is_one)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = hold_lock(self.folder / _LOCK, f"{output}: another process is at work on it")
        if self._marker.is_file() and self._marker.read_text().strip() != expected:
            log(f"{self.folder}: of another configuration or input; discarded")
            self._clear()
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
        """Remove what belongs to the marker, and the marker last: without it, after a kill, nobody
        would know what the rest is."""
        for entry in sorted(self.folder.iterdir(), key=lambda entry: entry == self._marker):
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != _LOCK:
                entry.unlink()


def _is_one(folder: Path) -> bool:
    """Whether this is the work of a job, or of one that was killed before it had said so."""
    return (folder / _MARKER).is_file() or all(
        name == _LOCK or name.startswith(f".{_MARKER}.") for name in os.listdir(folder)
    )
