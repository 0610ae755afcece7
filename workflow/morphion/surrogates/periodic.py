"""The periodic network: convolutions that know a structure has no origin and no orientation.

Convolutions turn an image of nested spheres (``cells``), pooled on a grid that it chooses itself,
into conductances between neighbouring cells and into their occupancies; D*_ab follows from
Kirchhoff's laws on the lattice of cells. All weights of a kernel that a symmetry of the cube
exchanges are one weight (Cohen & Welling, ICML 2016, arXiv:1602.07576, for the principle) and all
padding is circular, so that D* is exactly invariant to shifts of the image by whole voxels and to
the 48 symmetries, which its tensor follows. A tied kernel alone sees distances; a second one behind
a nonlinearity sees the angles between them.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from morphion.config.surrogates import PeriodicNetwork
from morphion.errors import SurrogateError
from morphion.surrogates.cube import orbits
from morphion.surrogates.lattice_network import dissipation
from morphion.surrogates.networks import Batch, TensorNetwork

_MEASURED = 4  # batches of the calibration on which activations are standardised
_START = 0.1  # share of the activations in the conductances before anything is learned


class TiedConv3d(nn.Module):
    """Circular convolution with one weight to each orbit of its kernel under the cube's symmetries.

    Its output has mean 0 and standard deviation 1 over the batch of ``measure``.
    """

    def __init__(self, before: int, after: int, edge: int):
        super().__init__()
        orbit = torch.from_numpy(orbits(edge))
        size = torch.bincount(orbit.flatten()).float()
        self.weight = nn.Parameter(torch.empty(after, before, len(size)))
        self.bias = nn.Parameter(torch.empty(after))
        self.register_buffer("orbit", orbit, persistent=False)
        self.register_buffer("share", size.rsqrt(), persistent=False)
        self.register_buffer("mean", torch.zeros(after))
        self.register_buffer("scale", torch.ones(after))
        self.margin = edge // 2

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights, so that each orbit adds alike to the variance of the output."""
        _, before, count = self.weight.shape
        nn.init.normal_(self.weight, std=math.sqrt(2 / (before * count)), generator=generator)
        nn.init.zeros_(self.bias)

    def kernel(self) -> torch.Tensor:
        """Weights of the whole kernel, [after, before, edge, edge, edge]."""
        return (self.weight * self.share)[..., self.orbit]

    def measure(self, field: torch.Tensor) -> None:
        """Take the constants that standardise the output for fields like this."""
        found = functional.conv3d(self._padded(field), self.kernel())
        self.mean.copy_(found.mean((0, 2, 3, 4)))
        self.scale.copy_(found.std((0, 2, 3, 4)).clamp_min(1e-6))

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """Field [B, after, m, m, m] of a field [B, before, m, m, m]."""
        # Standardising the weights costs nothing; the field would be read and written once more.
        kernel = self.kernel() / self.scale[:, None, None, None, None]
        return functional.conv3d(self._padded(field), kernel, self.bias - self.mean / self.scale)

    def _padded(self, field: torch.Tensor) -> torch.Tensor:
        return functional.pad(field, (self.margin,) * 6, mode="circular")


class PeriodicCNN(TensorNetwork):
    """Conductances and occupancies from tied convolutions, D* from Kirchhoff's laws; see the
    module.

    With u_k what convolution k finds, u_0 the standardised cells, and u all of them together,

        g_ij = exp(w.u_i + w.u_j + v.silu(A u_i + A u_j))        z_i = exp(w'.u_i)
        D*_ab = unit K_ab / sum_i z_i
    """

    OUTPUT = "D*_ab = unit K_ab / sum_i z_i"

    def __init__(self, block: PeriodicNetwork, voxels: int):
        channels = 2 * len(block.radii)
        super().__init__((1, channels, 1, 1, 1), block.tensor_weight)
        if block.cell not in (possible := block.cells(voxels)):
            raise SurrogateError(
                f"cell = {block.cell} does not divide geometry.voxels = {voxels} into at least "
                f"3 cells along an edge; it must be one of {possible}"
            )
        widths = (channels, *(block.filters for _ in block.kernels))
        self.convolutions = nn.ModuleList(
            TiedConv3d(*pair, edge)
            for *pair, edge in zip(widths, widths[1:], block.kernels, strict=False)
        )
        found = sum(widths)
        self.site = nn.Conv3d(found, 2, 1)
        self.face_hidden = nn.Conv3d(found, block.neurons, 1)
        self.face = nn.Parameter(torch.zeros(block.neurons))
        self._radii = len(block.radii)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights; conductances start from what is known: shells that overlap conduct."""
        super().initialise(generator)
        for convolution in self.convolutions:
            convolution.initialise(generator)
        fan_in = self.site.weight.shape[1]
        nn.init.normal_(self.site.weight, std=_START * fan_in**-0.5, generator=generator)
        with torch.no_grad():
            # Channels: spheres of each radius, the particles' own first, then their pairs.
            self.site.weight[:, 0] -= 1
            self.site.weight[:, self._radii + 1 : 2 * self._radii] += 1 / max(1, self._radii - 1)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Standardise the activations and let the untrained network predict the right mean."""
        with torch.no_grad():
            inputs = torch.cat([inputs() for _, inputs in batches[:_MEASURED]])
            field = self._standardised(inputs.float())
            for convolution in self.convolutions:
                convolution.measure(field)
                field = functional.relu(convolution(field))
        self.match_mean(batches, diffusivity)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """D*_ab of a batch of cells [B, C, m, m, m], float32 [B, 3, 3]."""
        found = [self._standardised(cells.float())]
        for convolution in self.convolutions:
            found.append(functional.relu(convolution(found[-1])))
        found = torch.cat(found, 1)
        site = self.site(found).float()
        hidden = self.face_hidden(found)
        logarithms = []
        for axis in (1, 2, 3):
            pair = functional.silu(hidden + hidden.roll(-1, axis + 1))
            logarithm = site[:, 0] + site[:, 0].roll(-1, axis)
            logarithms.append(logarithm + torch.einsum("bczyx,c->bzyx", pair, self.face))
        # Half precision would not hold the exponentials, nor Kirchhoff's equations their solution.
        power = dissipation(torch.exp(torch.stack(logarithms, 1).float()))
        occupancy = torch.exp(site[:, 1]).sum((1, 2, 3))
        return self.unit * power / occupancy[:, None, None]
