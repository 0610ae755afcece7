"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_INTERVAL = 15.0  # seconds between lines in a log


class Reporter:
    """Counts finished units of one task; ``advance`` is cheap enough for every unit."""

    def __init__(
        self, what: str, total: int, unit: str, done: int, bar: Progress | None, lines: bool = True
    ):
        self._what, self._unit, self._bar, self._lines = what, unit, bar, lines
        self._total, self._done, self._done_before = total, done, done
        self._start = self._last = time.monotonic()
        if bar is not None:
            self._task = bar.add_task(what, total=total, completed=done, rate="")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Record ``count`` more finished units; ``note`` is shown behind them."""
        self._done += count
        now = time.monotonic()
        rate = (self._done - self._done_before) / max(now - self._start, 1e-9)
        speed = f"{rate:.3g} {self._unit}/s {note}".rstrip()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=speed)
        elif self._lines and (self._done >= self._total or now - self._last >= _LINE_INTERVAL):
            self._last = now
            left = f"{(self._total - self._done) / rate:.0f} s left" if rate > 0 else "no end seen"
            log(f"{self._what}: {self._done}/{self._total} {self._unit}, {speed}, {left}")


@contextmanager
def progress(
    what: str, total: int, unit: str = "items", done: int = 0, shown: bool = True
) -> Iterator[Reporter]:
    """Show the progress of ``total`` units, ``done`` of which an earlier run had finished.

    With several processes at one task, only one of them should be ``shown``.
    """
    if not (shown and sys.stderr.isatty()):
        yield Reporter(what, total, unit, done, None, shown)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Reporter(what, total, unit, done, bar)


def log(message: str) -> None:
    """One plain line on standard error."""
    print(message, file=sys.stderr, flush=True)
