"""Where an artifact comes from: version, commit, command, configuration, hardware, time."""

import functools
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from morphion import __version__

_STARTED = time.monotonic()


def digest(content: Any) -> str:
    """Short hexadecimal hash of JSON-like content; equal content gives equal digests."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def command_line() -> str:
    """The command of this process as a user would paste it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


@functools.cache
def git_commit() -> str | None:
    """Commit of the source tree the package runs from, with ``+`` if it was edited; else None.

    An installed copy may lie inside another project's repository, which does not track it.
    """
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@functools.cache
def hardware() -> dict[str, Any]:
    """Processor, usable cores and memory of this machine."""
    return {
        "host": platform.node(),
        "processor": _processor_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def record(config: dict[str, Any] | None = None, **details: Any) -> dict[str, Any]:
    """Provenance of an artifact made now by this process; ``details`` are added as they are."""
    return {
        "version": __version__,
        "commit": git_commit(),
        "command": command_line(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.monotonic() - _STARTED, 3),
        "hardware": hardware(),
        **({"config": config, "config_digest": digest(config)} if config is not None else {}),
        **details,
    }


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
