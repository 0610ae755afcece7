"""Voxel images as packed bits, and the periodic shifts and cube symmetries that keep the label.

A training holds its images on the device as one bit a voxel and unpacks each batch there. An
augmented image is read through an index: output axis d runs along input axis ``axes[d]``, forwards
or backwards, from a shifted origin.
"""

import itertools

import numpy as np
import torch
from numba import njit

from morphion.philox import philox4x32

# Each of the 48 symmetries of the cube: a permutation of the axes and a sign for each.
SYMMETRIES = tuple(
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
)
_ELEMENTS_AT_ONCE = 2**25  # of an index array: 128 MB on the device


def pack(images: np.ndarray) -> np.ndarray:
    """Bits of binary images [S, n, n, n], uint8 [S, ceil(n^3 / 8)], first voxel in the high bit."""
    return np.packbits(images.reshape(len(images), -1), axis=1)


@njit(cache=True)
def _draw(indices, epoch, low, high, voxels):
    shifts = np.empty((len(indices), 3), dtype=np.int64)
    symmetry = np.empty(len(indices), dtype=np.int64)
    edge, symmetries, half = np.uint64(voxels), np.uint64(48), np.uint64(32)
    for row in range(len(indices)):
        x, y, z, w = philox4x32(
            np.uint32(epoch), np.uint32(indices[row]), np.uint32(0), np.uint32(0), low, high
        )
        shifts[row, 0] = (np.uint64(x) * edge) >> half
        shifts[row, 1] = (np.uint64(y) * edge) >> half
        shifts[row, 2] = (np.uint64(z) * edge) >> half
        symmetry[row] = (np.uint64(w) * symmetries) >> half
    return shifts, symmetry


def augmentation(
    key: tuple[np.uint32, np.uint32], epoch: int, indices: np.ndarray, voxels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shift [B, 3] and number of the symmetry [B], int64, of structures in an epoch.

    They depend on the stream, the epoch and each structure's index alone: not on the batch, the
    order or the rank that a structure is in.
    """
    return _draw(np.asarray(indices, dtype=np.int64), epoch, key[0], key[1], voxels)


def source_indices(shifts: np.ndarray, symmetry: np.ndarray, voxels: int) -> np.ndarray:
    """Index along each output axis into a flat image, int32 [B, 3, n].

    The sum of the three entries of an output voxel is the input voxel that it shows.
    """
    strides = np.array([voxels * voxels, voxels, 1])
    along = np.arange(voxels)
    found = np.empty((len(shifts), 3, voxels), dtype=np.int32)
    for row, (shift, number) in enumerate(zip(shifts, symmetry, strict=True)):
        for axis, (source, sign) in enumerate(zip(*SYMMETRIES[number], strict=True)):
            found[row, axis] = (shift[source] + sign * along) % voxels * strides[source]
    return found


class PackedImages:
    """Binary images held as bits on a device.

    Parameters
    ----------
    bits : uint8 [S, ceil(n^3 / 8)]
        As ``pack`` gives them.
    voxels : int
        n, voxels along the edge.
    """

    def __init__(self, bits: np.ndarray, voxels: int, device: torch.device):
        self.voxels = voxels
        self._bits = torch.from_numpy(bits).to(device)
        # One look-up gives the eight voxels of a byte: one 64-bit word, a byte to a voxel.
        every_byte = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        self._words = torch.from_numpy(every_byte.view(np.int64)[:, 0].copy()).to(device)

    def __len__(self) -> int:
        return len(self._bits)

    def batch(self, rows: torch.Tensor, source: np.ndarray | None = None) -> torch.Tensor:
        """Images [B, 1, n, n, n], float32, of ``rows`` (int64 [B] on the device).

        ``source`` [B, 3, n] shows them shifted and turned, see ``source_indices``.
        """
        n = self.voxels
        packed = self._bits[rows]
        words = torch.index_select(self._words, 0, packed.view(-1).int())
        flat = words.view(torch.uint8).view(len(rows), -1)
        if source is None:
            return flat[:, : n**3].float().view(-1, 1, n, n, n)
        axes = torch.from_numpy(source).to(flat.device, non_blocking=True)
        found = torch.empty((len(rows), n**3), dtype=torch.uint8, device=flat.device)
        step = max(1, _ELEMENTS_AT_ONCE // n**3) if flat.is_cuda else 1
        for start in range(0, len(rows), step):
            z, y, x = axes[start : start + step].unbind(1)
            index = z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]
            _gather(flat[start : start + step], index.flatten(1), found[start : start + step])
        return found.float().view(-1, 1, n, n, n)


def _gather(flat: torch.Tensor, index: torch.Tensor, out: torch.Tensor) -> None:
    if len(flat) == 1:  # accepts 32-bit indices, a third of the time on a CPU
        torch.index_select(flat[0], 0, index[0], out=out[0])
    else:
        torch.gather(flat, 1, index.long(), out=out)
