"""The resistor network: particles as nodes, Kirchhoff's laws between them.

Nearly all cations live in the ligand shells and cross from one to the next, so that a structure is
a network of conductances g_ij between particles. They and the occupancies z_i of the particles are
learned functions of the surroundings; conduction is physics. Lengths are in sphere diameters.

    sum_j g_ij (phi^a_i - phi^a_j + d_ij,a) = 0          Kirchhoff, unit field along axis a
    K_ab = sum_(i<j) g_ij (d_ij,a + phi^a_i - phi^a_j)(d_ij,b + phi^b_i - phi^b_j)
    g_ij = A_ij l_ij + k_0 B_ij m_ij
    D*_ab = (K_ab + k_0 S_ab) / sum_i z_i
    S_ab = V delta_ab - sum_(i<j) (A_ij / |d_ij| + B_ij) d_ij,a d_ij,b

with d_ij the minimum-image x_i - x_j and V the volume. All that flows from one particle to another
crosses the facet between their cells (``morphion.surrogates.facets``), and pairs without one
conduct nothing. A_ij is its area within reach of both, and what conducts there, l_ij, is learned;
B_ij |d_ij| is its area beyond, where there is solvent of conductivity k_0, and m_ij what the shells
make of that. With the facets of all pairs nothing would be left beside them: in a homogeneous
medium l_ij is k_0 / |d_ij| and m_ij is 1, all potentials are 0 (Gauss's theorem), and K_ab is
k_0 V delta_ab. Pairs farther apart than the cutoff leave a few hundredths, where solvent conducts
k_0 in parallel. The structure enters through distances, facets and d_ij alone, so that D*_ab is
exactly invariant to translations and numberings. The lattice of the labels distinguishes
directions: l_ij also sees the two lowest cubic harmonics of d_ij, which no symmetry of the cube
changes.

A label is one tensor, but the exact solution also knows the current between any two particles and
the occupancy of each. Where a data set has them, a training begins with a loss on g_ij (d_ij,a +
phi^a_i - phi^a_j) and z_i as well, so that local laws are learned from local facts; no network of
pairs can meet all currents, and it ends with D*, the tensor and the occupancies. Where shells of
several particles overlap their cations add up, which is how z_i grows beyond its mean, 1.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numba import get_num_threads
from torch import nn
from torch.nn import functional

from morphion.config.surrogates import ResistorNetwork
from morphion.errors import DeviceError, SurrogateError
from morphion.gpu import CudaDevice, choose
from morphion.progress import log
from morphion.surrogates.kirchhoff import GROUND, dissipation, fields
from morphion.surrogates.leverage import familiar_with, leverage
from morphion.surrogates.local_errors import current_errors, occupancy_errors
from morphion.surrogates.networks import Batch, Targets, TensorNetwork
from morphion.surrogates.pairs import Graph
from morphion.surrogates.resistor_cpu import sums
from morphion.surrogates.resistor_gpu import OnDevice, fits
from morphion.surrogates.resistor_weights import Constants, Prepared, Sums, weights_of
from morphion.surrogates.settling import Examples, Told, settle
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
from morphion.threads import in_parts

if TYPE_CHECKING:
    from morphion.surrogates.representations import PairGraphs

# Conductance over area falls with distance before anything is learned: e-fold each fifth of a
# diameter, as far as ligand shells may meet; beyond there is solvent alone.
_DECAY, _SHELLS_END = 5.0, 1.8
# ln k_0 of a network that is told nothing of its solvent, before anything is learned.
_BEYOND = -5.5
# ln k_0 where the solvent has no share: D* of a structure without a way through has a logarithm.
_NO_SOLVENT = -28.0
# Of a logarithm. A network that has hardly begun to learn may find a surroundings so unusual that
# single precision has no number for its guess, and one such particle would end the training.
_MOST = 30.0
_NOTHING = 1e-6  # of D*: as good as none
_FEW = 0.01  # of the structures, that may have no way through
_SMALL_FACET = 0.02  # square diameters; the network need not tell smaller ones apart


class Flow(NamedTuple):
    """``tensor`` D*_ab [B, 3, 3], ``current`` [E, 3] of all pairs in D*, ``occupancy`` [B, N].

    And what sensitivities are made of: the ``power`` [B, 3, 3] as of ``Sums``, what each pair
    ``dissipated`` [E] in the three unit fields together, and what the layer ``occupancy`` has
    ``seen`` of each particle [B, N, neurons].
    """

    tensor: torch.Tensor
    current: torch.Tensor
    occupancy: torch.Tensor
    power: torch.Tensor
    dissipated: torch.Tensor
    seen: torch.Tensor


class Predicted(NamedTuple):
    """``tensor`` D*_ab [B, 3, 3] and ``novelty`` [B]."""

    tensor: torch.Tensor
    novelty: torch.Tensor


def device_of_kernels(device: torch.device) -> CudaDevice | None:
    """Where kernels run if torch's device is a GPU; None without CuPy."""
    if device.type != "cuda":
        return None
    return _gpu(torch.cuda.current_device() if device.index is None else device.index)


@functools.cache
def _gpu(index: int) -> CudaDevice | None:
    try:
        return choose("gpu", index)
    except DeviceError as error:
        log(f"resistor networks predict by torch's operators, slowly: {error}")
        return None


class Resistors(TensorNetwork):
    """Conductances from the surroundings, D* from Kirchhoff's laws; see the module."""

    OUTPUT = "D*_ab = (K_ab + k_0 S_ab) / sum_i z_i"

    def __init__(self, block: ResistorNetwork):
        super().__init__((), block.tensor_weight)
        self._near, self._solvent = block.near, block.solvent
        self.least_output = 0.0 if block.solvent else _NOTHING
        self._far = block.cutoff
        self._compiled: Prepared | None = None
        self._on_device: OnDevice | None = None
        self._current_weight, self._current_share = block.current_weight, block.current_share
        self._occupancy_weight = block.occupancy_weight
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
        self.facet = Standardised(2)
        self.far_hidden = nn.Linear(features + 2 + 2 * channels, neurons // 2)
        self.far = nn.Linear(neurons // 2, 1)
        self.beside = nn.Linear(neurons // 2, 1)
        self.conductance = nn.Linear(neurons, 1)
        around = (block.rounds + 1) * channels
        self.around = Standardised(around)
        self.occupancy_hidden = nn.Linear(around, neurons)
        self.occupancy = nn.Linear(neurons, 1)
        sensitivities = block.radial + neurons + 1
        self.register_buffer("familiar", torch.zeros(sensitivities, sensitivities))
        if block.solvent:
            self.conductivity = nn.Parameter(torch.tensor(_BEYOND))  # ln k_0

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is None:
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
        for layer in (self.pair, self.far, self.beside, self.conductance, self.occupancy):
            nn.init.zeros_(layer.weight)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        """Measure the features once and let the untrained network predict the right mean."""
        measure(self, [batches[0][1]])
        self.match_mean(batches, diffusivity)
        if self._solvent:
            with torch.no_grad():  # D* is ``unit`` times what conducts
                self.conductivity -= torch.log(self.unit)

    def know_solvent(self, conductance: float) -> None:
        if self._solvent:
            with torch.no_grad():
                self.conductivity.fill_(math.log(conductance))

    def conducting(self, found: np.ndarray) -> np.ndarray:
        """Those with a way through; raises SurrogateError if more than a few have none."""
        conducts = found > self.least_output * found.max()
        if (without := 1 - conducts.mean()) > _FEW:
            raise SurrogateError(
                f"{100 * without:.0f} % of the training's structures have no way through that the "
                "network sees, so that it would learn nothing of them: raise cutoff, or leave "
                "out solvent: false"
            )
        return conducts

    def forward(self, graph: Graph) -> Predicted:
        """D*_ab of a batch, and how new its structures are."""
        predicts = not (self.training or self.by_torch_alone or torch.is_grad_enabled())
        if predicts and graph.first.device.type == "cpu":
            return Predicted(*self._prepared().output(self._on_cores(graph), graph.volume))
        flow, novelty = self.flow(graph), torch.zeros(graph.shape[0], dtype=torch.float64)
        if not self.training and (familiar := self._prepared().familiar).any():
            novelty = torch.from_numpy(leverage(self._sensitivities(graph, flow), familiar))
        return Predicted(flow.tensor, novelty)

    def mean(self, output: Predicted) -> torch.Tensor:
        return output.tensor

    def novelty(self, output: Predicted) -> torch.Tensor:
        """The leverage of structures (``morphion.surrogates.leverage``)."""
        return output.novelty

    def settle(self, training: Examples, validation: Examples) -> bool:
        """Fit the weights that sensitivities are of to D* alone, where that helps notably."""
        layers = (self.pair.weight, self.occupancy.weight, self.occupancy.bias)
        ends = np.cumsum([layer.numel() for layer in layers])[:-1]

        def told_with(weights: np.ndarray, examples: Examples) -> Told:
            put(weights)
            found = [self._told(graph) for graph in examples.batches()]
            predicted, sensitivities = map(np.concatenate, zip(*found, strict=True))
            none = predicted <= self.least_output * predicted.max()
            error = np.log(examples.diffusivity / np.where(none, examples.diffusivity, predicted))
            return Told(error, sensitivities)

        def put(weights: np.ndarray) -> None:
            with torch.no_grad():
                for layer, part in zip(layers, np.split(weights, ends), strict=True):
                    layer.copy_(torch.from_numpy(part).view_as(layer))
            self.eval()  # what loops and kernels take is found again

        given = np.concatenate([_numbers(layer).ravel() for layer in layers]).astype(np.float64)
        settled = settle(given, told_with, training, validation)
        put(settled)
        return settled is not given

    def _told(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """D* of structures, float64 [B], and its sensitivities."""
        with torch.inference_mode():
            on_cores, prepared = graph.first.device.type == "cpu", self._prepared()
            found = self._on_cores(graph) if on_cores else self._sums(graph, self.flow(graph))
        tensor = prepared.tensor(found, graph.volume)
        return np.trace(tensor, axis1=1, axis2=2) / 3, prepared.sensitivities(found, graph.volume)

    def remember(self, batches: Iterable[Graph]) -> None:
        """Become familiar with the sensitivities of the training set."""
        self.eval()
        known = familiar_with(np.concatenate([self._told(graph)[1] for graph in batches]))
        self.familiar.copy_(torch.from_numpy(known))
        self.eval()

    def _sensitivities(self, graph: Graph, flow: Flow) -> np.ndarray:
        return self._sums(graph, flow).sensitivities(graph.volume, self._k_0())

    def _sums(self, graph: Graph, flow: Flow) -> Sums:
        """What predictions are made of, by torch's operators."""
        with torch.no_grad():
            radial = pair_features(graph, self.centres)[:, : len(self.centres)].double()
            pairs = radial.new_zeros((graph.shape[0], len(self.centres)))
            pairs.index_add_(0, graph.structure, flow.dissipated.double()[:, None] * radial)
            occupancy = flow.occupancy.double()
            slope = occupancy.clamp_max(1)  # of an occupancy by what its layer gives
            particles = (slope[:, :, None] * flow.seen.double()).sum(1)
            particles = torch.cat((particles, slope.sum(1, keepdim=True)), 1)
            parts = (flow.power.double(), occupancy.sum(1), pairs, particles)
            return Sums(*map(_numbers, parts))

    def _k_0(self) -> float:
        return math.exp(self.conductivity.detach() if self._solvent else _NO_SOLVENT)

    def takes_structures(self, device: torch.device) -> bool:
        """Where there are kernels, and they have room for every layer."""
        if self.by_torch_alone or device_of_kernels(device) is None:
            return False
        return fits(self._prepared().weights)

    def from_structures(
        self,
        sees: "PairGraphs",
        positions: np.ndarray,
        box_length: float,
        diameter: float,
        device: torch.device,
    ) -> Predicted:
        """As of all networks; on a GPU by kernels that find the pairs as well, left on the host."""
        lengths = (box_length, diameter)
        if not self.takes_structures(device):
            return super().from_structures(sees, positions, *lengths, device)
        prepared, kernels = self._prepared(), self._kernels_on(device)
        enlarged, edge = sees.enlarged(positions, *lengths)
        if not kernels.holds(enlarged.shape[1]):
            by_torch = super().from_structures(sees, positions, *lengths, device)
            return Predicted(*(part.cpu() for part in by_torch))
        box = edge / diameter
        centres = np.asarray(enlarged, dtype=np.float64) / diameter
        return Predicted(*prepared.output(kernels.sums(centres, box), box**3))

    def _kernels_on(self, device: torch.device) -> OnDevice:
        """Weights on a GPU, the last one or another."""
        gpu = device_of_kernels(device)
        if self._on_device is None or self._on_device.device is not gpu:
            self._on_device = OnDevice(gpu, *self._prepared()[:2], self._far)
        return self._on_device

    def flow(self, graph: Graph) -> Flow:
        """D*_ab of a batch, and how the current flows."""
        structures, particles = graph.shape
        conductance, beside, around = self._conductance(graph, structures * particles)
        k_0 = torch.exp(self.conductivity) if self._solvent else math.exp(_NO_SOLVENT)
        through = conductance + k_0 * beside
        field = fields(graph, through)
        power = dissipation(graph, through, field) - k_0 * _of_facets(graph)
        hidden = functional.silu(self.occupancy_hidden(self.around(around)))
        occupancy = (1 + functional.elu(self.occupancy(hidden))).view(structures, particles)
        unit = self.unit / occupancy.sum(1)
        beside = graph.volume * k_0 * torch.eye(3, device=power.device)
        tensor = unit[:, None, None] * (power + beside)
        current = (unit[graph.structure] * through)[:, None] * field
        dissipated = conductance * field.square().sum(1)
        seen = hidden.view(structures, particles, -1)
        return Flow(tensor, current, occupancy, power, dissipated, seen)

    def _on_cores(self, graph: Graph) -> Sums:
        """What predictions are made of, by compiled loops."""
        structures, particles = graph.shape
        start = np.searchsorted(graph.structure.numpy(), np.arange(structures + 1))
        first, second = (end.numpy() % particles for end in (graph.first, graph.second))
        pairs = first, second, graph.separation.numpy(), graph.facet.numpy(), graph.beside.numpy()
        network = self._prepared()[:2]
        found = Sums.empty(structures, network[0])

        def fill(low: int, high: int) -> None:
            for one in range(low, high):
                mine = tuple(part[start[one] : start[one + 1]] for part in pairs)
                for whole, part in zip(found, sums(mine, particles, *network), strict=True):
                    whole[one] = part

        in_parts(fill, structures, get_num_threads())
        return found

    def train(self, mode: bool = True) -> "Resistors":
        """As of all modules; weights may change until ``eval`` is called again."""
        self._compiled = self._on_device = None
        return super().train(mode)

    def _prepared(self) -> Prepared:
        """What loops and kernels take of the network, found once after each ``eval``."""
        if self._compiled is None:
            layers = (self.far, self.beside, self.conductance, self.occupancy)
            biases = (float(layer.bias) for layer in layers)
            constants = (_DECAY, _SHELLS_END, _SMALL_FACET, GROUND, self._k_0())
            self._compiled = Prepared(
                weights_of(self),
                Constants(self._near, *biases, *constants),
                float(self.unit),
                _numbers(self.familiar),
            )
        return self._compiled

    def training_errors(self, inputs: Graph, targets: Targets) -> torch.Tensor:
        """Errors of D* and the tensor, and those of currents and occupancies where known."""
        flow = self.flow(inputs)
        errors = self.errors(flow.tensor, targets.diffusivity, targets.tensor)
        if targets.flows is None:
            return errors
        local = self._occupancy_weight * occupancy_errors(flow.occupancy, targets.flows.occupancy)
        if self._current_weight and targets.progress < self._current_share:
            local = local + self._current_weight * current_errors(
                inputs, flow.current, targets.flows.current
            )
        return errors + torch.where(targets.flows.known, local, 0)

    def _conductance(self, graph: Graph, count: int) -> tuple[torch.Tensor, ...]:
        """g of all pairs [E], that of the solvent beside them over k_0 [E], and what particles know
        of their surroundings [count, C]."""
        distance, facet = graph.distance[:, None], graph.facet[:, None]
        features = pair_features(graph, self.centres)
        radial = features[:, : len(self.centres)]
        message = facet * self.to_particle(features)
        particle = gather_ends(message, graph.first, graph.second, count)
        ends = self.ends(both_ends(particle, graph.first, graph.second))
        size = self.facet(torch.cat((facet, torch.log(facet + _SMALL_FACET)), 1))
        hidden = functional.silu(self.far_hidden(torch.cat((features, size, ends), 1)))
        logarithm = self.pair(radial) + self.far(hidden) - torch.log(distance)
        logarithm = logarithm - _DECAY * (distance.clamp_max(_SHELLS_END) - 1)
        beside = graph.beside * torch.exp(self.beside(hidden)[:, 0].clamp_max(_MOST))
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
        conductance = (facet * torch.exp(logarithm.clamp_max(_MOST)))[:, 0]
        return conductance, beside, torch.cat(around, 1)


def _of_facets(graph: Graph) -> torch.Tensor:
    """K_ab [B, 3, 3] of a medium of conductivity 1, were there nothing beyond the facets."""
    return dissipation(graph, graph.facet / graph.distance + graph.beside, graph.separation)


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
