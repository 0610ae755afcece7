"""Standard exponential variates from 32-bit words, identical on every engine.

Made like the functions of :mod:`morphion.elementary`, and in ``gpu/kernels/elementary.cu`` for
the other engine.

For a word r the variate is -ln u with u = (r + 1/2) 2^-32. With r + 1/2 = m 2^k and
m in [sqrt(1/2), sqrt(2)),

    -ln u = (32 - k) ln 2 - f P(f),    f = m - 1,

where P is the degree-8 minimax polynomial of ln(1 + f)/f on that interval. Near u = 1 the first
term vanishes, so the *relative* error stays below 3e-8 everywhere.
"""

import numpy as np
from numba import float64, int64, njit

from morphion.elementary import bits_of, from_bits

# Largest relative deviation from -ln u over all words (the minimax error is 2.7e-8).
RELATIVE_ERROR = 3e-8

_SQRT_HALF_BITS = np.uint64(np.float64(np.sqrt(0.5)).view(np.uint64))
_ONE_EXPONENT = np.uint64(1 << 52)
_MANTISSA_SHIFT = np.uint64(52)
_LN2 = 0.6931471805599453
_P = (
    0.9999999741892873,
    -0.4999998796420423,
    0.3333418563376619,
    -0.25002074074938335,
    0.19956833266549615,
    -0.1656239269855143,
    0.1495226932059419,
    -0.14366847394399132,
    0.08722353747977278,
)


@njit(inline="always")
def exponential(word):
    """Exponential variate of mean 1 (float64) from a uint32 word; it lies in (1.1e-10, 22.9)."""
    bits = bits_of(float64(word) + 0.5)
    # One more than k, so that the shift acts on a non-negative number for every word.
    k_plus_1 = (bits - _SQRT_HALF_BITS + _ONE_EXPONENT) >> _MANTISSA_SHIFT
    f = from_bits(bits - (k_plus_1 << _MANTISSA_SHIFT) + _ONE_EXPONENT) - 1.0
    p = _P[8]
    p = p * f + _P[7]
    p = p * f + _P[6]
    p = p * f + _P[5]
    p = p * f + _P[4]
    p = p * f + _P[3]
    p = p * f + _P[2]
    p = p * f + _P[1]
    p = p * f + _P[0]
    return float64(int64(33) - int64(k_plus_1)) * _LN2 - p * f


@njit(cache=True, nogil=True)
def exponentials(words):
    """Exponential variates (float64) of an array of uint32 words; the compiled loop of tests."""
    result = np.empty(words.size)
    for i in range(words.size):
        result[i] = exponential(words[i])
    return result
