"""Gradient-boosted trees on descriptors that know clusters and percolation, a baseline.

    D* = exp(m + s (f_0 + sum_t f_t(x)))

with f_t the regression trees that ``morphion.surrogates.boosting`` grows (Friedman, Ann. Stat. 29,
1189, 2001, doi:10.1214/aos/1013203451) and x the descriptors that ``describe`` lists.
"""

import numpy as np
import torch
from numba import njit, prange

from morphion.config.surrogates import TreesNetwork
from morphion.structures.descriptors import (
    connectivities,
    mean_nearest_distances,
    radial_distributions,
)
from morphion.structures.percolation import coordination, joining_distances
from morphion.surrogates.networks import Surrogate3D
from morphion.surrogates.representations import Descriptor

LEAF = -1  # stands for a feature where a tree ends
_QUANTILES = np.linspace(0.1, 1, 10)
_NEIGHBOURS = 4  # shares of particles with 0, 1, 2, 3 neighbours
_OF_A_CONTACT = 4 + 2 + _NEIGHBOURS


def descriptor_of(block: TreesNetwork) -> Descriptor:
    """What the trees of a block see."""
    size = 1 + block.max_distance + 1 + 3 + len(_QUANTILES) + _OF_A_CONTACT * len(block.contacts)

    def of(positions: np.ndarray, box_length: float, diameter: float) -> np.ndarray:
        return describe(block, positions, box_length, diameter)

    return Descriptor(size, of)


def describe(
    block: TreesNetwork, positions: np.ndarray, box_length: float, diameter: float
) -> np.ndarray:
    """Descriptors float64 [B, entries] of structures [B, N, 3], lengths in voxels.

    In this order: mean nearest distance; g(r), r = 0..max_distance, of the positions themselves;
    distances at which an axis percolates, ascending; deciles of those at which clusters merge; and
    for each contact distance the numbers of ``_at_contact``. None changes with a shift, a symmetry
    of the cube or the numbering. Raises StructureError for fewer than two particles.
    """
    distribution = radial_distributions(
        positions, box_length, block.max_distance, central_voxels=False
    )
    merging, winding = joining_distances(positions, box_length)
    parts = [
        mean_nearest_distances(positions, box_length)[:, None],
        distribution,
        np.sort(winding, axis=1),
        np.quantile(merging, _QUANTILES, axis=1).T,
    ]
    parts += [_at_contact(positions, box_length, c * diameter) for c in block.contacts]
    return np.concatenate(parts, axis=1)


def _at_contact(positions: np.ndarray, box_length: float, cutoff: float) -> np.ndarray:
    """Of clusters: their number, the size of the largest and the mean size that a particle finds
    itself in, over N, and how many axes percolate; of the coordination: mean, standard deviation,
    shares of particles with 0, 1, 2, 3 neighbours. [B, 10]."""
    particles = np.shape(positions)[1]
    cluster, axes = connectivities(positions, box_length, cutoff)
    sizes = np.stack([np.bincount(one, minlength=particles) for one in cluster])
    neighbours = coordination(positions, box_length, cutoff)
    columns = [
        np.count_nonzero(sizes, axis=1) / particles,
        sizes.max(axis=1) / particles,
        (sizes**2).sum(axis=1) / particles**2,
        axes.sum(axis=1),
        neighbours.mean(axis=1),
        neighbours.std(axis=1),
        *(np.mean(neighbours == count, axis=1) for count in range(_NEIGHBOURS)),
    ]
    return np.stack(columns, axis=1)


class Trees(Surrogate3D):
    """Trees as arrays of nodes: at a node, the entry ``feature`` of x leads to the left where it is
    at most ``threshold``, else to the right; at a leaf stands the ``value``.

    ``feature``, ``left``, ``right`` int16 and ``threshold``, ``value`` float64, all [trees, nodes];
    trees that were not kept are a leaf of value 0.
    """

    def __init__(self, block: TreesNetwork, size: int):
        super().__init__((size,))
        shape = (block.training.max_iterations, 2 * block.leaves - 1)
        self.register_buffer("feature", torch.full(shape, LEAF, dtype=torch.int16))
        for name in ("left", "right"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int16))
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("start", torch.zeros((), dtype=torch.float64))

    def fitted_numbers(self) -> int:
        """An entry of x and a threshold to each node within a tree, a value to each leaf."""
        within = int((self.feature != LEAF).sum())
        grown = int((self.feature[:, 0] != LEAF).sum())
        return 2 * within + (within + grown)  # a tree has one leaf more than nodes within

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """D* of a batch, float64 [B]."""
        total = self.start + self.outputs(inputs).sum(1)
        return torch.exp(self.log_mean.double() + self.log_scale.double() * total)

    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """f_t of each tree, float64 [B, trees]."""
        names = ("feature", "threshold", "left", "right", "value")
        nodes = (getattr(self, name).cpu().numpy() for name in names)
        values = _values(inputs.double().cpu().numpy(), *nodes)
        return torch.from_numpy(values).to(inputs.device)


@njit(cache=True, parallel=True)
def _values(inputs, feature, threshold, left, right, value):
    found = np.empty((len(inputs), len(feature)))
    for row in prange(len(inputs)):
        for tree in range(len(feature)):
            node = 0
            while feature[tree, node] >= 0:
                if inputs[row, feature[tree, node]] <= threshold[tree, node]:
                    node = left[tree, node]
                else:
                    node = right[tree, node]
            found[row, tree] = value[tree, node]
    return found
