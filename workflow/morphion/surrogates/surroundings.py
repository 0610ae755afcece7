"""What particles and pairs learn of their surroundings: layers that networks on pairs share."""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn import functional

from morphion.surrogates.pairs import Graph

_FIRST = 0.97  # centre of the first Gaussian: hardly any pair is closer than contact
_LEAST = -80.0  # of an exponent: exp of much less is no normal float32 and takes ten times longer
_ANGLES = 6  # Chebyshev polynomials of the cosine of a wedge


def gaussian_centres(cutoff: float, count: int) -> torch.Tensor:
    """Centres [count] of Gaussians along the distance of a pair, from contact to the cutoff."""
    return torch.linspace(_FIRST, cutoff, count)


def pair_features(graph: Graph, centres: torch.Tensor) -> torch.Tensor:
    """Gaussians around evenly spaced centres [R] of the distance of all pairs and the cubic
    harmonics of their directions, [E, R + 2]."""
    distance, width = graph.distance[:, None], centres[1] - centres[0]
    exponent = -0.5 * ((distance - centres) / width).square()
    radial = torch.exp(exponent.clamp_min(_LEAST))
    return torch.cat((radial, cubic_harmonics(graph.separation / distance)), 1)


def cubic_harmonics(direction: torch.Tensor) -> torch.Tensor:
    """The invariants of order 4 and 6 of the cube, [E, 2], of unit vectors [E, 3]; mean 0."""
    square = direction.square()
    fourth = square.square().sum(1) - 3 / 5
    sixth = square.prod(1) - 1 / 105 + fourth / 22
    # Scaled to reach 1.
    return torch.stack((fourth * 2.5, sixth * 65), 1)


class Standardised(nn.Module):
    """Features less their mean over their standard deviation, both taken once by ``measure``."""

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.seen: list[torch.Tensor] | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.seen is not None:
            self.seen.append(values)
        return (values - self.mean) / self.scale


def measure(network: nn.Module, batches: Iterable[Callable[[], Graph]]) -> None:
    """Set what each ``Standardised`` of a network subtracts and divides by from some inputs.

    One after the other in the order in which the network declares them, so that each sees what
    those before it leave.
    """
    for module in network.modules():
        if isinstance(module, Standardised):
            module.seen = []
            with torch.no_grad():
                for inputs in batches:
                    network(inputs())
            values, module.seen = torch.cat(module.seen), None
            module.mean.copy_(values.mean(0))
            module.scale.copy_(values.std(0).clamp_min(1e-6))


def both_ends(particle: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """What a pair knows of its particles [BN, C] whichever comes first: [E, 2 C]."""
    one, other = particle.index_select(0, first), particle.index_select(0, second)
    return torch.cat((one + other, one * other), 1)


def gather_ends(
    message: torch.Tensor, first: torch.Tensor, second: torch.Tensor, count: int
) -> torch.Tensor:
    """Sums [count, C] over the pairs of each particle of messages [E, C]."""
    total = message.new_zeros((count, message.shape[1]))
    return total.index_add(0, first, message).index_add(0, second, message)


class Surroundings(nn.Module):
    """What a near pair learns of its surroundings: sums over the pairs of its two particles, and
    over the wedges it forms with them."""

    def __init__(self, features: int, channels: int, neurons: int):
        super().__init__()
        self.to_wedge = nn.Linear(features, channels, bias=False)
        self.angle = nn.Linear(_ANGLES, channels, bias=False)
        self.standardised = Standardised(3 * channels)
        self.hidden = nn.Linear(features + 3 * channels, neurons)
        self.out = nn.Linear(neurons, neurons)

    def forward(
        self,
        graph: Graph,
        features: torch.Tensor,
        particle: torch.Tensor,
        switch: torch.Tensor,
        angles: torch.Tensor,
    ) -> torch.Tensor:
        """Features [M, neurons] of near pairs from their features before and the particles'."""
        first, second = graph.first[graph.near], graph.second[graph.near]
        sources = (switch * self.to_wedge(features)).index_select(0, graph.source)
        wedge = sources * self.angle(angles)
        wedges = wedge.new_zeros((len(features), wedge.shape[1]))
        wedges = wedges.index_add(0, graph.target, wedge)
        around = torch.cat((both_ends(particle, first, second), wedges), 1)
        joined = torch.cat((features, self.standardised(around)), 1)
        hidden = functional.silu(self.hidden(joined))
        return hidden + functional.silu(self.out(hidden))


def switch_off(share: torch.Tensor) -> torch.Tensor:
    """Falls smoothly from 1 at distance 0 to 0 at the cutoff."""
    return 0.5 * (1 + torch.cos(torch.pi * share))


def chebyshev(cosine: torch.Tensor) -> torch.Tensor:
    """Chebyshev polynomials T_0 ... of the cosine [W], [W, _ANGLES]."""
    order = torch.arange(_ANGLES, device=cosine.device)
    return torch.cos(torch.acos(cosine.clamp(-1, 1))[:, None] * order)
