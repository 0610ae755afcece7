"""What the engine on CPU cores reads while it walks: neighbour choice, residence times, starts.

The hop rates k_ij = a_i b_j / h^2 are walked with the integer b of :mod:`morphion.kmc.palette`, so
that the choice of the neighbour is exact integer arithmetic. The quantised walk keeps detailed
balance exactly: its conductances b_i b_j are symmetric.

A site's record is eight 32-bit words, half a cache line:

==========  ==================================================================================
word        meaning
==========  ==================================================================================
0 to 4      thresholds t_1 .. t_5: the direction of a hop is the number of t_k <= r, r a random
            31-bit integer; t_k = ceil(2^31 (b_0 + ... + b_(k-1)) / S), S the sum of all six
5           mean residence time h^2 / (a S) in voxel^2, float32; 0 if isolated or blocked
6           bit d is set if the hop in direction d crosses the periodic boundary
7           unused
==========  ==================================================================================

Directions 0 .. 5 are +x, -x, +y, -y, +z, -z.
"""

from dataclasses import dataclass

import numpy as np
from numba import float32, njit, prange, uint32, uint64

from morphion.kmc.control import Control
from morphion.kmc.palette import Palette, quantise
from morphion.philox import philox4x32, unit_interval
from morphion.transport.checks import require_memory
from morphion.transport.lattice import Lattice

WORDS = 8  # of a record
DIRECTION_BITS = 31  # of a random word; thresholds may equal 2^31, which no word reaches
START_STREAM = np.uint32(1)
_DIRECTION_BITS = np.uint64(DIRECTION_BITS)
_BYTES_PER_SITE = 4 * WORDS + 1


@dataclass(frozen=True)
class Summary:
    """What plans of walks need to know of a lattice, on any engine.

    Parameters
    ----------
    n : int
        Lattice sites along an edge.
    spacing : float
        h in voxels.
    hop_rate : float
        Hops a walker makes in unit time, at equilibrium.
    axis_bound : float64 array of shape [3]
        sum over bonds of b_i b_j / sum pi for each axis: never below D_xx, D_yy, D_zz.
    row_cumulative : float64 array of shape [n^2]
        Running sum of the weight over rows along z, from which start sites are drawn.
    """

    n: int
    spacing: float
    hop_rate: float
    axis_bound: np.ndarray
    row_cumulative: np.ndarray


@dataclass(frozen=True)
class WalkTables:
    """A lattice prepared for walking on CPU cores.

    Parameters
    ----------
    records : uint32 array of shape [n^3, 8]
        One record a site, see the module's table; site (i, j, k) is row (i n + j) n + k.
    codes : uint8 array of shape [n^3]
    palette : Palette
    summary : Summary
    """

    records: np.ndarray
    codes: np.ndarray
    palette: Palette
    summary: Summary
    control: Control | None = None


def walk_tables(lattice: Lattice, control: Control | None = None) -> WalkTables:
    """Tables of a lattice, 33 bytes a site.

    Raises TransportError if an open site's b is too small for the fixed point, or if the tables
    do not fit in memory.
    """
    n = lattice.n
    require_memory(n, _BYTES_PER_SITE, "a walk's tables")
    codes, palette = quantise(lattice)
    codes = codes.reshape(-1)
    records = np.empty((n**3, WORDS), dtype=np.uint32)
    rows = np.empty((n * n, 5))
    _fill(
        codes,
        palette.b,
        palette.weight,
        palette.residence(lattice.spacing),
        n,
        records,
        records.view(np.float32),
        rows,
    )
    summary = summarise(rows, palette, n, lattice.spacing)
    return WalkTables(records, codes, palette, summary, control)


def summarise(rows: np.ndarray, palette: Palette, n: int, spacing: float) -> Summary:
    """Summary from each row's sums (float64 [n^2, 5]): of pi, of pi times hop rate, of bonds."""
    total = rows.sum(axis=0)
    return Summary(
        n=n,
        spacing=spacing,
        hop_rate=float(total[1] / total[0]),
        axis_bound=total[2:] * palette.unit**2 / total[0],
        row_cumulative=np.cumsum(rows[:, 0]),
    )


@njit(inline="always")
def _thresholds(neighbours, record):
    """Write the five thresholds of a site's record; returns the sum of the six b."""
    total = uint64(0)
    for d in range(6):
        total += uint64(neighbours[d])
    below = uint64(0)
    for d in range(5):
        below += uint64(neighbours[d])
        threshold = uint64(0)
        if total > uint64(0):
            threshold = ((below << _DIRECTION_BITS) + total - uint64(1)) // total
        record[d] = uint32(threshold)
    return total


@njit(cache=True, parallel=True)
def _fill(codes, b, weight, residence, n, records, mean_times, rows):
    """Fill the records row by row, and each row's sums (see :func:`summarise`)."""
    for row in prange(n * n):
        x, y = row // n, row % n
        neighbour_row = (
            ((x + 1) % n) * n + y,
            ((x - 1) % n) * n + y,
            x * n + (y + 1) % n,
            x * n + (y - 1) % n,
        )
        row_flags = uint32(0)
        row_flags |= uint32(x == n - 1) | (uint32(x == 0) << uint32(1))
        row_flags |= (uint32(y == n - 1) << uint32(2)) | (uint32(y == 0) << uint32(3))
        sum_weight = sum_rate = bond_x = bond_y = bond_z = 0.0
        for z in range(n):
            site = row * n + z
            up = z + 1 if z < n - 1 else 0
            down = z - 1 if z > 0 else n - 1
            neighbours = (
                b[codes[neighbour_row[0] * n + z]],
                b[codes[neighbour_row[1] * n + z]],
                b[codes[neighbour_row[2] * n + z]],
                b[codes[neighbour_row[3] * n + z]],
                b[codes[row * n + up]],
                b[codes[row * n + down]],
            )
            code = codes[site]
            own = np.float64(b[code])
            pi = np.float64(weight[code])
            bond_x += own * np.float64(neighbours[0])
            bond_y += own * np.float64(neighbours[2])
            bond_z += own * np.float64(neighbours[4])
            total = _thresholds(neighbours, records[site])
            mean_time = float32(0)
            if code > 0 and total > uint64(0):
                mean_time = residence[code] / float32(total)
                sum_rate += pi / np.float64(mean_time)
            mean_times[site, 5] = mean_time
            flags = row_flags
            flags |= (uint32(z == n - 1) << uint32(4)) | (uint32(z == 0) << uint32(5))
            records[site, 6] = flags
            records[site, 7] = uint32(0)
            sum_weight += pi
        rows[row, 0], rows[row, 1] = sum_weight, sum_rate
        rows[row, 2], rows[row, 3], rows[row, 4] = bond_x, bond_y, bond_z


def start_sites(
    tables: WalkTables, key: tuple[np.uint32, np.uint32], first_walker: int, walkers: int
) -> np.ndarray:
    """Sites (int64 [walkers], rows of ``records``) drawn from the equilibrium weight.

    The site of a walker depends on the key and the walker's number only.
    """
    sites = np.empty(walkers, dtype=np.int64)
    summary = tables.summary
    _draw_sites(
        tables.codes,
        tables.palette.weight,
        summary.row_cumulative,
        summary.n,
        *key,
        first_walker,
        sites,
    )
    return sites


@njit(cache=True)
def _draw_sites(codes, weight, row_cumulative, n, key_0, key_1, first_walker, sites):
    for w in range(sites.size):
        walker = uint64(first_walker + w)
        word_0, word_1, _, _ = philox4x32(
            uint32(0), uint32(walker), uint32(0), START_STREAM, key_0, key_1
        )
        target = unit_interval(word_0, word_1) * row_cumulative[-1]
        row = min(np.searchsorted(row_cumulative, target, side="right"), row_cumulative.size - 1)
        remaining = target - (row_cumulative[row - 1] if row > 0 else 0.0)
        chosen = -1
        # The last open site of the row also takes what rounding leaves over.
        for site in range(row * n, (row + 1) * n):
            if codes[site] > 0:
                chosen = site
                remaining -= np.float64(weight[codes[site]])
                if remaining < 0:
                    break
        sites[w] = chosen
