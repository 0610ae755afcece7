"""Memory that this process may still take: of the machine, and of its job."""

from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
# Limit, use, and what of the use the kernel gives back when asked: pages of files.
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory(groups: Path = _GROUPS, root: Path = _ROOT) -> int:
    """Bytes available now: on the machine, or within the limits of a job or container.

    Schedulers and containers limit memory by Linux's control groups, version 1 or 2, of which
    ``groups`` lists those of this process and ``root`` holds the limits.
    """
    free = (left for folder in _folders(groups, root) for left in _left(folder))
    return max(0, min([psutil.virtual_memory().available, *free]))


def _folders(groups: Path, root: Path) -> Iterator[Path]:
    """Folders of the control groups of this process and of all above them."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" or "memory" in controllers.split(","):
            top = root if number == "0" else root / "memory"
            inner = top / path.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top))


def _left(folder: Path) -> Iterator[int]:
    for limit, used, kept in _FILES:
        try:
            most = (folder / limit).read_text().strip()
            if most == "max":
                continue
            lines = (folder / "memory.stat").read_text().splitlines()
            statistics = dict(line.split() for line in lines)
            taken = int((folder / used).read_text()) - int(statistics.get(kept, 0))
        except (OSError, ValueError):  # not of this version, or not for us to read
            continue
        yield int(most) - max(0, taken)
