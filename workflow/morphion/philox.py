"""Counter-based random numbers: Philox 4x32-10 and the keys of named streams.

A stream belongs to a *state*, not to an order of calls: its key is derived from the run seed,
a purpose and indices, and each draw is addressed by a 128-bit counter. Results therefore do not
depend on shard size, thread count, engine or restarts.

Source: Salmon, Moraes, Dror & Shaw, SC'11 (2011), doi:10.1145/2063384.2063405.
"""

import hashlib

import numpy as np
from numba import njit, uint32, uint64

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint32(0x9E3779B9)
_WEYL_1 = np.uint32(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2^-53


def stream_key(seed: int, purpose: str, *indices: int | str) -> tuple[np.uint32, np.uint32]:
    """Philox key (two uint32) of the stream that belongs to a run seed, a purpose and indices.

    The key is a hash, so that neighbouring seeds and indices give unrelated streams.
    """
    name = "\x1f".join(str(part) for part in (seed, purpose, *indices))
    words = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), "<u4")
    return np.uint32(words[0]), np.uint32(words[1])


def generator(seed: int, purpose: str, *indices: int | str) -> np.random.Generator:
    """NumPy generator of a named stream, for code that is not compiled."""
    low, high = stream_key(seed, purpose, *indices)
    return np.random.Generator(np.random.Philox(key=(int(high) << 32) | int(low)))


@njit(inline="always")
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox 4x32 on counter words c0..c3 with key words k0, k1.

    All arguments and the four returned words are uint32.
    """
    for _ in range(10):
        product_0 = uint64(c0) * _MULTIPLIER_0
        product_1 = uint64(c2) * _MULTIPLIER_1
        high_0, low_0 = uint32(product_0 >> _SHIFT), uint32(product_0 & _LOW)
        high_1, low_1 = uint32(product_1 >> _SHIFT), uint32(product_1 & _LOW)
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0 = uint32(k0 + _WEYL_0)
        k1 = uint32(k1 + _WEYL_1)
    return c0, c1, c2, c3


@njit(inline="always")
def unit_interval(high, low):
    """Uniform float64 in [0, 1) with 53 random bits, from two uint32 words."""
    bits = (uint64(high) << uint64(21)) ^ (uint64(low) >> uint64(11))
    return bits * _TO_UNIT
