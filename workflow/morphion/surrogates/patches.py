"""Blocks of few channels as convolutions of eight times as many, for GPUs.

A convolution of few channels leaves a GPU's units for products of matrices nearly idle. Here the
2^3 voxels of a cube are channels; the activations of all filters at the 2^3 voxels of a window of
the pool are then one product of the 2^3 cubes that the window touches with a kernel of as many.
Cube k holds the voxels 2 k - 1 and 2 k along an edge, window w the voxels 2 w and 2 w + 1: it looks
at the cubes w and w + 1.
"""

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from morphion.surrogates.repeats import row_of_windows, voxels_seen

# With more channels the product has 2.4 times the work for little more speed.
_FEW_CHANNELS = 16


def has_few_channels(convolution: nn.Conv3d) -> bool:
    """Whether a block with this convolution is faster by ``block``."""
    return convolution.in_channels <= _FEW_CHANNELS


def block(field: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Zero-padded convolution, ReLU and average pooling by 2 of a field [B, C, m, m, m], channels
    innermost there and in what leaves, [B, F, h, h, h] with h = m // 2; weight [F, C, 3, 3, 3],
    bias [F]."""
    channels, edge = field.shape[1:3]
    field = functional.pad(field, (1, 1 - edge % 2) * 3).permute(0, 2, 3, 4, 1)
    cubes = _cubes(field, channels).permute(0, 4, 1, 2, 3)
    kernel, offset = _product(weight, bias)
    kernel = kernel.contiguous(memory_format=torch.channels_last_3d)
    found = functional.conv3d(cubes, kernel, offset)
    return _pooled(found.permute(0, 2, 3, 4, 1), len(weight)).permute(0, 4, 1, 2, 3)


class RepeatedBlock(nn.Module):
    """``block`` of binary images of ``voxels`` along an edge, each repeated ``copies`` times.

    Most windows look at the same voxels as another: each that differs is worked out once.
    """

    def __init__(self, voxels: int, copies: int):
        super().__init__()
        row, self._runs = _row_of_cubes(voxels, copies)
        self.register_buffer("row", torch.from_numpy(row), persistent=False)

    def forward(
        self,
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        empty: torch.Tensor,
        filled: torch.Tensor,
    ) -> torch.Tensor:
        """Field [B, F, m, m, m], m = copies n // 2, channels innermost, in the type that products
        have there (``torch.autocast``).

        images uint8 [B, 1, n, n, n] of 0 and 1, which count as the scalars ``empty`` and
        ``filled``; weight [F, 1, 3, 3, 3], bias [F].
        """
        kind = images.device.type
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        field = torch.where(images[:, 0] > 0, filled, empty).to(half)
        field = functional.pad(field, (0, 1) * 3)  # the voxel that stands for none
        for axis in (1, 2, 3):
            field = field.index_select(axis, self.row)
        cubes = _cubes(field[..., None], 1)
        count = cubes.shape[1] - 1
        seen = [
            cubes[:, z : z + count, y : y + count, x : x + count]
            for z, y, x in itertools.product((0, 1), repeat=3)
        ]
        kernel, offset = _product(weight, bias)
        kernel = kernel.permute(0, 2, 3, 4, 1).flatten(1)
        found = _pooled(functional.linear(torch.cat(seen, -1), kernel, offset), len(weight))
        for axis in (1, 2, 3):
            # Slices, not indices: their gradients are summed in one order every time.
            if self._runs != [(0, count)]:
                found = torch.cat([found.narrow(axis, *run) for run in self._runs], axis)
        return found.permute(0, 4, 1, 2, 3)


def _row_of_cubes(voxels: int, copies: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Voxels of a row of cubes, int64 [2 H], where ``voxels`` means none, with every different
    window of an edge between neighbours; and the runs of windows of which the edge consists, by
    first place in the row and length."""
    row, starts = row_of_windows(voxels_seen(voxels, copies), 2)
    which = starts // 2
    ends = [0, *(np.flatnonzero(np.diff(which) != 1) + 1), len(which)]
    runs = [(int(which[a]), int(b - a)) for a, b in itertools.pairwise(ends)]
    return np.where(row < 0, voxels, row), runs


def _cubes(field: torch.Tensor, channels: int) -> torch.Tensor:
    """Cubes [B, H, H, H, 8 C] of a field [B, 2 H, 2 H, 2 H, C]."""
    count = field.shape[1] // 2
    field = field.reshape(-1, count, 2, count, 2, count, 2, channels)
    return field.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, count, count, count, 8 * channels)


def _product(weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernel [8 F, 8 C, 2, 2, 2] and offsets [8 F] of an eighth of a window's activations: the
    given kernel at each of the window's voxels, by the voxels of the cubes."""
    places = [
        functional.pad(weight, (x, 1 - x, y, 1 - y, z, 1 - z))
        for z, y, x in itertools.product((0, 1), repeat=3)
    ]
    kernel = torch.stack(places).flatten(0, 1).unflatten(4, (2, 2)).unflatten(3, (2, 2))
    kernel = kernel.unflatten(2, (2, 2)).permute(0, 3, 5, 7, 1, 2, 4, 6).flatten(1, 4)
    return kernel / 8, bias.repeat(8) / 8


def _pooled(found: torch.Tensor, filters: int) -> torch.Tensor:
    """Mean activations [..., F] from an eighth of what they are before ReLU, [..., 8 F]."""
    # The gradient of a sum is not written out, that of a mean is; autocast would widen a sum first.
    with torch.autocast(found.device.type, enabled=False):
        return torch.relu(found.unflatten(-1, (8, filters))).sum(-2)
