"""The networks: from a voxel image or a descriptor to D*.

All share one head: D* = exp(m + s f), where m and s are the mean and standard deviation of ln D*
over the training set and f is the last dense layer's output. D* is positive by construction, an
untrained network (f = 0) predicts the geometric mean, and equal steps of f are equal relative
changes, which the several-fold range of D* within a data set calls for.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from morphion.config.surrogates import DenseNetwork, PaperNetwork, PeriodicNetwork
from morphion.errors import SurrogateError

Batch = tuple[np.ndarray, Callable[[], torch.Tensor]]


class Surrogate3D(nn.Module):
    """What the networks share: standardised inputs, the head, and the weights they start from."""

    OUTPUT = "D* = exp(log_mean + log_scale f)"
    has_tensor = False  # whether ``mean(output)`` is the tensor of D*

    def __init__(self, input_shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer("input_mean", torch.zeros(input_shape))
        self.register_buffer("input_scale", torch.ones(input_shape))
        self.register_buffer("log_mean", torch.zeros(()))
        self.register_buffer("log_scale", torch.ones(()))

    def set_normalisation(
        self, inputs: tuple[np.ndarray, np.ndarray] | None, diffusivity: np.ndarray
    ) -> None:
        """Take the constants of the training set: its D* [S], and mean and scale of the inputs."""
        logarithm = np.log(diffusivity)
        self.log_mean.fill_(float(logarithm.mean()))
        # Equal labels have no spread to learn; 0 would switch all gradients off.
        self.log_scale.fill_(float(logarithm.std()) or 1.0)
        if inputs is not None:
            mean, scale = (torch.as_tensor(part, dtype=torch.float32) for part in inputs)
            self.input_mean.copy_(mean)
            self.input_scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """D* of a batch, float32 [B]."""
        # The exponential of a half-precision number would be off by up to half a percent.
        raw = self.features(self._standardised(inputs)).float().flatten()
        return torch.exp(self.log_mean + self.log_scale * raw)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Set what a network takes from its training set before the first step.

        ``batches`` are indices of structures with a function that gives their inputs;
        ``diffusivity`` [S] is the D* of all structures.
        """

    def diffusivity(self, output: torch.Tensor) -> torch.Tensor:
        """D* [B] in what ``forward`` returned."""
        return output

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        """What ``forward`` returned, averaged over the members of an ensemble."""
        return output

    def disagreement(self, output: torch.Tensor) -> torch.Tensor:
        """Relative standard deviation of D* between members [B]; 0 for a single network."""
        return torch.zeros_like(self.diffusivity(output))

    def errors(
        self, output: torch.Tensor, diffusivity: torch.Tensor, tensor: torch.Tensor
    ) -> torch.Tensor:
        """Each structure's part [B] of the loss that training lowers: its squared error of D*.

        ``output`` is what ``forward`` returned; ``diffusivity`` [B] and ``tensor`` [B, 3, 3] are
        the labels in D*.
        """
        return (output - diffusivity).square()

    def _standardised(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs - self.input_mean) / self.input_scale

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights: He et al., ICCV 2015, doi:10.1109/ICCV.2015.123; biases are 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class PaperCNN(Surrogate3D):
    """Figure 2 of the paper: four blocks of zero-padded 3^3 convolution, ReLU and average pooling
    by 2, then two dense layers; on the image repeated 3x3x3 (225^3) or on the image itself."""

    def __init__(self, block: PaperNetwork, voxels: int):
        super().__init__(())
        self._copies = 3 if block.tiled else 1
        edge, channels, layers = voxels * self._copies, 1, []
        for filters in block.filters:
            layers += [nn.Conv3d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.AvgPool3d(2)]
            channels, edge = filters, edge // 2
        self.blocks = nn.Sequential(*layers)
        self.dense = _dense(channels * edge**3, (block.neurons,))

    def features(self, image: torch.Tensor) -> torch.Tensor:
        tiled = image.repeat(1, 1, *(self._copies,) * 3) if self._copies > 1 else image
        return self.dense(self.blocks(tiled).flatten(1))


class PeriodicCNN(Surrogate3D):
    """Convolutions that wrap around the box: periodic by construction, on the untiled image.

    Averages over cubes of ``pool`` voxels shrink the image (75 = 5 x 15), circular convolutions
    follow, and their means over the box feed the head: a linear layer, and beside it a dense
    layer that starts at 0. ``calibrate`` solves the linear layer on the freshly drawn
    convolutions; training improves on that.
    """

    def __init__(self, block: PeriodicNetwork, voxels: int):
        super().__init__(())
        if voxels % block.pool:
            raise SurrogateError(
                f"pool = {block.pool} does not divide geometry.voxels = {voxels}; "
                f"use one of {[width for width in range(1, 16) if voxels % width == 0]}"
            )
        self._pool, self._margin = block.pool, block.kernel // 2
        self.convolutions = nn.ModuleList(
            nn.Conv3d(before, after, block.kernel)
            for before, after in zip((1, *block.filters), block.filters, strict=False)
        )
        means = block.filters[-1]
        self.register_buffer("pooled_scale", torch.ones(()))
        self.register_buffer("feature_mean", torch.zeros(means))
        self.register_buffer("feature_scale", torch.ones(means))
        self.linear = nn.Linear(means, 1)
        self.dense = _dense(means, (block.neurons,))

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        nn.init.zeros_(self.dense[-1].weight)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Standardise what the layers see and fit the linear layer by ridge regression.

        Over structures of one volume fraction a mean over the box varies by a few percent of
        itself; without this the head would see almost a constant, and learn slowly.
        """
        with torch.no_grad():
            pooled = [self._pooled(self._standardised(inputs())) for _, inputs in batches[:16]]
            self.pooled_scale.copy_(torch.cat(pooled).std())
            found = torch.cat([self._means(self._standardised(inputs())) for _, inputs in batches])
        found = found.double().cpu().numpy()
        mean, scale = found.mean(axis=0), found.std(axis=0)
        # A filter that is hardly ever active must not blow up its first signs of life.
        scale = np.maximum(scale, 1e-2 * scale.mean() or 1.0)
        rows = np.concatenate([part for part, _ in batches])
        targets = (np.log(diffusivity[rows]) - float(self.log_mean)) / float(self.log_scale)
        weights, intercept = ridge((found - mean) / scale, targets, groups=rows)
        with torch.no_grad():
            self.feature_mean.copy_(torch.as_tensor(mean))
            self.feature_scale.copy_(torch.as_tensor(scale))
            self.linear.weight.copy_(torch.as_tensor(weights)[None])
            self.linear.bias.fill_(intercept)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        means = (self._means(image) - self.feature_mean) / self.feature_scale
        return self.linear(means) + self.dense(means)

    def _pooled(self, image: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool3d(image, self._pool) if self._pool > 1 else image

    def _means(self, image: torch.Tensor) -> torch.Tensor:
        field = self._pooled(image) / self.pooled_scale
        for convolution in self.convolutions:
            padded = functional.pad(field, (self._margin,) * 6, mode="circular")
            field = functional.relu(convolution(padded), inplace=True)
        return field.mean(dim=(2, 3, 4))


def ridge(
    features: np.ndarray, targets: np.ndarray, groups: np.ndarray, folds: int = 6
) -> tuple[np.ndarray, float]:
    """Weights float64 [F] and intercept of a ridge regression of targets [S] on features [S, F].

    The penalty is the one of a decade grid with the smallest error in cross-validation; rows of
    one group (views of one structure) stay in one fold.
    """
    fold = np.unique(groups, return_inverse=True)[1] % folds

    def solve(rows: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
        centre, mean = features[rows].mean(axis=0), targets[rows].mean()
        x = features[rows] - centre
        gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, x.T @ (targets[rows] - mean))
        return weights, float(mean - centre @ weights)

    def error(penalty: float) -> float:
        total = 0.0
        for left_out in np.unique(fold):
            rest = fold != left_out
            if rest.any():
                weights, intercept = solve(rest, penalty)
                total += np.sum((features[~rest] @ weights + intercept - targets[~rest]) ** 2)
        return total

    everything = np.ones(len(targets), dtype=bool)
    return solve(everything, min(10.0 ** np.arange(-3, 4), key=error))


class DenseOnDescriptor(Surrogate3D):
    """Dense layers on a descriptor of the structure (figure 4 of the paper)."""

    def __init__(self, block: DenseNetwork, inputs: int):
        super().__init__((inputs,))
        self.dense = _dense(inputs, block.neurons)

    def features(self, descriptor: torch.Tensor) -> torch.Tensor:
        return self.dense(descriptor)


def _dense(inputs: int, neurons: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for outputs in neurons:
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 1))
