"""Signals that tell a process to stop: it leaves tidily, or finishes what it does and saves."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class Stopped(Exception):
    """SIGTERM or SIGINT came, here or to another rank; the state is saved."""

    def __init__(self, received: signal.Signals | None):
        super().__init__()
        self.signal = received or signal.SIGTERM


class _Leaver:
    """Handler of a signal that raises SystemExit, and remembers that it did."""

    received: signal.Signals | None = None

    def __call__(self, number: int, _: object) -> None:
        self.received = signal.Signals(number)
        sys.exit(128 + number)


# Python drops what a handler raises in a finaliser, and makes an ImportError of it while a
# compiled module is imported: then it is this that knows.
_leaver = _Leaver()


def leave_when_told() -> None:
    """From now on SIGTERM raises SystemExit, so that no scratch files are left behind."""
    signal.signal(signal.SIGTERM, _leaver)


def was_told() -> signal.Signals | None:
    """The signal by which ``leave_when_told`` tried to end this process."""
    return _leaver.received


def note_when_told() -> None:
    """From now on SIGTERM and SIGINT are noted alone: a ``Listener`` entered later knows of them,
    and whatever thread they reach, what is being done after it is done to its end."""

    def note(number: int, _: object) -> None:
        _leaver.received = _leaver.received or signal.Signals(number)

    for number in _NUMBERS:
        signal.signal(number, note)


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends, even by SIGKILL, which it cannot
    pass on: it would go on unseen. Linux alone can do that; elsewhere nothing happens."""
    parent, prctl = os.getppid(), getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before it could be told
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def held_back() -> Iterator[None]:
    """SIGTERM and SIGINT wait until the context ends; for a process started in it, and for those
    that it starts, until they enter a ``Listener``."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Listener:
    """SIGTERM and SIGINT are noted while the context lasts, instead of ending this process.

    Those that were held back, or that could not end this process before, are noted as well.
    ``then`` is called with each one's number and whether the same came before. Other threads than
    the main one may not handle signals: there the context does nothing.
    """

    def __init__(self, then: Callable[[int, bool], None]):
        self.received: signal.Signals | None = None
        self._then = then
        self._came: set[int] = set()
        self._previous: dict[int, object] = {}
        self._mask: set[signal.Signals] = set()

    def __enter__(self) -> "Listener":
        self.received = was_told()
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _NUMBERS}
            self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        again = number in self._came
        self._came.add(number)
        self.received = self.received or signal.Signals(number)
        self._then(number, again)
