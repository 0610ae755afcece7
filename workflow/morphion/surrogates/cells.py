"""Cells of an image of nested spheres, on a grid that the structure chooses itself.

Around every particle lie spheres of several radii. An image counts, voxel by voxel, how many
spheres of a radius hold it and how many pairs of them do; a cell is a cube of voxels and knows the
mean of both. Where shells of two particles overlap cations cross from one to the other, and a pair
count says so. Voxels count in 255ths and everything sums whole numbers, so that shifts of a
structure by whole voxels and symmetries of the cube permute the cells and change nothing else.
"""

import math

import numpy as np
import torch
from numba import njit, prange

from morphion.progress import progress
from morphion.surrogates.cube import polyphase
from morphion.surrogates.data import Inputs, Labelled
from morphion.surrogates.representations import Representation

_FULL = 255  # a voxel wholly inside a sphere
_BLOCK = 64  # structures drawn together
_MEASURED = 512  # structures of the training set, for the mean and deviation of cells


class Cells(Representation):
    """Cells [B, 2 K, m, m, m] float16 of spheres of K radii: counts, then counts of pairs.

    ``voxels`` along the image's edge, ``edge`` of a cell in voxels, ``radii`` in diameters. With
    ``soft`` a sphere's surface is a ramp one voxel wide, else the voxel's centre decides.
    """

    def __init__(self, voxels: int, edge: int, radii: tuple[float, ...], *, soft: bool):
        self.size, self._edge, self._radii, self._soft = voxels, edge, radii, soft

    def of(
        self, positions: np.ndarray, box_length: float, diameter: float, device: torch.device
    ) -> torch.Tensor:
        drawn = draw_cells(
            positions, box_length, diameter, self.size, self._edge, self._radii, soft=self._soft
        )
        return torch.from_numpy(drawn.astype(np.float16)).to(device)

    def at_once(self, device: torch.device) -> int:
        return 64

    def hold(self, data: Labelled, key: tuple | None, device: torch.device) -> Inputs:
        return _CellInputs(self, data, device)


class _CellInputs(Inputs):
    """Cells of all structures, held on the device: 54 kB a structure of 15^3 cells and 4 radii."""

    def __init__(self, cells: Cells, data: Labelled, device: torch.device):
        self._device, parts = device, []
        with progress("drawing cells", len(data.positions), "structures") as report:
            for first in range(0, len(data.positions), _BLOCK):
                block = data.positions[first : first + _BLOCK]
                parts.append(cells.of(block, *data.lengths, device))
                report.advance(len(block))
        self._cells = torch.cat(parts)

    def normalisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel over structures of ``rows``."""
        some = torch.from_numpy(rows[:: max(1, len(rows) // _MEASURED)]).to(self._device)
        values = self._cells[some].float()
        moments = values.mean((0, 2, 3, 4), keepdim=True), values.std((0, 2, 3, 4), keepdim=True)
        return tuple(moment.cpu().numpy() for moment in moments)

    def plan(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        """``rows``; nothing is augmented: the network is invariant."""
        return torch.from_numpy(rows)

    def place(self, plan: torch.Tensor) -> torch.Tensor:
        """Cells [B, 2 K, m, m, m]."""
        return self._cells[plan.to(self._device, non_blocking=True)]


def draw_cells(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    voxels: int,
    edge: int,
    radii: tuple[float, ...],
    *,
    soft: bool,
) -> np.ndarray:
    """Cells float32 [B, 2 K, m, m, m] of structures [B, N, 3], m = voxels / edge.

    Channels are the mean over a cell's voxels of the number of spheres around each, for each of
    the radii (in diameters), and then of the number of their pairs. Axes are z, y, x.
    """
    centres = np.ascontiguousarray(positions, dtype=np.float64) * (voxels / box_length)
    scaled = np.array(radii) * (diameter * voxels / box_length)
    m = voxels // edge
    found = np.zeros((len(positions), 2 * len(radii), m, m, m), np.int64)
    _draw(centres, voxels, edge, scaled, bool(soft), found)
    drawn = found / np.float32(edge**3 * _FULL)
    drawn[:, len(radii) :] /= _FULL
    return drawn.astype(np.float32)


@njit(inline="always")
def _level(inside, soft):
    """255ths of a voxel in a sphere whose surface lies ``inside`` voxels beyond the centre."""
    if not soft:
        return _FULL if inside > 0 else 0
    return int(_FULL * min(1.0, max(0.0, inside + 0.5)) + 0.5)


@njit(cache=True)
def _grid(centres, n, edge, radius, soft):
    """First voxel of the cells along x, y, z, from the planes of the spheres of one radius."""
    planes = np.zeros((3, n), np.int64)
    reach = math.ceil(radius) + 1
    for p in range(centres.shape[0]):
        x, y, z = centres[p]
        first = math.floor(x) - reach, math.floor(y) - reach, math.floor(z) - reach
        for k in range(first[2], first[2] + 2 * reach + 1):
            for j in range(first[1], first[1] + 2 * reach + 1):
                plane = (k + 0.5 - z) ** 2 + (j + 0.5 - y) ** 2
                if plane > (radius + 1) ** 2:
                    continue
                for i in range(first[0], first[0] + 2 * reach + 1):
                    level = _level(radius - math.sqrt(plane + (i + 0.5 - x) ** 2), soft)
                    planes[0, i % n] += level
                    planes[1, j % n] += level
                    planes[2, k % n] += level
    return polyphase(planes[0], edge), polyphase(planes[1], edge), polyphase(planes[2], edge)


@njit(cache=True, parallel=True)
def _draw(centres, n, edge, radii, soft, found):
    """Add to ``found`` int64 [B, 2 K, m, m, m] levels, and products of those of two spheres."""
    count = len(radii)
    largest = radii.max()
    reach = math.ceil(largest) + 1
    for s in prange(centres.shape[0]):
        grid = _grid(centres[s], n, edge, radii[0], soft)
        cell = np.empty((3, n), np.int64)
        for axis in range(3):
            for voxel in range(n):
                cell[axis, voxel] = (voxel - grid[axis]) % n // edge
        # Levels of the spheres before, so that a later one meets each of them once.
        before = np.zeros((n, n, n, count), np.int32)
        for p in range(centres.shape[1]):
            x, y, z = centres[s, p]
            first = math.floor(x) - reach, math.floor(y) - reach, math.floor(z) - reach
            for k in range(first[2], first[2] + 2 * reach + 1):
                dz = (k + 0.5 - z) ** 2
                for j in range(first[1], first[1] + 2 * reach + 1):
                    plane = dz + (j + 0.5 - y) ** 2
                    if plane > (largest + 1) ** 2:
                        continue
                    a, b = cell[2, k % n], cell[1, j % n]
                    row = before[k % n, j % n]
                    for i in range(first[0], first[0] + 2 * reach + 1):
                        distance = math.sqrt(plane + (i + 0.5 - x) ** 2)
                        if distance > largest + 1:
                            continue
                        at = i % n
                        c = cell[0, at]
                        for r in range(count):
                            level = _level(radii[r] - distance, soft)
                            if level > 0:
                                found[s, r, a, b, c] += level
                                found[s, count + r, a, b, c] += level * row[at, r]
                                row[at, r] += level
