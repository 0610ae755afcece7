"""Resistor networks whose every layer acts, structures, and what CPU cores find for them."""

import numpy as np
import torch
from surrogate_cases import BOX, DIAMETER, networks

from morphion.config.geometry import Geometry
from morphion.surrogates import Surrogate, resistor_gpu
from morphion.surrogates.build import build, representation
from morphion.surrogates.resistor_gpu import OnDevice
from morphion.surrogates.shipped import shipped_model

# The second has sizes that are no multiples of four, and more neurons than features; the third is
# the default one but for its reach.
SIZES = {
    "small": {},
    "odd": {"radial": 5, "channels": 5, "neurons": 11, "rounds": 1, "solvent": False},
    "default": {"radial": 44, "channels": 16, "neurons": 64, "rounds": 3},
}
EDGE = BOX / DIAMETER
# Structures of no pair and of one.
LONELY = [[0.4, 0.4, 0.4], [2.8, 2.8, 2.8]]
PAIR = [[0.4, 0.4, 0.4], [1.2, 1.0, 0.9]]


def make_positions(count, particles=50, edge=EDGE):
    """Spheres without overlaps [count, particles, 3] in a box, in sphere diameters; so close that
    there is a way through."""
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
    """A network of ``SIZES``, on CPU cores and on devices; its weights are drawn ``apart``."""

    def __init__(self, name, apart=0.05):
        self.block = networks()["resistor"].model_copy(update=SIZES[name])
        self.model, self.sees = build(self.block, 25), representation(self.block, 25)
        self.model.initialise(torch.Generator().manual_seed(3))
        seen = self.graph(make_positions(8))
        self.model.calibrate([(np.arange(8), lambda: seen)], np.full(8, 0.4))
        generator = torch.Generator().manual_seed(6)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter += apart * torch.randn(parameter.shape, generator=generator)
        self.model.remember([seen])
        with torch.inference_mode():
            self.weights, self.constants, *_ = self.model.eval()._prepared()

    def on(self, device):
        return OnDevice(device, self.weights, self.constants, self.block.cutoff)

    def by_cores(self, positions, edge=EDGE):
        """Sums that predictions are made of."""
        graph = self.graph(positions, edge)
        with torch.inference_mode():
            return self.model._on_cores(graph)

    def graph(self, positions, edge=EDGE):
        return self.sees.of(np.asarray(positions, dtype=float), edge, 1.0, torch.device("cpu"))


class Shipped(Case):
    """The network that ships with the package."""

    def __init__(self):
        surrogate = Surrogate.load(shipped_model(), "cpu")
        self.model, self.sees = surrogate._model, surrogate._sees
        self.block = surrogate.description.block
        with torch.inference_mode():
            self.weights, self.constants, *_ = self.model._prepared()


def assert_shipped_is_that_of_cores(device, monkeypatch, count, limits):
    """At its own reach, half the box, where each particle has nearly all others around it."""
    shipped, edge = Shipped(), Geometry().box_length / Geometry().diameter
    positions = make_positions(count, 91, edge)
    whole = shipped.on(device)
    found = whole.sums(positions, edge)
    assert np.less(deviations(found, shipped.by_cores(positions, edge)), limits).all()
    monkeypatch.setattr(resistor_gpu, "_ROOM", 2 * whole._room._bytes_each)
    for part, right in zip(shipped.on(device).sums(positions, edge), found, strict=True):
        np.testing.assert_array_equal(part, right)


def deviations(found, expected):
    """The largest of powers and of what they weigh, relative to a structure's largest power; of the
    sums of occupancies, and of what they weigh, relative to the largest of these."""
    size = np.abs(expected.power).max(axis=(1, 2))
    # Where nothing is conducted nothing may be found.
    size = np.where(size > 0, size, 1e-30)
    sizes = (size, expected.occupancy, size, np.abs(expected.particles).max(axis=1))
    parts = zip(found, expected, sizes, strict=True)
    power, occupancy, pairs, particles = (
        np.abs((one - other).reshape(len(of), -1) / of[:, None]).max() for one, other, of in parts
    )
    return max(power, pairs), max(occupancy, particles)
