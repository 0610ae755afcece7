"""Random streams are those of Philox 4x32-10 and belong to a state, not to an order of calls."""

import numpy as np
import pytest
from numba import njit

from morphion.philox import generator, philox4x32, stream_key, unit_interval


@njit
def _words(c0, c1, c2, c3, k0, k1):
    return philox4x32(c0, c1, c2, c3, k0, k1)


@njit
def _unit(high, low):
    return unit_interval(high, low)


# Known answers of the reference implementation (Random123, kat_vectors).
@pytest.mark.parametrize(
    ("counter_and_key", "expected"),
    [
        ([0] * 6, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers(counter_and_key, expected):
    words = _words(*(np.uint32(word) for word in counter_and_key))
    assert " ".join(f"{word:08x}" for word in words) == expected


def test_the_unit_interval_is_half_open():
    assert _unit(np.uint32(0), np.uint32(0)) == 0.0
    assert 0.999 < _unit(np.uint32(0xFFFFFFFF), np.uint32(0xFFFFFFFF)) < 1.0


def test_streams_differ_by_seed_purpose_and_index():
    keys = {
        stream_key(1, "kmc", 0),
        stream_key(2, "kmc", 0),
        stream_key(1, "rsa", 0),
        stream_key(1, "kmc", 1),
        stream_key(1, "kmc", 0, 0),
    }
    assert len(keys) == 5
    assert stream_key(1, "kmc", 0) == stream_key(1, "kmc", 0)


def test_generators_of_one_stream_agree():
    first, second = (generator(5, "split", 1).random(4) for _ in range(2))
    np.testing.assert_array_equal(first, second)
