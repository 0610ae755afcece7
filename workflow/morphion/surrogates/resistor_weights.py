"""Weights of a resistor network as plain arrays, for compiled loops and kernels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

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
    falls with distance before anything is learned."""

    near: float
    far_bias: float
    conductance_bias: float
    occupancy_bias: float
    decay: float
    shells_end: float
    small_facet: float
    ground: float


class Prepared(NamedTuple):
    """All that loops and kernels take of a network; ``unit`` of its output, z_0 and k_0."""

    weights: Weights
    constants: Constants
    unit: float
    solvent: float
    conductivity: float

    def tensor(self, power: np.ndarray, occupancy: np.ndarray, volume: float) -> torch.Tensor:
        """D*_ab float32 [B, 3, 3] of K_ab [B, 3, 3] and the sums of the occupancies [B]."""
        unit = self.unit / (occupancy + volume * self.solvent)
        total = power + volume * self.conductivity * np.eye(3)
        return torch.from_numpy((unit[:, None, None] * total).astype(np.float32))


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
