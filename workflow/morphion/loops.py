"""Where Numba keeps compiled loops, settled before it is imported: it does not begin without."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_KEY = "NUMBA_CACHE_DIR"


def settle_cache(package: Path) -> None:
    """Beside the ``package`` or in the user's cache, Numba's own choices; where neither may be
    written, as on a cluster with read-only software and homes, in a folder of this process.

    That folder is new and goes with the process: one that others could have made would not do, as
    what lies there is run.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    if _KEY in os.environ or _writable(package) or _writable(Path(caches).expanduser()):
        return
    folder = tempfile.mkdtemp(prefix="morphion-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_KEY] = folder


def _writable(folder: Path) -> bool:
    """Whether a folder can be written to, or made where there is none."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
