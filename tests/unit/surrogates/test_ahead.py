"""The next batch is made beside the present one."""

import threading

import pytest
from numba import get_num_threads, set_num_threads

from morphion.surrogates.ahead import one_ahead


def made(events, count=4, fail_at=None):
    for number in range(count):
        if number == fail_at:
            raise ValueError(f"item {number}")
        events.append((number, threading.current_thread()))
        yield number


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_items_come_in_their_order(beside, count):
    with one_ahead(made([], count), beside) as items:
        assert list(items) == list(range(count))


def test_an_item_is_made_by_a_thread_while_the_one_before_is_used():
    # Each of both waits for the other: in turn neither would go on.
    used, ready = threading.Event(), threading.Event()

    def waiting():
        yield 0
        assert used.wait(10)
        ready.set()
        yield 1

    with one_ahead(waiting(), beside=True) as items:
        assert next(items) == 0
        used.set()
        assert ready.wait(10)
        assert next(items) == 1


def test_no_thread_makes_items_unless_asked():
    events = []
    with one_ahead(made(events), beside=False) as items:
        assert next(items) == 0
    assert events == [(0, threading.current_thread())]


def test_leaving_ends_the_thread_after_what_it_is_at():
    events = []
    with one_ahead(made(events), beside=True) as items:
        assert next(items) == 0
    assert [number for number, _ in events] in ([0], [0, 1])
    assert not any(thread.is_alive() for _, thread in events)


def test_what_making_raises_asking_raises():
    with one_ahead(made([], fail_at=1), beside=True) as items:
        assert next(items) == 0
        with pytest.raises(ValueError, match="item 1"):
            next(items)


def test_the_thread_uses_as_many_threads_as_its_maker():
    before = get_num_threads()
    set_num_threads(1)
    try:
        with one_ahead((get_num_threads() for _ in range(2)), True) as items:
            assert list(items) == [1, 1]
    finally:
        set_num_threads(before)
