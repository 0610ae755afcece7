"""The field that walkers see: every site one of at most 255 kinds, one byte a site.

A hop reads the b of six neighbours, so the fewer bytes a site takes, the faster the walk. Sites
are grouped by b = sqrt(D) exp(-U/2) alone, in 254 equal steps of the bits of a float32 (steps of
b that grow with b: at most 1.4 times as wide, relative to b, as equal steps of ln b), and a kind
has

==========  ================================================================================
value       of a kind
==========  ================================================================================
b           mean of b over its sites, a 29-bit integer in units of max b / 2^29
weight      mean of pi over its sites
==========  ================================================================================

The long-time diffusivity is an energy of the conductances b_i b_j over the sum of pi. The sum is
kept, so that grouping sites of different pi changes nothing; and b of a kind is kept on average,
so that its effect on the energy is of second order in the width of a step.

Code 0 marks blocked sites. All sums are sums of integers and the code of a site is integer
arithmetic on the bits of b: every engine makes the same palette.
"""

from dataclasses import dataclass, replace

import numpy as np
from numba import get_num_threads, int64, njit, prange, uint32, uint64

from morphion.errors import TransportError
from morphion.transport.lattice import Lattice

CODES = 256  # code 0 is blocked
LEVELS = 254  # steps of b; the largest b falls on the last
B_BITS = 29  # six neighbours sum to less than 2^32
_SMALLEST_B = 64  # rounding then changes no b by more than 0.8 %
_WEIGHT_SCALE = 2147483648.0  # 2^31: pi is summed as two integers of 31 bits


@dataclass(frozen=True)
class Palette:
    """The kinds of sites of a lattice.

    Parameters
    ----------
    b : uint32 array of shape [256]
        Fixed-point b of each code; 0 for code 0 and for codes that no site has. 24 significant
        bits, so that it is a float32 as well.
    weight : float32 array of shape [256]
        Equilibrium weight pi of each code.
    unit : float
        b of one unit of the fixed point.
    """

    b: np.ndarray
    weight: np.ndarray
    unit: float

    def residence(self, spacing: float) -> np.ndarray:
        """h^2 / a of each code over the unit of b (float32 [256]), h the spacing in voxels.

        Divided by the sum of the six neighbours' fixed-point b it is the mean residence time.
        """
        b = self.b.astype(np.float64)
        time = np.divide(spacing**2 * self.weight, b, out=np.zeros(CODES), where=b > 0)
        return (time / self.unit**2).astype(np.float32)


@dataclass(frozen=True)
class Range:
    """Bits (as float32) of the smallest and largest b of open sites."""

    low: int
    high: int

    def require_resolved(self) -> None:
        """Raise TransportError if the smallest b has too few bits in the fixed point."""
        smallest, largest = (
            float(np.uint32(bits).view(np.float32)) for bits in (self.low, self.high)
        )
        if smallest * (1 << B_BITS) < _SMALLEST_B * largest:
            raise TransportError(
                f"sqrt(D) exp(-U/2) spreads over a factor {largest / smallest:.3g} among open "
                f"sites; the walk resolves {(1 << B_BITS) // _SMALLEST_B}: reduce the range of "
                "affinities (affinity, interdigitation_affinity) or use the exact method"
            )

    @property
    def span(self) -> int:
        """Number of float32 values from the smallest to the largest b."""
        return self.high - self.low + 1

    @property
    def scale(self) -> float:
        """Fixed-point units of b = 1."""
        return (1 << B_BITS) / float(np.uint32(self.high).view(np.float32))


def quantise(lattice: Lattice) -> tuple[np.ndarray, Palette]:
    """Codes (uint8 [n, n, n]) of the sites of a lattice, and their palette.

    Raises TransportError if b spreads over more than the fixed point resolves.
    """
    b, weight = lattice.b.reshape(-1), lattice.weight.reshape(-1)
    parts = get_num_threads()
    found = Range(*_bit_range(b.view(np.uint32), parts))
    found.require_resolved()
    codes = np.empty(b.size, np.uint8)
    sums = np.zeros((parts, 4, CODES), np.uint64)
    _encode(b, b.view(np.uint32), weight, found.low, found.span, found.scale, codes, sums)
    return codes.reshape(lattice.b.shape), make_palette(sums.sum(axis=0), found)


def quantised(lattice: Lattice) -> Lattice:
    """The lattice that walkers see in place of ``lattice``; the exact solver judges walks on it."""
    codes, palette = quantise(lattice)
    b = (palette.b * palette.unit).astype(np.float32)
    return replace(lattice, b=b[codes], weight=palette.weight[codes])


def make_palette(sums: np.ndarray, found: Range) -> Palette:
    """Palette from the sums over the sites of each code (uint64 [4, 256]).

    The rows: number of sites, fixed-point b, and pi in units of 2^-31 and of 2^-62.
    """
    count, sum_b, high, low = sums.astype(np.float64)
    used = count > 0
    used[0] = False
    mean_b, mean_weight = np.zeros(CODES), np.zeros(CODES)
    np.divide(sum_b, count, out=mean_b, where=used)
    np.divide(high + low / _WEIGHT_SCALE, count * _WEIGHT_SCALE, out=mean_weight, where=used)
    mean_weight[used] = np.maximum(mean_weight[used], _WEIGHT_SCALE**-2)
    # A power of two as the unit keeps the float32 of b exact.
    unit = float(np.exp2(np.ceil(np.log2(1 / found.scale))))
    b = np.rint(mean_b / (found.scale * unit)).astype(np.float32)
    return Palette(b.astype(np.uint32), mean_weight.astype(np.float32), unit)


@njit(cache=True, parallel=True)
def _bit_range(bits, parts):
    """Smallest and largest bits of the positive values of a float32 array."""
    low, high = np.full(parts, 0x7F800000), np.zeros(parts, np.int64)
    for part in prange(parts):
        lowest, highest = int64(0x7F800000), int64(0)
        for i in range(bits.size * part // parts, bits.size * (part + 1) // parts):
            value = int64(bits[i])
            if value > 0:
                lowest = min(lowest, value)
                highest = max(highest, value)
        low[part], high[part] = lowest, highest
    return low.min(), high.max()


@njit(inline="always")
def _code(bits, low, span):
    return 0 if bits == 0 else 1 + (int64(bits) - low) * LEVELS // span


@njit(cache=True, parallel=True)
def _encode(b, bits, weight, low, span, scale, codes, sums):
    """Codes of all sites, and for every part of them the sums that make_palette takes."""
    parts = sums.shape[0]
    for part in prange(parts):
        count = np.zeros(CODES, np.uint64)
        sum_b, high, rest = np.zeros_like(count), np.zeros_like(count), np.zeros_like(count)
        for i in range(b.size * part // parts, b.size * (part + 1) // parts):
            code = _code(bits[i], low, span)
            codes[i] = code
            pi = np.float64(weight[i]) * _WEIGHT_SCALE
            whole = uint32(pi)
            count[code] += uint64(1)
            sum_b[code] += uint64(np.float64(b[i]) * scale + 0.5)
            high[code] += uint64(whole)
            rest[code] += uint64((pi - whole) * _WEIGHT_SCALE)
        sums[part, 0], sums[part, 1], sums[part, 2], sums[part, 3] = count, sum_b, high, rest
