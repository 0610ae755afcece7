"""The graph network: messages between neighbouring particles, round after round.

Along each axis of the box a particle i carries numbers that a reflection of the axis keeps, u_ia
[C], and numbers whose sign it turns, v_ia [C] (vectors, as in Schuett, Unke, Gastegger, ICML 2021,
arXiv:2102.03150). A pair's surroundings open the gates for what it passes on in a round:

    du_ia = sum_j A_ija p(u_ja),   dv_ia = sum_j (B_ija v_ja + n_ija C_ija q(u_ja))
    u_ia, v_ia <- update of u_ia, products of v_ia, and the means of u over axes and particles
    D*_aa = exp(m + s f(mean over i of h(u_ia, v_ia^2, mean over axes of u)))

with n_ij the direction from particle i to j and gates (A, B, C)_ija = G e_ij + P_2(n_ija) H e_ij of
the pair's embedding e_ij. The v can carry what potentials carry in a resistor network; the means
over particles tell each of the whole structure. All axes share all weights, so that D* is exactly
invariant to translations, numberings and the symmetries of the cube, and lengths come in sphere
diameters.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from morphion.config.surrogates import GraphNetwork
from morphion.surrogates.networks import Batch, Surrogate3D
from morphion.surrogates.pairs import Graph
from morphion.surrogates.surroundings import (
    Standardised,
    Surroundings,
    chebyshev,
    gather_ends,
    gaussian_centres,
    measure,
    pair_features,
    switch_off,
)

# Messages are small against what a particle carries before anything is learned.
_FIRST_WEIGHT = 0.3
_EVERY = 4  # of the batches a network is calibrated on, for its own scales


class _Ways(NamedTuple):
    """Near pairs as messages see them, each in both directions.

    ``target``, ``source`` int64 [2 M], ``direction`` [2 M, 3, 1] from target to source; ``along``
    [M, 3, 1] the Legendre polynomial P_2 of its components; ``embedding`` [M, K], ``switch``
    [M, 1]; ``particles`` of a structure.
    """

    target: torch.Tensor
    source: torch.Tensor
    direction: torch.Tensor
    along: torch.Tensor
    embedding: torch.Tensor
    switch: torch.Tensor
    particles: int


class _Round(nn.Module):
    """Messages and update of one round, on u and v [B * N, 3, C]."""

    def __init__(self, embedding: int, channels: int):
        super().__init__()
        self.gate = nn.Linear(embedding, 6 * channels)
        self.before = nn.LayerNorm(channels)
        self.speak = nn.Linear(channels, 2 * channels)
        self.mix = nn.Linear(channels, 2 * channels, bias=False)
        self.after = nn.LayerNorm(channels)
        self.update = nn.Linear(5 * channels, 2 * channels)
        self.out = nn.Linear(2 * channels, 2 * channels)

    def forward(
        self, ways: _Ways, even: torch.Tensor, odd: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        heard_even, heard_odd = self._messages(ways, even, odd)
        even, odd = even + heard_even, odd + heard_odd
        one, other = self.mix(_bounded(odd)).chunk(2, 2)
        normed = self.after(even)
        axes = normed.mean(1, keepdim=True).expand_as(normed)
        whole = normed.unflatten(0, (-1, ways.particles)).mean(1, keepdim=True)
        whole = whole.expand(-1, ways.particles, -1, -1).reshape_as(normed)
        joined = torch.cat((normed, one * other, other.square(), axes, whole), 2)
        step, turn = self.out(functional.silu(self.update(joined))).chunk(2, 2)
        return even + step, odd + turn * one

    def _messages(
        self, ways: _Ways, even: torch.Tensor, odd: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each particle hears from its neighbours, even and odd."""
        plain, along = (ways.switch * self.gate(ways.embedding))[:, None].chunk(2, 2)
        gate = (plain + ways.along * along).repeat(2, 1, 1)
        keep, carry, push = gate.chunk(3, 2)
        spoken = functional.silu(self.speak(self.before(even))).index_select(0, ways.source)
        said, pushed = spoken.chunk(2, 2)
        carried = _bounded(odd).index_select(0, ways.source)
        message = torch.cat((keep * said, carry * carried + ways.direction * push * pushed), 2)
        total = message.new_zeros((len(even), *message.shape[1:]))
        return total.index_add(0, ways.target, message).chunk(2, 2)


class Messages(Surrogate3D):
    """Messages between particles, D* along each axis from all of them; see the module."""

    OUTPUT = "D*_aa = exp(log_mean + log_scale f_a)"

    def __init__(self, block: GraphNetwork):
        super().__init__(())
        self._near, self._far = block.near, block.cutoff
        self._axes_weight = block.axes_weight
        self.register_buffer("centres", gaussian_centres(block.cutoff, block.radial))
        features, channels, neurons = block.radial + 2, block.channels, block.neurons
        self.to_particle = nn.Linear(features, 2 * channels, bias=False)
        self.particle = Standardised(channels)
        self.surroundings = Surroundings(features, channels, neurons)
        self.embedding = nn.LayerNorm(neurons)
        self.rounds = nn.ModuleList(_Round(neurons, channels) for _ in range(block.rounds))
        self.last = nn.LayerNorm(channels)
        self.local = nn.Linear(3 * channels, neurons)
        self.pooled = Standardised(neurons)
        self.linear = nn.Linear(neurons, 1)
        self.hidden = nn.Linear(neurons, neurons)
        self.head = nn.Linear(neurons, 1)

    def initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for round_ in self.rounds:
                round_.gate.weight.mul_(_FIRST_WEIGHT)
                round_.out.weight.mul_(_FIRST_WEIGHT)
        for layer in (self.linear, self.head):
            nn.init.zeros_(layer.weight)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Measure once what the layers see."""
        measure(self, [inputs for _, inputs in batches[::_EVERY]])

    def forward(self, graph: Graph) -> torch.Tensor:
        """D*_aa of a batch, float32 [B, 3]."""
        even, ways = self._start(graph)
        odd = torch.zeros_like(even)
        for round_ in self.rounds:
            even, odd = round_(ways, even, odd)
        even = self.last(even)
        axes = even.mean(1, keepdim=True).expand_as(even)
        local = functional.silu(self.local(torch.cat((even, _bounded(odd).square(), axes), 2)))
        mean = local.unflatten(0, (-1, ways.particles)).mean(1)
        mean = self.pooled(mean.flatten(0, 1)).view_as(mean)
        raw = self.linear(mean) + self.head(functional.silu(self.hidden(mean)))
        return torch.exp(self.log_mean + self.log_scale * raw[:, :, 0])

    def diffusivity(self, output: torch.Tensor) -> torch.Tensor:
        return output.mean(1)

    def errors(
        self, output: torch.Tensor, diffusivity: torch.Tensor, tensor: torch.Tensor
    ) -> torch.Tensor:
        """Squared error of ln D*, and with the weight of the axes the mean of those of ln D*_aa."""
        mean = (torch.log(output.mean(1)) - torch.log(diffusivity)).square()
        # An element that a walk found to be 0 has no logarithm.
        labels = torch.log(tensor.diagonal(dim1=1, dim2=2).clamp_min(1e-6))
        return mean + self._axes_weight * (torch.log(output) - labels).square().mean(1)

    def _start(self, graph: Graph) -> tuple[torch.Tensor, _Ways]:
        """u [B * N, 3, C] from the pairs of each particle, and the ways of the messages."""
        structures, particles = graph.shape
        distance, near = graph.distance[:, None], graph.near
        direction = (graph.separation / distance)[:, :, None]
        legendre = 1.5 * direction.square() - 0.5
        features = pair_features(graph, self.centres)
        message = (switch_off(distance / self._far) * self.to_particle(features))[:, None]
        plain, along = message.chunk(2, 2)
        message = plain + legendre * along
        gathered = gather_ends(
            message.flatten(1), graph.first, graph.second, structures * particles
        ).unflatten(1, (3, -1))
        even = self.particle(gathered.flatten(0, 1)).view_as(gathered)
        switch = switch_off(distance[near] / self._near)
        angles = chebyshev(graph.cosine)
        embedding = self.surroundings(graph, features[near], even.mean(1), switch, angles)
        first, second, direction = graph.first[near], graph.second[near], direction[near]
        ways = _Ways(
            torch.cat((first, second)),
            torch.cat((second, first)),
            torch.cat((-direction, direction)),
            legendre[near],
            self.embedding(embedding),
            switch,
            particles,
        )
        return even, ways


def _bounded(odd: torch.Tensor) -> torch.Tensor:
    """v [B * N, 3, C] of at most unit size, so that rounds cannot blow it up."""
    return odd / torch.sqrt(1 + odd.square().mean((1, 2), keepdim=True))
