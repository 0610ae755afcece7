"""The walk on CPU cores: rejection-free kinetic Monte Carlo, many walkers interleaved.

Walker w draws hop m from words 2 (m mod 2) and 2 (m mod 2) + 1 of Philox block m div 2 (counter:
block low, w, block high, 0): the first gives the direction, the second the residence time before
the hop. A walk therefore depends on the key and the walker's number alone, not on threads or
batches.

With a control (:mod:`morphion.kmc.control`) the integral of its velocity is summed along the walk.

Each thread advances a few walkers side by side: random words and logarithms of all of them are
made in vector loops, and the table look-ups of one overlap the arithmetic of the others.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numba import int32, int64, njit, uint32, uint64

from morphion.kmc.control import Control
from morphion.kmc.curves import Curves, curves
from morphion.kmc.engine import INTEGRAL_UNITS, Walk, Walked, WalkRequest
from morphion.kmc.exponential import exponential
from morphion.kmc.tables import DIRECTION_BITS, WORDS, WalkTables, start_sites, walk_tables
from morphion.philox import philox4x32
from morphion.threads import in_parts
from morphion.transport.lattice import Lattice

SLOTS = 16  # walkers a thread advances side by side
_WALK_STREAM = np.uint32(0)
_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
_TO_DIRECTION = np.uint32(32 - DIRECTION_BITS)
_ONE = np.uint64(1)
_RESIDENCE = np.uint64(5)  # words of a record
_CROSSES = np.uint64(6)
_TO_SITE = np.uint64(3)  # a record has 2^3 words
_AXES = np.uint64(3)

# The three components of a displacement share one integer, 21 bits each, between two samples:
# a net displacement of 2^20 sites within a sampling interval is out of reach.
_FIELD_BITS = 21
_FIELD_HALF = np.int64(1 << (_FIELD_BITS - 1))
_FIELD_MASK = np.int64((1 << _FIELD_BITS) - 1)
_FIELD_ORIGIN = _FIELD_HALF * (1 + (1 << _FIELD_BITS) + (1 << (2 * _FIELD_BITS)))
_BATCH_BYTES = 64 << 20  # of displacements held at a time
_UNIT = np.array(
    [sign << (axis * _FIELD_BITS) for axis in range(3) for sign in (1, -1)] + [0, 0], np.int64
)


class CpuEngine:
    """The walk on CPU cores."""

    name = "cpu"

    def __init__(self, threads: int):
        self.threads = threads

    def prepare(self, lattice: Lattice, control: Control | None = None) -> WalkTables:
        """Tables of a lattice; its ``summary`` is what plans need."""
        return walk_tables(lattice, control)

    def walk(
        self,
        jobs: Sequence[tuple[WalkTables, WalkRequest]],
        report: Callable[[float], None] | None = None,
    ) -> list[Walked]:
        """Walk the jobs one after another; ``report`` is told the share of walkers that ended."""
        total = sum(request.walkers for _, request in jobs)
        found, done = [], 0
        for tables, request in jobs:
            batch = max(SLOTS * self.threads, _BATCH_BYTES // (24 * request.samples))
            parts, integrals, hops = [], [], 0
            for first in range(0, request.walkers, batch):
                part = request.part(first, batch)
                result = walk(tables, part, self.threads)
                parts.append(curves(result.displacements, self.threads).products)
                if result.integrals is not None:
                    of_part = curves(result.integrals, self.threads, INTEGRAL_UNITS)
                    integrals.append(of_part.products)
                hops += int(result.hops.sum())
                done += part.walkers
                if report is not None:
                    report(done / total)
            of_control = Curves(np.concatenate(integrals)) if integrals else None
            found.append(Walked(Curves(np.concatenate(parts)), hops, of_control))
        return found


def walk(tables: WalkTables, request: WalkRequest, threads: int = 1) -> Walk:
    """Walk the walkers of a request from equilibrium.

    All of them stop at the same time (voxel^2, solvent D = 1). A walker that starts on an isolated
    site stays there. The result does not depend on ``threads``.
    """
    walkers = request.walkers
    start = start_sites(tables, request.key, request.first_walker, walkers)
    displacements = np.empty((walkers, request.samples, 3), np.int32)
    velocity = integrals = None
    if tables.control is not None:
        velocity = tables.control.velocity.reshape(-1)
        integrals = np.empty_like(displacements)
    hops = np.empty(walkers, np.int64)
    next_sample = np.empty(walkers)
    step = _site_steps(tables.summary.n)
    records = tables.records.reshape(-1)
    residence = records.view(np.float32)

    def part(low: int, high: int) -> None:
        _walk_part(
            records,
            residence,
            step,
            _UNIT,
            start[low:high],
            *request.key,
            request.first_walker + low,
            float(request.sample_interval),
            displacements[low:high],
            hops[low:high],
            next_sample[low:high],
            velocity,
            None if integrals is None else integrals[low:high],
        )

    in_parts(part, walkers, threads, smallest=SLOTS)
    return Walk(displacements, hops, next_sample, integrals)


def _site_steps(n: int) -> np.ndarray:
    """Change of a record's position by a hop: inside the box, then across its boundary."""
    strides = (n * n * WORDS, n * WORDS, WORDS)
    step = np.zeros(16, np.int64)
    for axis, stride in enumerate(strides):
        step[2 * axis], step[2 * axis + 1] = stride, -stride
        step[8 + 2 * axis], step[9 + 2 * axis] = stride - n * stride, n * stride - stride
    return step.view(np.uint64)


@njit(inline="always")
def _skip_isolated(
    next_walker, start, residence, interval, displacements, hops, next_sample, integrals
):
    """First walker from next_walker on that can move; isolated ones are finished on the way."""
    while (
        next_walker < start.size and residence[uint64(start[next_walker] * WORDS) + _RESIDENCE] == 0
    ):
        displacements[next_walker] = 0
        if integrals is not None:
            integrals[next_walker] = 0
        hops[next_walker] = 0
        next_sample[next_walker] = interval
        next_walker += 1
    return next_walker


@njit(inline="always")
def _draw(block, walker, key_0, key_1, direction_word, residence_factor):
    """Random numbers of two hops for every slot."""
    for s in range(SLOTS):
        w0, w1, w2, w3 = philox4x32(
            uint32(block[s] & _LOW_WORD),
            walker[s],
            uint32(block[s] >> _WORD_BITS),
            _WALK_STREAM,
            key_0,
            key_1,
        )
        direction_word[0, s] = uint32(w0) >> _TO_DIRECTION
        direction_word[1, s] = uint32(w2) >> _TO_DIRECTION
        residence_factor[0, s] = exponential(uint32(w1))
        residence_factor[1, s] = exponential(uint32(w3))
        block[s] += _ONE


@njit(inline="always")
def _direction(word, records, here):
    """Direction of a hop: the number of the record's thresholds that the word reaches."""
    return (
        uint64(word >= records[here])
        + uint64(word >= records[here + uint64(1)])
        + uint64(word >= records[here + uint64(2)])
        + uint64(word >= records[here + uint64(3)])
        + uint64(word >= records[here + uint64(4)])
    )


@njit(inline="always")
def _record(
    displacements, row, sample, left, packed, interval, integrals, total, velocity, first_velocity
):
    """Store the position before the hop at every sampling time that the residence passed.

    ``total`` is the integral until the end of the residence, -left after the sample.
    """
    while left < 0 and sample < displacements.shape[1]:
        for axis in range(3):
            field = (packed >> int64(axis * _FIELD_BITS)) & _FIELD_MASK
            earlier = displacements[row, sample - 1, axis] if sample > 0 else int32(0)
            displacements[row, sample, axis] = earlier + field - _FIELD_HALF
            if velocity is not None:
                speed = np.float64(velocity[first_velocity + uint64(axis)])
                until = total[axis] + speed * left
                integrals[row, sample, axis] = int32(math.floor(until * INTEGRAL_UNITS + 0.5))
        packed = _FIELD_ORIGIN
        sample += 1
        left += interval
    return sample, left, packed


@njit(inline="always")
def _keep_walking(active, row, site, left, moved, sample, walker, block, total):
    """Close the ranks of the slots whose walkers have not ended; returns their number."""
    kept = 0
    for s in range(active):
        if row[s] >= 0:
            site[kept], left[kept], moved[kept] = site[s], left[s], moved[s]
            sample[kept], row[kept] = sample[s], row[s]
            walker[kept], block[kept] = walker[s], block[s]
            total[kept] = total[s]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _walk_part(
    records,
    residence,
    step,
    unit,
    start,
    key_0,
    key_1,
    first_walker,
    interval,
    displacements,
    hops,
    next_sample,
    velocity,
    integrals,
):
    """Walk all walkers of ``start``; records and residence are flat views of the tables.

    ``velocity`` (flat) and ``integrals`` are None without a control, for which Numba compiles a
    walk of its own.
    """
    samples = displacements.shape[1]
    site = np.zeros(SLOTS, np.uint64)  # first word of the site's record
    left = np.zeros(SLOTS)  # time left to the next sample
    moved = np.zeros(SLOTS, np.int64)  # since the last sample, packed
    sample = np.zeros(SLOTS, np.int64)
    row = np.full(SLOTS, -1)  # row of the output; -1 if the slot needs a walker
    walker = np.zeros(SLOTS, np.uint32)
    block = np.zeros(SLOTS, np.uint64)
    total = np.zeros((SLOTS, 3))  # of the control's velocity over time
    direction_word = np.empty((2, SLOTS), np.uint32)
    residence_factor = np.empty((2, SLOTS))

    next_walker = 0
    active = 0
    a_slot_ended = True
    while True:
        if a_slot_ended:
            a_slot_ended = False
            active = _keep_walking(active, row, site, left, moved, sample, walker, block, total)
            while active < SLOTS:
                next_walker = _skip_isolated(
                    next_walker,
                    start,
                    residence,
                    interval,
                    displacements,
                    hops,
                    next_sample,
                    integrals,
                )
                if next_walker == start.size:
                    break
                site[active], left[active] = uint64(start[next_walker] * WORDS), interval
                moved[active], sample[active] = _FIELD_ORIGIN, 0
                row[active], block[active] = next_walker, uint64(0)
                walker[active] = uint32(first_walker + next_walker)
                total[active] = 0
                active += 1
                next_walker += 1
            if active == 0:
                break
        _draw(block, walker, key_0, key_1, direction_word, residence_factor)
        for h in range(2):
            for s in range(active):
                here = site[s]
                stay = residence_factor[h, s] * residence[here + _RESIDENCE]
                left[s] -= stay
                first_velocity = (here >> _TO_SITE) * _AXES
                if velocity is not None:
                    for axis in range(3):
                        total[s, axis] += np.float64(velocity[first_velocity + uint64(axis)]) * stay
                if left[s] < 0:
                    sample[s], left[s], moved[s] = _record(
                        displacements,
                        row[s],
                        sample[s],
                        left[s],
                        moved[s],
                        interval,
                        integrals,
                        total[s],
                        velocity,
                        first_velocity,
                    )
                    if sample[s] == samples:
                        hops[row[s]] = int64(2 * (block[s] - _ONE)) + h
                        next_sample[row[s]] = left[s]
                        # What remains of this round moves a slot that records nothing more.
                        row[s] = -1
                        left[s] = np.inf
                        a_slot_ended = True
                direction = _direction(direction_word[h, s], records, here)
                crosses = (uint64(records[here + _CROSSES]) >> direction) & _ONE
                site[s] = here + step[direction + (crosses << uint64(3))]
                moved[s] += unit[direction]
