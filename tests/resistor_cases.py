"""Resistor networks whose every layer acts, structures, and what CPU cores find for them."""

import numpy as np
import torch
from surrogate_cases import BOX, DIAMETER, networks

from morphion.surrogates.build import build, representation
from morphion.surrogates.resistor_cpu import power_and_occupancy
from morphion.surrogates.resistor_gpu import OnDevice

# As in test_resistor_cpu.py.
SIZES = {
    "small": {},
    "odd": {"radial": 5, "channels": 5, "neurons": 11, "rounds": 1, "solvent": False},
    "default": {"radial": 44, "channels": 16, "neurons": 64, "rounds": 3},
}
EDGE = BOX / DIAMETER


def make_positions(count, particles=50, edge=EDGE):
    """Spheres without overlaps [count, particles, 3] in a box, in sphere diameters."""
    rng = np.random.default_rng(count)
    positions = np.empty((count, particles, 3))
    for structure in positions:
        placed = 0
        while placed < particles:
            away = structure[:placed] - (centre := rng.uniform(0, edge, 3))
            away -= edge * np.rint(away / edge)
            if (np.square(away).sum(1) >= 1).all():
                structure[placed] = centre
                placed += 1
    return positions


class Case:
    """A network of ``SIZES``, on CPU cores and on devices."""

    def __init__(self, name):
        self.block = networks()["resistor"].model_copy(update=SIZES[name])
        self.model, self.sees = build(self.block, 25), representation(self.block, 25)
        self.model.initialise(torch.Generator().manual_seed(3))
        seen = self._graph(make_positions(8), EDGE)
        self.model.calibrate([(np.arange(8), lambda: seen)], np.full(8, 0.4))
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        with torch.inference_mode():
            self.weights, self.constants = self.model.eval()._prepared()

    def on(self, device):
        return OnDevice(device, self.weights, self.constants, self.block.cutoff)

    def by_cores(self, positions, edge=EDGE):
        """K_ab [B, 3, 3] and the sums of the occupancies [B]."""
        graph = self._graph(np.asarray(positions, dtype=float), edge)
        structure, *pairs = (
            part.numpy()
            for part in (graph.structure, graph.first, graph.second, graph.separation, graph.facet)
        )
        start = np.searchsorted(structure, np.arange(graph.shape[0] + 1))
        return power_and_occupancy(tuple(pairs), start, graph.shape, self.weights, self.constants)

    def _graph(self, positions, edge):
        return self.sees.of(positions, edge, 1.0, torch.device("cpu"))


def deviations(found, expected):
    """The largest of powers, relative to a structure's mean diagonal, and of the sums of
    occupancies."""
    (power, occupancy), (right, right_occupancy) = found, expected
    size = np.trace(right, axis1=1, axis2=2)[:, None, None] / 3
    # Where nothing is conducted nothing may be found.
    of_power = np.abs(power - right) / np.where(size > 0, size, 1e-30)
    return of_power.max(), np.abs(occupancy / right_occupancy - 1).max()
