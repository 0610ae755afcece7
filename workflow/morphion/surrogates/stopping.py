"""Signals that tell a training to stop: what they interrupt is finished and saved first."""

import signal
import threading
from collections.abc import Callable

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """SIGTERM or SIGINT came, here or to another rank; the state is saved."""

    def __init__(self, received: signal.Signals | None):
        super().__init__()
        self.signal = received or signal.SIGTERM


class Listener:
    """SIGTERM and SIGINT are noted while the context lasts, instead of ending this process.

    ``then`` is called with each one's number and whether one came before. Other threads than the
    main one may not handle signals: there the context does nothing.
    """

    def __init__(self, then: Callable[[int, bool], None]):
        self.received: signal.Signals | None = None
        self._then = then
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Listener":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        again = self.received is not None
        self.received = self.received or signal.Signals(number)
        self._then(number, again)
