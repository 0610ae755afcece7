"""Weights of a resistor network as plain arrays, for compiled loops and kernels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from morphion.surrogates.leverage import leverage
from morphion.surrogates.surroundings import Standardised


class Weights(NamedTuple):
    """All weights, float32: matrices [inputs, outputs], vectors [outputs]. Means and scales
    standardise.

    From ``to_wedge`` on, those of all rounds, one after the other: the first knows features, fewer
    or more than what the others know, and the smaller of their matrices ends in rows of 0.
    """

    centres: np.ndarray
    to_particle: np.ndarray
    ends_mean: np.ndarray
    ends_scale: np.ndarray
    facet_mean: np.ndarray
    facet_scale: np.ndarray
    far_hidden: np.ndarray
    far_bias: np.ndarray
    far: np.ndarray
    beside: np.ndarray
    pair: np.ndarray
    conductance: np.ndarray
    around_mean: np.ndarray
    around_scale: np.ndarray
    occupancy_hidden: np.ndarray
    occupancy_bias: np.ndarray
    occupancy: np.ndarray
    to_wedge: np.ndarray
    angle: np.ndarray
    seen_mean: np.ndarray
    seen_scale: np.ndarray
    hidden_known: np.ndarray
    hidden_seen: np.ndarray
    hidden_bias: np.ndarray
    out: np.ndarray
    out_bias: np.ndarray
    from_pair: np.ndarray


class Constants(NamedTuple):
    """Numbers of the network: the ``near`` cutoff, the biases of its outputs, and how conductance
    falls with distance before anything is learned; ``conductivity`` is k_0, that of the solvent."""

    near: float
    far_bias: float
    beside_bias: float
    conductance_bias: float
    occupancy_bias: float
    decay: float
    shells_end: float
    small_facet: float
    ground: float
    conductivity: float


class Sums(NamedTuple):
    """What predictions are made of: sums over the pairs and particles of structures, float64.

    ``power`` [B, 3, 3] : K_ab + k_0 S_ab - V k_0 delta_ab, what pairs and the space beside them
    dissipate in unit fields beyond what solvent everywhere would
    ``occupancy`` [B] : of all particles
    ``pairs`` [B, R] : Gaussians of the distances, weighed by each pair's power in all three fields
    ``particles`` [B, neurons + 1] : derivatives of the occupancies by the weights and the bias of
    the layer ``occupancy``: what it takes in times min(z_i, 1)
    """

    power: np.ndarray
    occupancy: np.ndarray
    pairs: np.ndarray
    particles: np.ndarray

    @classmethod
    def empty(cls, structures: int, weights: Weights) -> "Sums":
        """To be filled."""
        radial, neurons = len(weights.pair), len(weights.occupancy)
        shapes = ((3, 3), (), (radial,), (neurons + 1,))
        return cls(*(np.empty((structures, *shape)) for shape in shapes))

    def sensitivities(self, volume: float, conductivity: float) -> np.ndarray:
        """Derivatives of ln D* [B, R + neurons + 1] with respect to the weights of the Gaussians in
        ln g_ij, those of the layer ``occupancy``, and its bias; ``conductivity`` is k_0.

        The potentials make the power stationary, so that ln g_ij counts by the pair's share of it.
        """
        trace = np.trace(self.power, axis1=1, axis2=2)
        conducted = (trace + 3 * volume * conductivity)[:, None]
        parts = (self.pairs / conducted, -self.particles / self.occupancy[:, None])
        return np.concatenate(parts, axis=1)


class Prepared(NamedTuple):
    """All that loops and kernels take of a network; ``unit`` of its output, and what it is
    ``familiar`` with."""

    weights: Weights
    constants: Constants
    unit: float
    familiar: np.ndarray

    def output(self, sums: Sums, volume: float) -> tuple[torch.Tensor, torch.Tensor]:
        """D*_ab float32 [B, 3, 3] and the leverage float64 [B] of structures."""
        tensor = self.tensor(sums, volume).astype(np.float32)
        found = self.sensitivities(sums, volume)
        return torch.from_numpy(tensor), torch.from_numpy(leverage(found, self.familiar))

    def tensor(self, sums: Sums, volume: float) -> np.ndarray:
        """D*_ab float64 [B, 3, 3] of structures."""
        unit = self.unit / sums.occupancy
        return unit[:, None, None] * (sums.power + volume * self.constants.conductivity * np.eye(3))

    def sensitivities(self, sums: Sums, volume: float) -> np.ndarray:
        """As of ``Sums``, float64 [B, K]."""
        return sums.sensitivities(volume, self.constants.conductivity)


def weights_of(network: nn.Module) -> Weights:
    """Weights of ``morphion.surrogates.resistor.Resistors``; vectors on the CPU are not copied."""
    rounds = network.rounds
    known = [layer.to_wedge.in_features for layer in rounds]
    hidden = [_matrix(layer.hidden) for layer in rounds]
    return Weights(
        _vector(network.centres),
        _matrix(network.to_particle),
        *_standard(network.ends),
        *_standard(network.facet),
        _matrix(network.far_hidden),
        _vector(network.far_hidden.bias),
        _matrix(network.far),
        _matrix(network.beside),
        _matrix(network.pair),
        _matrix(network.conductance),
        *_standard(network.around),
        _matrix(network.occupancy_hidden),
        _vector(network.occupancy_hidden.bias),
        _matrix(network.occupancy),
        _stacked([_matrix(layer.to_wedge) for layer in rounds]),
        _stacked([_matrix(layer.angle) for layer in rounds]),
        _stacked([_vector(layer.standardised.mean) for layer in rounds]),
        _stacked([_vector(layer.standardised.scale) for layer in rounds]),
        _stacked([matrix[:rows] for matrix, rows in zip(hidden, known, strict=True)]),
        _stacked([matrix[rows:] for matrix, rows in zip(hidden, known, strict=True)]),
        _stacked([_vector(layer.hidden.bias) for layer in rounds]),
        _stacked([_matrix(layer.out) for layer in rounds]),
        _stacked([_vector(layer.out.bias) for layer in rounds]),
        _stacked([_matrix(layer) for layer in network.messages]),
    )


def _vector(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _matrix(layer: nn.Linear) -> np.ndarray:
    return np.ascontiguousarray(layer.weight.detach().cpu().numpy().T)


def _standard(layer: Standardised) -> tuple[np.ndarray, np.ndarray]:
    return _vector(layer.mean), _vector(layer.scale)


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of equal shape but for their lengths, one after the other, [parts, longest ...]."""
    stacked = np.zeros((len(parts), max(map(len, parts)), *parts[0].shape[1:]), np.float32)
    for to, part in zip(stacked, parts, strict=True):
        to[: len(part)] = part
    return stacked
