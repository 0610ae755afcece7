"""Elementary functions that give the same bits on every engine.

They are made of conversions, bit operations, additions and multiplications only, each one rounded
on its own (no libm, no division, no fused multiply-add), so that a routine compiled for another
device (``gpu/kernels/elementary.cu``) reproduces lattices and residence times bit for bit.
"""

import numpy as np
from llvmlite import ir
from numba import float64, int64, njit, uint64
from numba.extending import intrinsic

# Largest relative deviation of exp from the exponential function.
EXP_RELATIVE_ERROR = 4e-16
# Arguments of exp are clamped to this range; its ends are normal numbers.
EXP_RANGE = 700.0

_EXPONENT_SHIFT = np.uint64(52)
_BIAS = np.int64(1023)
_LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first with trailing zeros: k times it is exact.
_LN2_HIGH = 0.6931471803691238
_LN2_LOW = 1.9082149292705877e-10
# Adding it leaves the nearest integer in the lowest bits of the sum.
_ROUND = 6755399441055744.0  # 1.5 * 2^52
_ROUND_BITS = np.int64(0x4338000000000000)


@intrinsic
def bits_of(typing_context, value):
    """The 64 bits of a float64 as uint64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return uint64(float64), generate


@intrinsic
def from_bits(typing_context, bits):
    """The float64 that has these 64 bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return float64(uint64), generate


@njit(inline="always")
def exp(x):
    """e^x (float64) for x in [-700, 700]; beyond, the value at the nearer end.

    With k = round(x / ln 2) and r = x - k ln 2, e^x = 2^k e^r, and e^r is its Taylor polynomial of
    degree 13 on |r| <= ln(2) / 2.
    """
    x = min(max(x, -EXP_RANGE), EXP_RANGE)
    shifted = x * _LOG2_E + _ROUND
    k = int64(bits_of(shifted)) - _ROUND_BITS
    rounded = shifted - _ROUND
    r = (x - rounded * _LN2_HIGH) - rounded * _LN2_LOW
    p = 1.6059043836821613e-10  # 1/13!
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 0.0001984126984126984
    p = p * r + 0.001388888888888889
    p = p * r + 0.008333333333333333
    p = p * r + 0.041666666666666664
    p = p * r + 0.16666666666666666
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * from_bits(uint64(k + _BIAS) << _EXPONENT_SHIFT)


@njit(cache=True)
def exps(values):
    """exp of an array (float64); the compiled loop of tests."""
    result = np.empty(values.size)
    for i in range(values.size):
        result[i] = exp(values[i])
    return result
