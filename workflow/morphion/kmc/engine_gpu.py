"""The walk on a GPU: walkers of many structures in one launch, one thread each.

The kernels are in ``kernels/palette.cu`` and ``kernels/walk.cu``. What they do is what
:mod:`morphion.kmc.engine_cpu` does, with the same random numbers and rounding, so that positions,
hop counts and times are the same bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from morphion.errors import DeviceMemoryError, TransportError
from morphion.gpu import CudaDevice
from morphion.kmc.control import Control
from morphion.kmc.curves import COMPONENTS, Curves
from morphion.kmc.engine import INTEGRAL_UNITS, Walk, Walked, WalkRequest
from morphion.kmc.palette import CODES, Palette, Range, make_palette
from morphion.kmc.tables import Summary, summarise
from morphion.kmc.weights import LAGS
from morphion.transport.lattice import Lattice

KERNELS = (
    "gpu/kernels/philox.cu",
    "gpu/kernels/elementary.cu",
    "kmc/kernels/palette.cu",
    "kmc/kernels/walk.cu",
)
_THREADS = 128
_FIELD_THREADS = 256
_FIELD_BLOCKS_PER_MULTIPROCESSOR = 8
# Hops of a launch: seconds, after which progress is shown and a signal is heard.
_LAUNCH_HOPS = 1 << 34
_LARGEST_LATTICE = 1600  # addresses of sites have 32 bits
_SHARE = 0.8  # of the usable memory that a batch of walkers takes

_JOB = np.dtype(
    [
        ("interval", np.float64),
        ("first_row", np.int64),
        ("first_sample", np.int64),
        ("codes", np.uint64),
        ("velocity", np.uint64),
        ("key", np.uint32, 2),
        ("first_walker", np.uint32),
        ("walkers", np.int32),
        ("samples", np.int32),
        ("structure", np.int32),
    ],
    align=True,
)
_STATE = np.dtype(
    [
        ("left", np.float64),
        ("count", np.uint64),
        ("total", np.float64, 3),
        ("site", np.int32, 3),
        ("moved", np.int32, 3),
        ("sample", np.int32),
        ("unused", np.int32),
    ],
    align=True,
)


@dataclass(frozen=True)
class DeviceTables:
    """A lattice prepared for walking on a device.

    Parameters
    ----------
    codes : uint8 array on the device
        Kinds of the sites in bricks of 4 x 4 x 2, see ``kernels/palette.cu``.
    palette : Palette
    summary : Summary
    control : Control or None
        Its velocity lies on the device.
    """

    codes: Any
    palette: Palette
    summary: Summary
    control: Control | None = None


class GpuEngine:
    """The walk on a device."""

    name = "gpu"

    def __init__(self, device: CudaDevice, launch_hops: int = _LAUNCH_HOPS):
        self.device, self.launch_hops = device, launch_hops

    def prepare(self, lattice: Lattice, control: Control | None = None) -> DeviceTables:
        """Codes, palette and summary of a lattice, whose arrays may lie on the device already.

        Raises TransportError if an open site's b is too small for the fixed point, and
        DeviceMemoryError if the codes do not fit.
        """
        device, n = self.device, lattice.b.shape[0]
        if n > _LARGEST_LATTICE:
            raise TransportError(
                f"lattice = {n}: the GPU engine walks on at most {_LARGEST_LATTICE} sites an edge"
            )
        b, weight = (
            device.array(field) if isinstance(field, np.ndarray) else field
            for field in (lattice.b, lattice.weight)
        )
        range_ = device.array(np.array([0x7F800000, 0], np.uint32))
        self._on_field("bit_range", n**3, b, np.int64(n**3), range_)
        found = Range(*(int(bits) for bits in device.host(range_)))
        found.require_resolved()
        codes = device.zeros(32 * (-(-n // 4)) ** 2 * -(-n // 2), np.uint8)
        sums = device.zeros((4, CODES), np.uint64)
        field = (b, weight, np.int32(n), np.uint32(found.low), np.int64(found.span))
        self._on_field("encode", n**3, *field, np.float64(found.scale), codes, sums)
        palette = make_palette(device.host(sums), found)
        rows = device.empty((n * n, 5), np.float64)
        kinds = (palette.b, palette.weight, palette.residence(lattice.spacing))
        self._on_field(
            "row_sums", n * n, codes, *(device.array(x) for x in kinds), np.int32(n), rows
        )
        summary = summarise(device.host(rows), palette, n, lattice.spacing)
        if control is not None:
            control = replace(control, velocity=device.array(control.velocity))
        return DeviceTables(codes, palette, summary, control)

    def walk(
        self,
        jobs: Sequence[tuple[DeviceTables, WalkRequest]],
        report: Callable[[float], None] | None = None,
    ) -> list[Walked]:
        """Walk all jobs together, in batches that fit on the device.

        A batch that turns out not to fit (memory that others took meanwhile) is halved.
        ``report`` is told the share of samples taken.
        """
        requests = [request for _, request in jobs]
        controlled = bool(jobs) and jobs[0][0].control is not None
        kept = [np.empty((1 + controlled, r.walkers, LAGS, len(COMPONENTS))) for r in requests]
        hops = [0] * len(jobs)
        total, done = sum(r.walkers * r.samples for r in requests), 0
        left = [_Part(i, 0, r.walkers) for i, r in enumerate(requests)]
        # The table from which walkers draw their first site stays beside them.
        starts = sum(table.summary.row_cumulative.nbytes for table, _ in jobs)
        limit = max(_SHARE * self.device.usable_memory() - starts, 0)
        while left:
            least = _bytes(requests[left[0].job], 1, controlled)
            if limit < least:
                raise DeviceMemoryError(
                    f"{self.device.name}: {limit / 2**20:.1f} MiB of its memory are left, and a "
                    f"walker takes {least / 2**20:.1f}; other programs may hold the rest"
                )
            parts, rest = _fitting(left, requests, limit, controlled)
            batch = [(jobs[p.job][0], requests[p.job].part(p.first, p.walkers)) for p in parts]
            try:
                launch = Launch(self.device, batch)
            except DeviceMemoryError:
                limit = sum(_bytes(requests[p.job], p.walkers, controlled) for p in parts) / 2
                continue
            launch.run(
                self.launch_hops,
                lambda samples, before=done: report and report((before + samples) / total),
            )
            products, counts = launch.products(), launch.states()["count"]
            row = 0
            for part in parts:
                rows = slice(row, row + part.walkers)
                kept[part.job][:, part.first : part.first + part.walkers] = products[:, rows]
                hops[part.job] += int(counts[rows].sum())
                done += part.walkers * requests[part.job].samples
                row += part.walkers
            del launch
            left = rest
        return [
            Walked(Curves(c[0]), h, Curves(c[1]) if controlled else None)
            for c, h in zip(kept, hops, strict=True)
        ]

    def _on_field(self, kernel: str, items: int, *arguments: Any) -> None:
        blocks = -(-items // _FIELD_THREADS)
        if kernel != "row_sums":
            most = _FIELD_BLOCKS_PER_MULTIPROCESSOR * self.device.multiprocessors
            blocks = min(blocks, most)
        self.device.launch(KERNELS, kernel, blocks, _FIELD_THREADS, *arguments)


@dataclass(frozen=True)
class _Part:
    """Walkers ``first``, ... of a job."""

    job: int
    first: int
    walkers: int


def _bytes(request: WalkRequest, walkers: int, controlled: bool) -> int:
    """Device memory of walkers: displacements, integrals, state and products."""
    paths = 12 * (1 + controlled) * request.samples
    return walkers * (paths + _STATE.itemsize + 8 * LAGS * len(COMPONENTS))


def _fitting(
    left: list[_Part], requests: list[WalkRequest], limit: float, controlled: bool
) -> tuple[list[_Part], list[_Part]]:
    """The first parts that take at most ``limit`` bytes, which a walker must, and the rest."""
    parts: list[_Part] = []
    for position, part in enumerate(left):
        fits = min(part.walkers, int(limit // _bytes(requests[part.job], 1, controlled)))
        if fits > 0:
            parts.append(_Part(part.job, part.first, fits))
            limit -= _bytes(requests[part.job], fits, controlled)
        if fits < part.walkers:
            rest = _Part(part.job, part.first + fits, part.walkers - fits)
            return parts, [rest, *left[position + 1 :]]
    return parts, []


class Launch:
    """A batch of walkers on the device: allocated, started, and then run to its end.

    All lattices have one number of sites an edge. Raises DeviceMemoryError if the batch does not
    fit.
    """

    def __init__(self, device: CudaDevice, batch: list[tuple[DeviceTables, WalkRequest]]):
        self.device = device
        (self.n,) = {table.summary.n for table, _ in batch}
        tables = {id(table): table for table, _ in batch}
        structure = {key: i for i, key in enumerate(tables)}
        jobs = np.zeros(len(batch), _JOB)
        rows = samples = 0
        for job, (table, request) in zip(jobs, batch, strict=True):
            job["interval"], job["key"] = request.sample_interval, request.key
            job["first_row"], job["first_sample"] = rows, samples
            job["codes"], job["structure"] = device.address(table.codes), structure[id(table)]
            if table.control is not None:
                job["velocity"] = device.address(table.control.velocity)
            job["first_walker"], job["walkers"] = request.first_walker, request.walkers
            job["samples"] = request.samples
            rows += request.walkers
            samples += request.walkers * request.samples
        walkers = [request.walkers for _, request in batch]
        self.rows = rows
        self.blocks = _blocks(device, walkers, _THREADS)
        self.product_blocks = _blocks(device, walkers, _THREADS // LAGS)
        self.jobs = device.array(jobs.view(np.uint8))
        palettes = [table.palette for table in tables.values()]
        self.b = device.array(np.stack([p.b for p in palettes]))
        residence = [t.palette.residence(t.summary.spacing) for t in tables.values()]
        self.residence = device.array(np.stack(residence))
        self.state = device.empty(rows * _STATE.itemsize, np.uint8)
        self.displacements = device.empty((samples, 3), np.int32)
        controlled = batch[0][0].control is not None
        self.integrals = device.zeros((samples, 3), np.int32) if controlled else None
        self.curves = device.empty((rows, LAGS, len(COMPONENTS)), np.float64)
        self._kept = list(tables.values())  # the jobs hold their addresses
        weights = device.array(np.stack([p.weight for p in palettes]))
        cumulative = np.stack([table.summary.row_cumulative for table in tables.values()])
        self._launch(
            "start",
            self.blocks,
            self.b,
            weights,
            device.array(cumulative),
            np.int32(self.n),
            self.state,
            self.displacements,
        )

    def run(self, launch_hops: int, tell: Callable[[int], object]) -> None:
        """Walk until every walker has ended; ``tell`` hears the samples taken after each launch.

        A launch makes about ``launch_hops`` hops.
        """
        # Of two hops a walker; a million take a second or two, however few walkers there are.
        rounds = min(max(launch_hops // (2 * self.rows), 1), 1 << 20)
        while True:
            progress = self.device.zeros(2, np.uint64)
            controlled = self.integrals is not None
            self._launch(
                "walk_controlled" if controlled else "walk",
                self.blocks,
                self.b,
                self.residence,
                np.int32(self.n),
                self.state,
                self.displacements,
                *([self.integrals] if controlled else []),
                np.int32(rounds),
                progress,
            )
            walking, samples = (int(count) for count in self.device.host(progress))
            tell(samples)
            if walking == 0:
                return

    def states(self) -> np.ndarray:
        """States of all walkers; ``count`` of one that has ended is its number of hops."""
        return self.device.host(self.state).view(_STATE)

    def products(self) -> np.ndarray:
        """Products of all walkers' displacements and, with controls, of their integrals.

        float64 [1 or 2, walkers, 32, 6], in squared lattice spacings.
        """
        found = []
        for paths, units in ((self.displacements, 1), (self.integrals, INTEGRAL_UNITS)):
            if paths is not None:
                self._launch("products", self.product_blocks, paths, self.curves)
                found.append(self.device.host(self.curves) / units**2)
        return np.stack(found)

    def _launch(self, kernel: str, blocks: tuple[int, Any, Any], *arguments: Any) -> None:
        count, *maps = blocks
        self.device.launch(KERNELS, kernel, count, _THREADS, self.jobs, *maps, *arguments)


def _blocks(device: CudaDevice, walkers: list[int], per_block: int) -> tuple[int, Any, Any]:
    """Number of blocks, and the job and first walker of each: a block serves one job."""
    counts = [-(-count // per_block) for count in walkers]
    job = np.repeat(np.arange(len(walkers), dtype=np.int32), counts)
    first = np.concatenate([np.arange(count, dtype=np.int32) * per_block for count in counts])
    return job.size, device.array(job), device.array(first)


def walk(
    device: CudaDevice, tables: DeviceTables, request: WalkRequest, launch_hops: int = _LAUNCH_HOPS
) -> Walk:
    """Walk one request and bring everything back: what the engines are compared by."""
    launch = Launch(device, [(tables, request)])
    launch.run(launch_hops, lambda samples: None)
    states = launch.states()
    shape = (request.walkers, request.samples, 3)
    displacements = device.host(launch.displacements).reshape(shape)
    integrals = launch.integrals
    return Walk(
        displacements,
        states["count"].astype(np.int64),
        states["left"].copy(),
        None if integrals is None else device.host(integrals).reshape(shape),
    )
