"""Analytic energies and small systems for the annealing tests."""

from pathlib import Path

import numpy as np
import torch

from morphion.config import Config, parse_config
from morphion.config.surrogates import PeriodicNetwork
from morphion.surrogates.build import build
from morphion.surrogates.domain import QUANTITIES
from morphion.surrogates.model import Description, write_model
from morphion.surrogates.spread import Spread
from morphion.surrogates.state import tensors_of

VOXELS = 20


def layered_energy(positions: np.ndarray) -> np.ndarray:
    """D* that grows as particles gather in the planes x = z; float64 [B].

    The values are dyadic, so that the sums are exact and depend on no order of summation.
    """
    offset = np.abs(positions[..., 0] - positions[..., 2]).astype(np.float64)
    return 1.0 + np.minimum(offset, VOXELS - offset).sum(axis=1) / -1024.0


class Interrupting:
    """An energy whose process is killed at a given call."""

    def __init__(self, energy, calls: int):
        self.energy, self.left = energy, calls

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.energy(positions)


class Memory(dict):
    """Checkpoints in memory."""

    def save(self, key, arrays):
        self[key] = {name: np.array(values) for name, values in arrays.items()}

    def load(self, key):
        return self.get(key)


def small_config(output: Path, **anneal) -> Config:
    """Eight spheres in a box of twenty voxels; 2 + 2 runs of 4 and 6 cycles."""
    settings = {
        "initial_temperature": 0.01,
        "steps_per_cycle": 100,
        "maximise": {"runs": 2, "cycles": 4, "select": 40},
        "minimise": {"runs": 2, "cycles": 6, "select": 20},
        "evaluation_sample": 30,
        "selection_bins": 5,
        **anneal,
    }
    content = {
        "output": str(output),
        "seed": 7,
        "geometry": {"voxels": VOXELS, "particles": 8, "volume_fraction": 0.1},
        "structures": {"chain_windows": [[5.9, 6.9]], "slab_width": [6.0, 7.0]},
        "anneal": settings,
    }
    return parse_config(content, source="test", folder=output)


def write_untrained_model(folder: Path, config: Config) -> Path:
    """A small periodic network with random weights that predicts D* around 1."""
    block = PeriodicNetwork(kind="periodic", cell=2, filters=4, kernels=(3,), neurons=8)
    network = build(block, config.geometry.voxels)
    network.initialise(torch.Generator().manual_seed(3))
    network.set_normalisation(None, np.array([0.9, 1.1]))
    description = Description(
        network_name="periodic",
        network=block.model_dump(mode="json"),
        split="random",
        round=0,
        seed=config.seed,
        box_length=config.geometry.box_length,
        diameter=config.geometry.diameter,
        voxels=config.geometry.voxels,
        particles=config.geometry.particles,
        reference_diffusivity=0.04,
        spread=Spread(0.05),
        domain={name: [0.0, 1.0] for name in QUANTITIES},
        labels=config.labels.model_dump(mode="json"),
        **{
            name: {}
            for name in (
                "training",
                "dataset",
                "transport",
                "normalisation",
                "versions",
                "provenance",
            )
        },
    )
    folder.mkdir()
    write_model(folder, description, tensors_of(network))
    return folder
