"""The K-cycle of :mod:`morphion.exact.multigrid` on a device, as a fixed sequence of kernels.

No step waits for the host: what combines the cycles is computed and kept on the device. Levels of
at most ``SMALL`` sites an edge cost less than waking the device for each of their steps; one block
takes all of them in one kernel. Sums run in a fixed order that depends on n alone.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from morphion.exact.multigrid import COARSEST, coarsen, direct
from morphion.gpu import CudaDevice

KERNELS = (
    "exact/kernels/lattice.cu",
    "exact/kernels/cycle.cu",
    "exact/kernels/coarse.cu",
    "exact/kernels/finest.cu",
)
THREADS = 256  # of a block; a tile of 8 x 32 columns along x, see lattice.cu
SMALL = 16
_SMALL_THREADS = 512
_LONGEST = 16  # sites of a column that one thread walks
FIELDS = 8  # of a coarse level, float32; see Coarse in coarse.cu

# As enum Step in coarse.cu.
STEPS = (
    "pre_smooth",
    "restrict",
    "post_smooth_1",
    "post_smooth_2_to_c",
    "post_smooth_2_to_x",
    "first_products",
    "first_step",
    "subtract",
    "second_products",
    "second_step",
    "combine",
    "direct",
)

Launch = tuple[str, int, int, tuple[Any, ...]]  # kernel, blocks, threads, arguments


def grid(n: int) -> tuple[int, np.int32]:
    """Blocks that cover n^3 sites, and the sites of a column that each of their threads walks.

    Short columns on small lattices, so that there are blocks enough for the whole device.
    """
    depth = min(max(n // 16, 1), _LONGEST)
    return -(-n // 32) * -(-n // 8) * -(-n // depth), np.int32(depth)


def cycle(level: int, coarsest: int) -> Iterator[tuple[str, int]]:
    """Steps of the K-cycle on a level, each with the level it is taken on."""
    if level == coarsest:
        yield "direct", level
        return
    for result, combination in (
        ("c", ("first_products", "first_step", "subtract")),
        ("x", ("second_products", "second_step", "combine")),
    ):
        yield "pre_smooth", level
        yield "restrict", level
        yield from cycle(level + 1, coarsest)
        yield "post_smooth_1", level
        yield f"post_smooth_2_to_{result}", level
        for step in combination:
            yield step, level


class Multigrid:
    """Coarse levels of a lattice, and the launches that approximate A^-1 r.

    Parameters
    ----------
    device : CudaDevice
    b : float32 [n, n, n] on the device
    s : float32 [n, n, n] on the device
        D^-1 r with D the diagonal of A; 0 where D is 0. Read by the launches.
    q : float64 [n, n, n] on the device
        Read by the launches, which leave its product with the result.

    Attributes
    ----------
    z : float32 [n, n, n] on the device
        The result of the launches.
    launches : list
        One K-cycle. The last launch leaves z r and z q of each block in ``partial``.
    partial : float64 on the device
        Room for three sums of every block of ``grid(n)``.
    """

    def __init__(self, device: CudaDevice, b: Any, s: Any, q: Any):
        self.device, self.n = device, b.shape[0]
        lengths, scales = np.ones(self.n), []
        self.edges: list[int] = []
        while len(lengths) > COARSEST:
            lengths, scale = coarsen(lengths)
            self.edges.append(len(lengths))
            scales.append(scale)
        sizes = [FIELDS * edge**3 for edge in self.edges]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.fields = device.empty(int(self.starts[-1]), np.float32)
        self.levels = [self.fields[start:] for start in self.starts[:-1]]
        self.partial = device.empty(
            3 * max(grid(edge)[0] for edge in (self.n, *self.edges)), np.float64
        )
        self.combinations = device.zeros((len(self.edges), 4), np.float64)
        self._merge(b, scales)
        self.z = device.empty(b.shape, np.float32)
        self.launches = self._on_the_finest(b, s, q)

    def _merge(self, b, scales):
        """Bonds of all levels, from the finest down."""
        above, n_above, kernel = b, self.n, "merge_finest"
        for level, edge, scale in zip(self.levels, self.edges, scales, strict=True):
            blocks = -(-edge // 32) * -(-edge // 8) * edge
            arguments = (above, np.int32(n_above), self.device.array(scale), level, np.int32(edge))
            self.device.launch(KERNELS, kernel, blocks, THREADS, *arguments)
            above, n_above, kernel = level, edge, "merge_coarse"

    def _on_the_finest(self, b, s, q) -> list[Launch]:
        n, x, y = np.int32(self.n), self.z, self.device.empty(b.shape, np.float32)
        below = self.levels[0], np.int32(self.edges[0])
        blocks, depth = grid(self.n)
        blocks_below, depth_below = grid(self.edges[0])
        partial = self.partial
        return [
            ("finest_pre_smooth", blocks, THREADS, (b, s, x, n, depth)),
            ("finest_restrict", blocks_below, THREADS, (b, s, x, n, *below, depth_below)),
            *self._on_coarse_levels(),
            ("finest_post_smooth_1", blocks, THREADS, (b, s, x, y, n, *below, depth)),
            ("finest_post_smooth_2", blocks, THREADS, (b, s, x, y, q, n, *below, depth, partial)),
        ]

    def _on_coarse_levels(self) -> Iterator[Launch]:
        last = len(self.edges) - 1
        first_small = next(i for i, edge in enumerate(self.edges) if edge <= max(SMALL, COARSEST))
        small = None
        for is_small, steps in groupby(cycle(0, last), lambda step: step[1] >= first_small):
            if is_small:
                small = small or self._of_one_block(first_small, list(steps))
                yield small
            else:
                for step, level in steps:
                    yield self._of_the_grid(step, level)

    def _of_the_grid(self, step: str, level: int) -> Launch:
        below = level + 1
        blocks_left, depth = grid(self.edges[level])
        blocks = blocks_left
        if step == "restrict":
            blocks, depth = grid(self.edges[below])
        elif step.endswith("_step"):
            blocks = 1
        arguments = (
            np.int32(STEPS.index(step)),
            self.levels[level],
            np.int32(self.edges[level]),
            self.levels[below],
            np.int32(self.edges[below]),
            depth,
            self.combinations[level],
            self.partial,
            np.int32(blocks_left),
        )
        return "coarse_step", blocks, THREADS, arguments

    def _of_one_block(self, first: int, steps: list[tuple[str, int]]) -> Launch:
        array, edge = self.device.array, self.edges[-1]
        bonds = self.device.host(self.levels[-1]).reshape(FIELDS, edge, edge, edge)[:3]
        root, inverse = direct(bonds)
        program = [(STEPS.index(step), level - first) for step, level in steps]
        starts = self.starts[first:-1] - self.starts[first]
        arguments = (
            array(np.array(program, np.int32)),
            np.int32(len(program)),
            array(np.array(self.edges[first:], np.int32)),
            array(starts.astype(np.int32)),
            np.int32(len(starts)),
            self.levels[first],
            self.combinations[first:],
            self.partial,
            array(root),
            array(inverse),
        )
        return "small_levels", 1, _SMALL_THREADS, arguments
