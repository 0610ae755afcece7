"""What all networks share, and the one on descriptors.

Most have one head: D* = exp(m + s f), where m and s are the mean and standard deviation of ln D*
over the training set and f is the last dense layer's output. D* is positive by construction, an
untrained network (f = 0) predicts the geometric mean, and equal steps of f are equal relative
changes, which the several-fold range of D* within a data set calls for.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from morphion.config.surrogates import DenseNetwork
from morphion.surrogates.settling import Examples

if TYPE_CHECKING:
    from morphion.surrogates.representations import Representation

Batch = tuple[np.ndarray, Callable[[], torch.Tensor]]


class Flows(NamedTuple):
    """Exact currents of B structures of N particles, see ``morphion.currents``.

    ``current`` [B, P, 3] in D*; ``occupancy`` [B, N], over their mean in the data. They mean
    something where ``known`` bool [B] is true.
    """

    current: torch.Tensor
    occupancy: torch.Tensor
    known: torch.Tensor


class Targets(NamedTuple):
    """What a batch is to be like: ``diffusivity`` [B] and ``tensor`` [B, 3, 3] in D*, ``flows``
    if the training has any, and ``progress``, the share of the training that is behind."""

    diffusivity: torch.Tensor
    tensor: torch.Tensor
    flows: Flows | None = None
    progress: float = 1.0


class Learner(nn.Module):
    """A network from inputs to its loss: what is trained, on several ranks or compiled."""

    def __init__(self, network: "Surrogate3D"):
        super().__init__()
        self.network = network

    def forward(self, inputs: Any, targets: Targets) -> torch.Tensor:
        """Each structure's part of the loss [B]."""
        return self.network.training_errors(inputs, targets)


class Surrogate3D(nn.Module):
    """What the networks share: standardised inputs, the head, and the weights they start from."""

    OUTPUT = "D* = exp(log_mean + log_scale f)"
    has_tensor = False  # whether ``mean(output)`` is the tensor of D*
    by_torch_alone = False  # whether torch's operators do all, as where they are counted

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

    def takes_structures(self, device: torch.device) -> bool:
        """Whether ``from_structures`` needs no inputs made before it, which others may share."""
        return False

    def from_structures(
        self,
        sees: "Representation",
        positions: np.ndarray,
        box_length: float,
        diameter: float,
        device: torch.device,
    ) -> Any:
        """What ``forward`` returns of structures [B, N, 3], lengths in voxels, for a prediction."""
        return self(sees.of(positions, box_length, diameter, device))

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Set what a network takes from its training set before the first step.

        ``batches`` are indices of structures with a function that gives their inputs;
        ``diffusivity`` [S] is the D* of all structures.
        """

    def know_solvent(self, conductance: float) -> None:
        """Start from what a cubic sphere diameter of solvent conducts: its D* times its occupancy
        in units of the particles' mean. Before ``calibrate``."""

    def fitted_numbers(self) -> int:
        """How many numbers training has chosen."""
        return sum(parameter.numel() for parameter in self.parameters())

    def learners(self) -> Sequence[nn.Module]:
        """Networks that learn apart from each other: the members of an ensemble, or itself."""
        return [self]

    def diffusivity(self, output: Any) -> torch.Tensor:
        """D* [B] in what ``forward`` returned."""
        return output

    def mean(self, output: Any) -> torch.Tensor:
        """What ``forward`` returned, averaged over the members of an ensemble."""
        return output

    def novelty(self, output: Any) -> torch.Tensor:
        """How unlike the training set structures are to the network [B], in a unit of its own; 0 of
        one that cannot tell."""
        return torch.zeros_like(self.diffusivity(output))

    def settle(self, training: Examples, validation: Examples) -> bool:
        """Fit what is left to fit once the steps of a training are done; whether there was any."""
        return False

    def remember(self, batches: Iterable[Any]) -> None:
        """Take in, once it is trained, what a network needs to tell ``novelty``; ``batches`` are
        inputs as ``forward`` takes them, of the whole training set."""

    def errors(
        self, output: torch.Tensor, diffusivity: torch.Tensor, tensor: torch.Tensor
    ) -> torch.Tensor:
        """Each structure's part [B] of the loss that training lowers: its squared error of D*.

        ``output`` is what ``forward`` returned, or of a ``TensorNetwork`` the tensor in it;
        ``diffusivity`` [B] and ``tensor`` [B, 3, 3] are the labels in D*.
        """
        return (output - diffusivity).square()

    def training_errors(self, inputs: Any, targets: Targets) -> torch.Tensor:
        """Each structure's part [B] of the loss, from inputs as ``forward`` takes them."""
        return self.errors(self(inputs), targets.diffusivity, targets.tensor)

    def _standardised(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs - self.input_mean) / self.input_scale

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights: He et al., ICCV 2015, doi:10.1109/ICCV.2015.123; biases are 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def mean_diagonal(tensor: torch.Tensor) -> torch.Tensor:
    """D* [B] of tensors [B, 3, 3]."""
    return tensor.diagonal(dim1=1, dim2=2).mean(1)


class TensorNetwork(Surrogate3D):
    """A network that predicts the tensor D*_ab, float32 [B, 3, 3]; see ``mean``.

    ``tensor_weight`` is the weight of the tensor's elements in the loss beside their mean. Nothing
    is learned of outputs below ``least_output``.
    """

    has_tensor = True
    least_output = 0.0

    def __init__(self, input_shape: tuple[int, ...], tensor_weight: float):
        super().__init__(input_shape)
        self._tensor_weight = tensor_weight
        self.register_buffer("unit", torch.ones(()))

    def match_mean(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Scale ``unit``, a factor of the output, until the mean of ln D* is that of the labels.

        Of structures that ``conducting`` lets count.
        """
        with torch.no_grad():
            parts = [self.diffusivity(self(inputs())) for _, inputs in batches]
        found = torch.cat(parts).double().cpu().numpy()
        labels = np.concatenate([diffusivity[rows] for rows, _ in batches])
        count = self.conducting(found)
        self.unit.mul_(float(np.exp(np.mean(np.log(labels / found)[count]))))

    def conducting(self, found: np.ndarray) -> np.ndarray:
        """Whether the untrained network sees a way through structures of this D* [S]."""
        return np.ones(len(found), dtype=bool)

    def diffusivity(self, output: Any) -> torch.Tensor:
        return mean_diagonal(self.mean(output))

    def errors(
        self, output: torch.Tensor, diffusivity: torch.Tensor, tensor: torch.Tensor
    ) -> torch.Tensor:
        """Squared error of ln D*, and with the weight of the tensor those of its elements.

        Diagonal elements count by their logarithms, the others over the root of the two diagonal
        elements of their row and column.
        """
        found = mean_diagonal(output).clamp_min(self.least_output)
        mean = (torch.log(found) - torch.log(diffusivity)).square()
        # An element that a walk found to be 0 has no logarithm.
        size = tensor.diagonal(dim1=1, dim2=2).clamp_min(1e-6)
        along = output.diagonal(dim1=1, dim2=2).clamp_min(self.least_output)
        diagonal = torch.log(along) - torch.log(size)
        norm = torch.sqrt(size[:, :, None] * size[:, None, :])
        rows, columns = torch.triu_indices(3, 3, 1)
        mixed = ((output - tensor) / norm)[:, rows, columns]
        parts = diagonal.square().mean(1) + mixed.square().mean(1)
        return mean + self._tensor_weight * parts


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
