"""Work for the next batch beside that on the present one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from numba import get_num_threads, set_num_threads

Item = TypeVar("Item")


@contextmanager
def one_ahead(items: Iterable[Item], beside: bool) -> Iterator[Iterator[Item]]:
    """The items; if ``beside``, a thread makes each while the one before is used.

    Nothing is made any more once the context is left. What making an item raises, asking for it
    raises.
    """
    if not beside:
        yield iter(items)
        return
    # Threads of compiled loops are each Python thread's own number: by default all there are.
    how_many = {"initializer": set_num_threads, "initargs": (get_num_threads(),)}
    with ThreadPoolExecutor(1, thread_name_prefix="next-batch", **how_many) as thread:
        yield _ahead(iter(items), thread)


def _ahead(items: Iterator[Item], thread: ThreadPoolExecutor) -> Iterator[Item]:
    end = object()
    following = thread.submit(next, items, end)
    while (item := following.result()) is not end:
        following = thread.submit(next, items, end)
        yield item
