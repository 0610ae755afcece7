"""The first block of the paper's network as one product of matrices, for GPUs.

A convolution of one channel leaves a GPU's units for products of matrices nearly idle. Here a row
of the left matrix is the 4^3 voxels that a window of the pool looks at, and its product the
activations of all filters at the window's 2^3 voxels. On a repeated image most windows look at the
same voxels as another: each that differs is worked out once.
"""

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_REACH = np.arange(-1, 3)  # voxels that window w looks at, from voxel 2 w on


def _windows(voxels: int, copies: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Windows along an edge: the voxels of each that differs, int64 [P, 4], where ``voxels`` means
    none; and the runs of them of which the edge consists, by first window and length."""
    edge = voxels * copies
    seen = 2 * np.arange(edge // 2)[:, None] + _REACH
    seen = np.where((seen >= 0) & (seen < edge), seen % voxels, voxels)
    _, first, which = np.unique(seen, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    which = np.argsort(order)[which.ravel()]
    ends = [0, *(np.flatnonzero(np.diff(which) != 1) + 1), len(which)]
    runs = [(int(which[a]), int(b - a)) for a, b in itertools.pairwise(ends)]
    return seen[first[order]], runs


class WindowProduct(nn.Module):
    """Convolution, ReLU and average pooling by 2 of binary images of ``voxels`` along an edge, each
    repeated ``copies`` times; see ``morphion.surrogates.fused.FirstBlock``."""

    def __init__(self, voxels: int, copies: int):
        super().__init__()
        seen, self._runs = _windows(voxels, copies)
        self.register_buffer("seen", torch.from_numpy(seen.ravel()), persistent=False)

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
        count, kind = len(self.seen) // 4, images.device.type
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        field = torch.where(images[:, 0] > 0, filled, empty).to(half)
        field = functional.pad(field, (0, 1) * 3)  # the voxel that stands for none
        for axis in (1, 2, 3):
            field = field.index_select(axis, self.seen)
        field = field.view(-1, count, 4, count, 4, count, 4).permute(0, 1, 3, 5, 2, 4, 6)
        found = functional.linear(field.reshape(-1, 64), *_product(weight, bias))
        found = torch.relu_(found).view(-1, 8, len(weight)).mean(1)
        found = found.view(-1, count, count, count, len(weight))
        for axis in (1, 2, 3):
            # Slices, not indices: their gradients are summed in one order every time.
            if len(self._runs) > 1:
                found = torch.cat([found.narrow(axis, *run) for run in self._runs], axis)
        return found.permute(0, 4, 1, 2, 3)


def _product(weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix [8 F, 64] and vector [8 F] of the windows' product: the kernel at all its places."""
    places = [
        functional.pad(weight[:, 0], (x, 1 - x, y, 1 - y, z, 1 - z))
        for z in (0, 1)
        for y in (0, 1)
        for x in (0, 1)
    ]
    return torch.stack(places).view(-1, 64), bias.repeat(8)
