"""Contiguous parts of a batch on threads, for compiled code that releases the GIL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_parts(work: Callable[[int, int], None], count: int, threads: int, smallest: int = 1) -> None:
    """Call ``work(low, high)`` for contiguous parts of range(count), one on each thread.

    Parts hold at least ``smallest`` items, except that a smaller ``count`` is one part.
    """
    parts = max(1, min(threads, count // smallest))
    if parts == 1:
        work(0, count)
        return
    edges = [count * i // parts for i in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
