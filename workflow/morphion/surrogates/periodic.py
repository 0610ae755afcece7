"""The periodic network: convolutions that know a structure has no origin and no orientation.

The value of D* is exactly invariant to shifts of the image by whole voxels and to the 48
symmetries of the cube. Images are pooled on a grid that they choose themselves (``cube``), pad
circularly, and all weights of a kernel that a symmetry exchanges are one weight (Cohen & Welling,
ICML 2016, arXiv:1602.07576, for the principle). A tied kernel alone sees distances; a second one
behind a nonlinearity sees the angles between them.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from morphion.config.surrogates import PeriodicNetwork, PeriodicStage
from morphion.errors import SurrogateError
from morphion.surrogates.cube import orbits, polyphase, pool
from morphion.surrogates.networks import Batch, Standardised, Surrogate3D, measuring, ridge

_MEASURED = 32  # structures on which the activations are standardised


class TiedConv3d(nn.Module):
    """Circular convolution with one weight to each orbit of its kernel under the cube's symmetries.

    Its output has mean 0 and standard deviation 1 over the batch on which it was measured.
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
        self.margin, self.measuring = edge // 2, False

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights, so that each orbit adds alike to the variance of the output."""
        _, before, count = self.weight.shape
        nn.init.normal_(self.weight, std=math.sqrt(2 / (before * count)), generator=generator)
        nn.init.zeros_(self.bias)

    def kernel(self) -> torch.Tensor:
        """Weights of the whole kernel, [after, before, edge, edge, edge]."""
        return (self.weight * self.share)[..., self.orbit]

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """Field [B, after, m, m, m] of a field [B, before, m, m, m]."""
        padded = functional.pad(field, (self.margin,) * 6, mode="circular")
        kernel = self.kernel().contiguous(memory_format=torch.channels_last_3d)
        if self.measuring:
            measured = functional.conv3d(padded, kernel)
            self.mean.copy_(measured.mean((0, 2, 3, 4)))
            self.scale.copy_(measured.std((0, 2, 3, 4)).clamp_min(1e-6))
        # Standardising the weights costs nothing; the field would be read and written once more.
        kernel = kernel / self.scale[:, None, None, None, None]
        return functional.conv3d(padded, kernel, self.bias - self.mean / self.scale)


class _Stage(nn.Module):
    """Convolutions at one resolution; each adds to the field that it sees."""

    def __init__(self, block: PeriodicStage, before: int):
        super().__init__()
        widths = (before, *(block.filters for _ in block.kernels))
        self.convolutions = nn.ModuleList(
            TiedConv3d(*channels, edge)
            for *channels, edge in zip(widths, widths[1:], block.kernels, strict=False)
        )

    def forward(self, field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The field after the stage, and the means [B, 3, m, C] of what each convolution found
        over the planes normal to each axis."""
        profiles = []
        for convolution in self.convolutions:
            found = functional.relu(convolution(field), inplace=True)
            profiles.append(_profiles(found))
            field = field + found if field.shape == found.shape else found
        return field, torch.cat(profiles, 3)


def _profiles(field: torch.Tensor) -> torch.Tensor:
    """Means [B, 3, m, C] of a field [B, C, m, m, m] over the planes normal to z, y and x."""
    along_z = field.mean(2)
    normal_to_z = field.mean(4).mean(3)
    return torch.stack((normal_to_z, along_z.mean(3), along_z.mean(2)), 1).transpose(2, 3)


class _Planes(nn.Module):
    """What the profiles along the three axes say of D*.

    Cations that cross the box pass every plane normal to an axis, one after the other, so that the
    poorest planes limit D along it. The same layers see each axis, and see it alike from both ends.
    """

    def __init__(self, profiles: int, neurons: int):
        super().__init__()
        self.standardised = Standardised(profiles)
        self.plane = nn.Linear(profiles, neurons)
        self.between = nn.Linear(2 * neurons, neurons)
        self.axis = nn.Linear(2 * neurons, neurons)
        self.hidden = nn.Linear(neurons, neurons)
        self.out = nn.Linear(neurons, 1)

    def forward(self, profiles: torch.Tensor) -> torch.Tensor:
        """[B, 1] of profiles [B, 3, m, C]."""
        here = functional.silu(self.plane(self.standardised(profiles)))
        neighbours = here.roll(1, 2) + here.roll(-1, 2)
        between = functional.silu(self.between(torch.cat((here, neighbours), 3)))
        axis = functional.silu(self.axis(torch.cat((here, between), 3).mean(2)))
        return self.out(functional.silu(self.hidden(axis)).mean(1))


class PeriodicCNN(Surrogate3D):
    """Stages of tied circular convolutions from fine to coarse, and three readers of their means.

    Each stage pools its field over cubes. Means over the box of all activations feed a linear
    layer, which ``calibrate`` solves on the freshly drawn convolutions, and a dense layer; means
    over planes feed the third. The latter two start at 0.
    """

    def __init__(self, block: PeriodicNetwork, voxels: int):
        super().__init__(())
        self._pools = [stage.pool for stage in block.stages]
        self._stride = math.prod(self._pools)
        if voxels % self._stride:
            divisors = [width for width in range(1, voxels + 1) if voxels % width == 0]
            raise SurrogateError(
                f"pools of the stages, {' x '.join(map(str, self._pools))} = {self._stride}, do "
                f"not divide geometry.voxels = {voxels}; their product must be one of {divisors}"
            )
        widths = (1, *(stage.filters for stage in block.stages))
        self.stages = nn.ModuleList(
            _Stage(*pair) for pair in zip(block.stages, widths, strict=False)
        )
        means = sum(len(stage.kernels) * stage.filters for stage in block.stages)
        self.standardised = Standardised(means)
        self.linear = nn.Linear(means, 1)
        self.hidden = nn.Linear(means, block.neurons)
        self.dense = nn.Linear(block.neurons, 1)
        self.planes = _Planes(means, block.neurons // 2 or 1)

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        for module in self.modules():
            if isinstance(module, TiedConv3d):
                module.initialise(generator)
        for layer in (self.dense, self.planes.out):
            nn.init.zeros_(layer.weight)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Standardise all activations and fit the linear layer by ridge regression.

        Over structures of one volume fraction a mean over the box varies by a few percent of
        itself; without this the head would see almost a constant, and learn slowly.
        """
        with torch.no_grad():
            first = [self._standardised(inputs()) for _, inputs in batches[: _MEASURED // 8]]
            with measuring(self):
                self.features(torch.cat(first))
            means = torch.cat([self._means(inputs()) for _, inputs in batches])
            rows = np.concatenate([part for part, _ in batches])
            targets = (np.log(diffusivity[rows]) - float(self.log_mean)) / float(self.log_scale)
            found = self.standardised(means).double().cpu().numpy()
            weights, intercept = ridge(found, targets, groups=rows)
            self.linear.weight.copy_(torch.as_tensor(weights)[None])
            self.linear.bias.fill_(intercept)

    def errors(
        self, output: torch.Tensor, diffusivity: torch.Tensor, tensor: torch.Tensor
    ) -> torch.Tensor:
        """Squared error of ln D*, in which equal shares of D* count alike."""
        return (torch.log(output) - torch.log(diffusivity)).square()

    def features(self, field: torch.Tensor) -> torch.Tensor:
        profiles = self._profiles(field)
        means = self.standardised(profiles[:, 0].mean(1))
        dense = self.dense(functional.silu(self.hidden(means)))
        return self.linear(means) + dense + self.planes(profiles)

    def _standardised(self, inputs: torch.Tensor) -> torch.Tensor:
        """Field [B, 1, m, m, m] of the first stage."""
        image, width = inputs[:, 0].float(), self._pools[0]
        # Half precision would not hold the sums.
        with torch.autocast(image.device.type, enabled=False):
            field = pool(image, polyphase(image, self._stride), width) / width**3
        return super()._standardised(field)[:, None]

    def _profiles(self, field: torch.Tensor) -> torch.Tensor:
        """Profiles [B, 3, m, C] of all convolutions, at the resolution of the first stage."""
        found, edge = [], field.shape[-1]
        for stage, width in zip(self.stages, [1, *self._pools[1:]], strict=True):
            field, profiles = stage(functional.avg_pool3d(field, width) if width > 1 else field)
            found.append(profiles.repeat_interleave(edge // profiles.shape[2], 2))
        return torch.cat(found, 3)

    def _means(self, inputs: torch.Tensor) -> torch.Tensor:
        return self._profiles(self._standardised(inputs))[:, 0].mean(1)
