"""Voxel images as packed bits, and the periodic shifts and cube symmetries that keep the label.

A training holds its images on the device as one bit a voxel and unpacks each batch there. An
augmented image is read through an index: output axis d runs along input axis ``axes[d]``, forwards
or backwards, from a shifted origin.
"""

import numpy as np
import torch
from numba import njit, prange

from morphion.philox import philox4x32
from morphion.surrogates.cube import SYMMETRIES

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
    return _source_indices(shifts, _AXES[symmetry], _SIGNS[symmetry], voxels)


_AXES, _SIGNS = (np.array(part) for part in zip(*SYMMETRIES, strict=True))


@njit(cache=True)
def _source_indices(shifts, axes, signs, voxels):
    strides = (voxels * voxels, voxels, 1)
    found = np.empty((len(shifts), 3, voxels), dtype=np.int32)
    for row in range(len(shifts)):
        for axis in range(3):
            source = axes[row, axis]
            for along in range(voxels):
                at = (shifts[row, source] + signs[row, axis] * along) % voxels
                found[row, axis, along] = at * strides[source]
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
        none = np.zeros((1, 3), dtype=np.int64)
        self._straight = source_indices(none, none[:, 0], voxels)
        # One look-up gives the eight voxels of a byte: one 64-bit word, a byte to a voxel.
        every_byte = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        self._table = every_byte.view(np.int64)[:, 0].copy()
        self._words = torch.from_numpy(self._table).to(device)

    def __len__(self) -> int:
        return len(self._bits)

    def batch(self, rows: torch.Tensor, source: np.ndarray | None = None) -> torch.Tensor:
        """Images [B, 1, n, n, n], uint8, of ``rows`` (int64 [B] on the device).

        ``source`` [B, 3, n] shows them shifted and turned, see ``source_indices``.
        """
        on_cpu = self._bits.device.type == "cpu"
        return (self.batch_compiled if on_cpu else self.batch_torch)(rows, source)

    def batch_compiled(self, rows: torch.Tensor, source: np.ndarray | None) -> torch.Tensor:
        """As ``batch``, in one pass on a CPU, where torch's operators would take five."""
        n = self.voxels
        if source is None:
            source = np.broadcast_to(self._straight, (len(rows), 3, n))
        found = np.empty((len(rows), n, n, n), dtype=np.uint8)
        _gather(self._bits.numpy(), rows.numpy(), self._table, source, found)
        # One channel: innermost or not is a matter of strides, which need no copy.
        return torch.from_numpy(found)[..., None].permute(0, 4, 1, 2, 3)

    def batch_torch(self, rows: torch.Tensor, source: np.ndarray | None) -> torch.Tensor:
        """As ``batch``, by torch's operators on any device."""
        n = self.voxels
        words = torch.index_select(self._words, 0, self._bits[rows].view(-1).int())
        flat = words.view(torch.uint8).view(len(rows), -1)
        if source is None:
            return flat[:, : n**3].reshape(-1, 1, n, n, n)
        axes = torch.from_numpy(source).to(flat.device, non_blocking=True)
        found = torch.empty((len(rows), n**3), dtype=torch.uint8, device=flat.device)
        step = max(1, _ELEMENTS_AT_ONCE // n**3)
        for start in range(0, len(rows), step):
            z, y, x = axes[start : start + step].unbind(1)
            index = z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]
            part = slice(start, start + step)
            torch.gather(flat[part], 1, index.flatten(1).long(), out=found[part])
        return found.view(-1, 1, n, n, n)


@njit(parallel=True, cache=True)
def _gather(bits, rows, table, source, found):
    """Fill ``found``, uint8 [B, n, n, n]; ``table`` gives the eight voxels of a byte as a word."""
    n = found.shape[1]
    for b in prange(found.shape[0]):
        packed = bits[rows[b]]
        words = np.empty(packed.shape[0], dtype=np.int64)
        for byte in range(packed.shape[0]):
            words[byte] = table[packed[byte]]
        image = words.view(np.uint8)
        # An unsigned index cannot count from the end, which the inner loop need not check then.
        along_x = source[b, 2].astype(np.uint64)
        for z in range(n):
            for y in range(n):
                first, row = np.uint64(source[b, 0, z] + source[b, 1, y]), found[b, z, y]
                for x in range(n):
                    row[x] = image[first + along_x[x]]
