"""A line where loops for CPU cores are compiled: seconds of silence, once on each machine."""

from functools import cache

from numba.core import event

from morphion.progress import log


class _Announcer(event.Listener):
    """Says so at the first compilation of a process; loops from Numba's cache are none."""

    _silent = False

    def on_start(self, event: event.Event) -> None:
        if not self._silent:
            self._silent = True
            log("compiling for this processor; kept for later runs")

    def on_end(self, event: event.Event) -> None:
        pass


@cache
def announce_compilation() -> None:
    """Have the first compilation in this process announced."""
    event.register("numba:compile", _Announcer())
