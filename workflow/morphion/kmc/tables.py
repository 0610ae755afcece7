"""What an engine reads while it walks: fixed-point neighbour choice, residence times, start sites.

The hop rates k_ij = a_i b_j / h^2 are walked with b as 29-bit integers b_q = round(b 2^29/max b),
so that the choice of the neighbour is exact integer arithmetic. The quantised walk keeps detailed
balance exactly, with equilibrium weight b_q / a: its conductances b_q,i b_q,j are symmetric.

A site's record is eight 32-bit words, half a cache line:

==========  ==================================================================================
word        meaning
==========  ==================================================================================
0 to 4      thresholds t_1 .. t_5: the direction of a hop is the number of t_k <= r, r a random
            31-bit integer; t_k = ceil(2^31 (b_q,0 + ... + b_q,k-1) / S), S the sum of all six
5           mean residence time h^2 / (a sum_j b_j) in voxel^2, float32; 0 if isolated or blocked
6           bit d is set if the hop in direction d crosses the periodic boundary
7           unused
==========  ==================================================================================

Directions 0 .. 5 are +x, -x, +y, -y, +z, -z.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange, uint32, uint64

from morphion.errors import TransportError
from morphion.philox import philox4x32, unit_interval
from morphion.transport.lattice import Lattice

WORDS = 8  # of a record
B_BITS = 29  # six neighbours sum to less than 2^32
DIRECTION_BITS = 31  # of a random word; thresholds may equal 2^31, which no word reaches
_SMALLEST_B = 64  # rounding then changes no b by more than 0.8 %
_START_STREAM = np.uint32(1)
_DIRECTION_BITS = np.uint64(DIRECTION_BITS)


@dataclass(frozen=True)
class WalkTables:
    """A lattice prepared for walking.

    Parameters
    ----------
    n : int
        Lattice sites along an edge.
    spacing : float
        h in voxels.
    records : uint32 array of shape [n^3, 8]
        One record a site, see the module's table; site (i, j, k) is row (i n + j) n + k.
    weight : float32 array of shape [n, n, n]
        Equilibrium weight of the sites, from which start sites are drawn.
    row_cumulative : float64 array of shape [n^2]
        Running sum of the weight over rows along z.
    hop_rate : float
        Hops a walker makes in unit time, at equilibrium.
    axis_bound : float64 array of shape [3]
        sum over bonds of b_i b_j / sum pi for each axis: never below D_xx, D_yy, D_zz.
    """

    n: int
    spacing: float
    records: np.ndarray
    weight: np.ndarray
    row_cumulative: np.ndarray
    hop_rate: float
    axis_bound: np.ndarray


def walk_tables(lattice: Lattice) -> WalkTables:
    """Tables of a lattice, 32 bytes a site.

    Raises TransportError if an open site's b is too small for the fixed point.
    """
    n = lattice.n
    largest = float(lattice.b.max())
    smallest = float(lattice.b.min(where=lattice.b > 0, initial=largest))
    scale = (1 << B_BITS) / largest
    if smallest * scale < _SMALLEST_B:
        raise TransportError(
            f"sqrt(D) exp(-U/2) spreads over a factor {largest / smallest:.3g} among open sites; "
            f"the walk resolves {(1 << B_BITS) // _SMALLEST_B}: reduce the range of affinities "
            "or use the exact method"
        )
    records = np.empty((n**3, WORDS), dtype=np.uint32)
    row_weight = np.empty(n * n)
    row_hop_rate = np.empty(n * n)
    row_bonds = np.empty((n * n, 3))
    _fill(
        lattice.b.reshape(-1),
        lattice.weight.reshape(-1),
        n,
        scale,
        lattice.spacing**2,
        records,
        records.view(np.float32),
        row_weight,
        row_hop_rate,
        row_bonds,
    )
    total = row_weight.sum()
    return WalkTables(
        n=n,
        spacing=lattice.spacing,
        records=records,
        weight=lattice.weight,
        row_cumulative=np.cumsum(row_weight),
        hop_rate=float(row_hop_rate.sum() / total),
        axis_bound=row_bonds.sum(axis=0) / total,
    )


@njit(inline="always")
def _thresholds(neighbours, scale, record):
    """Write the five thresholds of a site's record; returns the sum of the six b_q."""
    total = uint64(0)
    for d in range(6):
        total += uint64(neighbours[d] * scale + 0.5)
    below = uint64(0)
    for d in range(5):
        below += uint64(neighbours[d] * scale + 0.5)
        threshold = uint64(0)
        if total > uint64(0):
            threshold = ((below << _DIRECTION_BITS) + total - uint64(1)) // total
        record[d] = uint32(threshold)
    return total


@njit(cache=True, parallel=True)
def _fill(b, weight, n, scale, area, records, residence, row_weight, row_hop_rate, row_bonds):
    """Fill the records row by row, and each row's sums of pi, of pi times hop rate, of bonds."""
    for row in prange(n * n):
        x, y = row // n, row % n
        neighbour_row = (
            ((x + 1) % n) * n + y,
            ((x - 1) % n) * n + y,
            x * n + (y + 1) % n,
            x * n + (y - 1) % n,
            row,
            row,
        )
        row_flags = uint32(0)
        row_flags |= uint32(x == n - 1) | (uint32(x == 0) << uint32(1))
        row_flags |= (uint32(y == n - 1) << uint32(2)) | (uint32(y == 0) << uint32(3))
        sum_weight = 0.0
        sum_rate = 0.0
        bond_x = bond_y = bond_z = 0.0
        for z in range(n):
            site = row * n + z
            up = z + 1 if z < n - 1 else 0
            down = z - 1 if z > 0 else n - 1
            neighbours = (
                b[neighbour_row[0] * n + z],
                b[neighbour_row[1] * n + z],
                b[neighbour_row[2] * n + z],
                b[neighbour_row[3] * n + z],
                b[row * n + up],
                b[row * n + down],
            )
            own = np.float64(b[site])
            bond_x += own * neighbours[0]
            bond_y += own * neighbours[2]
            bond_z += own * neighbours[4]
            total = _thresholds(neighbours, scale, records[site])
            mean_time = 0.0
            if own > 0 and total > uint64(0):
                mean_time = area * scale * weight[site] / (own * np.float64(total))
                sum_rate += weight[site] / mean_time
            residence[site, 5] = mean_time
            flags = row_flags
            flags |= (uint32(z == n - 1) << uint32(4)) | (uint32(z == 0) << uint32(5))
            records[site, 6] = flags
            records[site, 7] = uint32(0)
            sum_weight += weight[site]
        row_weight[row] = sum_weight
        row_hop_rate[row] = sum_rate
        row_bonds[row, 0] = bond_x
        row_bonds[row, 1] = bond_y
        row_bonds[row, 2] = bond_z


def start_sites(
    tables: WalkTables, key: tuple[np.uint32, np.uint32], first_walker: int, walkers: int
) -> np.ndarray:
    """Sites (int64 [walkers], rows of ``records``) drawn from the equilibrium weight.

    The site of a walker depends on the key and the walker's number only.
    """
    sites = np.empty(walkers, dtype=np.int64)
    _draw_sites(
        tables.weight.reshape(-1), tables.row_cumulative, tables.n, *key, first_walker, sites
    )
    return sites


@njit(cache=True)
def _draw_sites(weight, row_cumulative, n, key_0, key_1, first_walker, sites):
    for w in range(sites.size):
        walker = uint64(first_walker + w)
        word_0, word_1, _, _ = philox4x32(
            uint32(0), uint32(walker), uint32(0), _START_STREAM, key_0, key_1
        )
        target = unit_interval(word_0, word_1) * row_cumulative[-1]
        row = min(np.searchsorted(row_cumulative, target, side="right"), row_cumulative.size - 1)
        remaining = target - (row_cumulative[row - 1] if row > 0 else 0.0)
        chosen = -1
        # The last open site of the row also takes what rounding leaves over.
        for site in range(row * n, (row + 1) * n):
            if weight[site] > 0:
                chosen = site
                remaining -= weight[site]
                if remaining < 0:
                    break
        sites[w] = chosen
