"""The resistor network: particles as nodes, Kirchhoff's laws between them.

Nearly all cations live in the ligand shells and cross from one to the next, so that a structure is
a network of conductances g_ij between particles. They and the occupancies z_i of the particles are
learned functions of the surroundings; conduction is physics. Lengths are in sphere diameters.

    sum_j g_ij (phi^a_i - phi^a_j + d_ij,a) = 0          Kirchhoff, unit field along axis a
    K_ab = sum_(i<j) g_ij (d_ij,a + phi^a_i - phi^a_j)(d_ij,b + phi^b_i - phi^b_j)
    D*_ab = (K_ab + V k_0 delta_ab) / (sum_i z_i + V z_0)

with d_ij the minimum-image x_i - x_j, V the volume, k_0 and z_0 the solvent's share. The structure
enters through distances and through d_ij alone, so that D*_ab is exactly invariant to translations
and numberings. The lattice of the labels distinguishes directions: g_ij also sees the two lowest
cubic harmonics of d_ij, which no symmetry of the cube changes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from morphion.config.surrogates import ResistorNetwork
from morphion.surrogates.networks import Batch, TensorNetwork
from morphion.surrogates.pairs import Graph
from morphion.surrogates.surroundings import (
    Standardised,
    Surroundings,
    both_ends,
    chebyshev,
    gather_ends,
    gaussian_centres,
    measure,
    pair_features,
    switch_off,
)

# Conductance falls with distance before anything is learned: e-fold each fifth of a diameter.
_DECAY = 5.0
# A particle without any neighbour leaves the Laplacian singular; this share of its mean diagonal
# lies far above rounding in float64 and far below any conductance that matters.
_GROUND = 1e-9


def potentials(graph: Graph, conductance: torch.Tensor) -> torch.Tensor:
    """Potentials float64 [B * N, 3] for unit fields along the axes: Kirchhoff's equations."""
    structures, particles = graph.shape.tolist()
    matrix = conductance.new_zeros((structures, particles, particles), dtype=torch.float64)
    first, second = graph.first % particles, graph.second % particles
    conductance = conductance.double()
    matrix[graph.structure, first, second] = -conductance
    matrix[graph.structure, second, first] = -conductance
    diagonal = -matrix.sum(2)
    drive = conductance[:, None] * graph.separation.double()
    load = drive.new_zeros((structures * particles, 3))
    load.index_add_(0, graph.first, -drive).index_add_(0, graph.second, drive)
    # Where no two particles meet there is nothing to solve, and the potentials are 0.
    mean = diagonal.mean(1, keepdim=True).clamp_min(1e-30)
    torch.diagonal(matrix, dim1=1, dim2=2).add_(diagonal + _GROUND * mean)
    # Fixes the mean of the potentials, which Kirchhoff leaves free.
    matrix += (mean / particles)[:, :, None]
    factor = torch.linalg.cholesky(matrix)
    return torch.cholesky_solve(load.view(structures, particles, 3), factor).flatten(0, 1)


def dissipation(graph: Graph, conductance: torch.Tensor) -> torch.Tensor:
    """K_ab [B, 3, 3], the power dissipated in unit fields, differentiable.

    Kirchhoff's potentials make the power stationary, so that its derivatives are those at constant
    potentials: they need no second, adjoint solve.
    """
    with torch.no_grad():
        phi = potentials(graph, conductance)
        drop = (phi[graph.first] - phi[graph.second]).to(conductance.dtype)
    field = graph.separation.to(conductance.dtype) + drop
    power = conductance[:, None, None] * field[:, :, None] * field[:, None, :]
    total = power.new_zeros((int(graph.shape[0]), 3, 3))
    return total.index_add(0, graph.structure, power)


class Resistors(TensorNetwork):
    """Conductances from the surroundings, D* from Kirchhoff's laws; see the module."""

    OUTPUT = "D*_ab = (K_ab + V k_0 delta_ab) / (sum_i z_i + V z_0)"

    def __init__(self, block: ResistorNetwork):
        super().__init__((), block.tensor_weight)
        self._near, self._far = block.near, block.cutoff
        self.register_buffer("centres", gaussian_centres(block.cutoff, block.radial))
        features, channels, neurons = block.radial + 2, block.channels, block.neurons
        self.to_particle = nn.Linear(features, channels, bias=False)
        self.rounds = nn.ModuleList(
            Surroundings(features if k == 0 else neurons, channels, neurons)
            for k in range(block.rounds)
        )
        self.messages = nn.ModuleList(
            nn.Linear(neurons, channels, bias=False) for _ in range(block.rounds)
        )
        self.pair = nn.Linear(block.radial, 1, bias=False)
        self.ends = Standardised(2 * channels)
        self.far_hidden = nn.Linear(features + 2 * channels, neurons // 2)
        self.far = nn.Linear(neurons // 2, 1)
        self.conductance = nn.Linear(neurons, 1)
        around = (block.rounds + 1) * channels
        self.around = Standardised(around)
        self.occupancy_hidden = nn.Linear(around, neurons)
        self.occupancy = nn.Linear(neurons, 1)
        # Logarithms of k_0 and z_0.
        self.solvent = nn.Parameter(torch.tensor([-6.0, -6.0]))

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is None:
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
        for layer in (self.pair, self.far, self.conductance, self.occupancy):
            nn.init.zeros_(layer.weight)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Measure the features once and let the untrained network predict the right mean."""
        measure(self, [batches[0][1]])
        self.match_mean(batches, diffusivity)

    def forward(self, graph: Graph) -> torch.Tensor:
        """D*_ab of a batch, float32 [B, 3, 3]."""
        structures, particles = graph.shape.tolist()
        conductance, around = self._conductance(graph, structures * particles)
        power = dissipation(graph, conductance)
        hidden = functional.silu(self.occupancy_hidden(self.around(around)))
        occupancy = torch.exp(self.occupancy(hidden)).view(structures, particles).sum(1)
        k_0, z_0 = graph.volume * torch.exp(self.solvent)
        numerator = power + k_0 * torch.eye(3, device=power.device)
        return self.unit * numerator / (occupancy + z_0)[:, None, None]

    def _conductance(self, graph: Graph, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """g of all pairs [E], and what particles know of their surroundings [count, C]."""
        distance = graph.distance[:, None]
        features = pair_features(graph, self.centres)
        radial = features[:, : len(self.centres)]
        switch = switch_off(distance / self._far)
        message = switch * self.to_particle(features)
        particle = gather_ends(message, graph.first, graph.second, count)
        ends = self.ends(both_ends(particle, graph.first, graph.second))
        hidden = functional.silu(self.far_hidden(torch.cat((features, ends), 1)))
        logarithm = self.pair(radial) + self.far(hidden) - _DECAY * (distance - 1)
        near, around = graph.near, [particle]
        near_switch = switch_off(distance[near] / self._near)
        near_features = features.index_select(0, near)
        angles = chebyshev(graph.cosine)
        for round_, to_particle in zip(self.rounds, self.messages, strict=True):
            near_features = round_(graph, near_features, particle, near_switch, angles)
            message = near_switch * to_particle(near_features)
            particle = gather_ends(message, graph.first[near], graph.second[near], count)
            around.append(particle)
        correction = near_switch * self.conductance(near_features)
        logarithm = logarithm.index_add(0, near, correction)
        return (switch * torch.exp(logarithm))[:, 0], torch.cat(around, 1)
