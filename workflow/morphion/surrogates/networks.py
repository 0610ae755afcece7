"""What all networks share, and the one on descriptors.

Most have one head: D* = exp(m + s f), where m and s are the mean and standard deviation of ln D*
over the training set and f is the last dense layer's output. D* is positive by construction, an
untrained network (f = 0) predicts the geometric mean, and equal steps of f are equal relative
changes, which the several-fold range of D* within a data set calls for.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from morphion.config.surrogates import DenseNetwork

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


class Standardised(nn.Module):
    """Features [..., F] less their mean over their standard deviation, both taken once from a
    batch (see ``measuring``)."""

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.measuring = False

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.measuring:
            rows = values.flatten(0, -2)
            scale = rows.std(0)
            self.mean.copy_(rows.mean(0))
            # A feature that is hardly ever active must not blow up its first signs of life.
            self.scale.copy_(torch.maximum(scale, 1e-2 * scale.mean()).clamp_min(1e-6))
        return (values - self.mean) / self.scale


@contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Within it, layers that standardise take their constants from the batch that passes."""
    layers = [module for module in network.modules() if hasattr(module, "measuring")]
    for layer in layers:
        layer.measuring = True
    try:
        yield
    finally:
        for layer in layers:
            layer.measuring = False


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


def dense(inputs: int, neurons: tuple[int, ...]) -> nn.Sequential:
    """Dense layers with ReLU between them, from ``inputs`` to one output."""
    layers: list[nn.Module] = []
    for outputs in neurons:
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


class DenseOnDescriptor(Surrogate3D):
    """Dense layers on a descriptor of the structure (figure 4 of the paper)."""

    def __init__(self, block: DenseNetwork, inputs: int):
        super().__init__((inputs,))
        self.dense = dense(inputs, block.neurons)

    def features(self, descriptor: torch.Tensor) -> torch.Tensor:
        return self.dense(descriptor)
