"""Samples a second of each network, training and inference, and the loader's share of a step.

Run as ``python benchmarks/surrogates.py [--steps 3] [--batch 8] [--networks periodic ...]``; on a
CPU the tiled network takes some seconds a sample. Prints one CSV row to a network.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

from morphion.config.geometry import Geometry
from morphion.config.surrogates import (
    DenseNetwork,
    GraphNetwork,
    Network,
    PaperNetwork,
    PeriodicNetwork,
    ResistorNetwork,
)
from morphion.philox import stream_key
from morphion.surrogates.build import build, representation
from morphion.surrogates.data import Labelled
from morphion.surrogates.memory import keep_freed_memory
from morphion.surrogates.parallel import choose_device
from morphion.surrogates.precision import Precision, Stopwatch

NETWORKS: dict[str, Network] = {
    "periodic": PeriodicNetwork(kind="periodic"),
    "resistor": ResistorNetwork(kind="resistor"),
    "graph": GraphNetwork(kind="graph"),
    "paper_untiled": PaperNetwork(kind="paper", tiled=False),
    "paper_tiled": PaperNetwork(kind="paper", tiled=True),
    "nearest_distance": DenseNetwork(kind="dense", descriptor="nearest-distance"),
    "rdf": DenseNetwork(kind="dense", descriptor="rdf"),
}


def random_structures(count: int) -> Labelled:
    """Uniform random centres; speed does not depend on overlaps."""
    geometry, rng = Geometry(), np.random.default_rng(0)
    positions = rng.uniform(0, geometry.box_length, (count, geometry.particles, 3))
    attrs = {
        "box_length": geometry.box_length,
        "diameter": geometry.diameter,
        "voxels": geometry.voxels,
    }
    split = np.full(count, "train")
    diffusivity = rng.uniform(0.3, 1, count)
    tensor = diffusivity[:, None, None] * np.eye(3)
    return Labelled(Path("random"), positions, diffusivity, tensor, split, attrs, "")


def measure(block: Network, data: Labelled, steps: int, device: torch.device) -> tuple[float, ...]:
    """Training samples/s, inference samples/s, loader share; the best of ``steps`` steps."""
    sees = representation(block, int(data.attrs["voxels"]))
    inputs = sees.hold(data, stream_key(0, "augment"), device)
    model = build(block, sees.size)
    model.initialise(torch.Generator().manual_seed(0))
    model.to(device, memory_format=sees.memory_format)
    precision, optimiser = Precision(device, "auto"), torch.optim.Adam(model.parameters(), lr=1e-5)
    watch, rows = Stopwatch(device), np.arange(len(data.positions))
    labels = (data.diffusivity, data.tensor)
    targets = [torch.from_numpy(values).float().to(device) for values in labels]

    def train_step(epoch: int) -> None:
        watch.start()
        batch = inputs.batch(rows, epoch)
        watch.loaded()
        with precision.autocast():
            output = model(batch)
        optimiser.zero_grad(set_to_none=True)
        precision.backward(model.errors(output, *targets).mean())
        precision.step(optimiser, block.training.max_gradient)
        watch.stop()

    def predict(_: int) -> None:
        with torch.inference_mode(), precision.autocast():
            model(inputs.batch(rows, None))

    train_step(0)
    watch = Stopwatch(device)
    training = best_seconds(train_step, steps, device)
    share = watch.share
    inference = best_seconds(predict, steps, device)
    return len(rows) / training, len(rows) / inference, share


def best_seconds(work, repeats: int, device: torch.device) -> float:
    """Shortest wall time of ``work``."""
    best = math.inf
    for repeat in range(repeats):
        started = time.perf_counter()
        work(repeat + 1)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    options = parser.parse_args()
    keep_freed_memory()
    device = choose_device()
    print("network,device,threads,batch,train_samples_per_s,inference_samples_per_s,loader_share")
    for name in options.networks:
        batch = 1 if name == "paper_tiled" and device.type == "cpu" else options.batch
        found = measure(NETWORKS[name], random_structures(batch), options.steps, device)
        values = ",".join(f"{value:.4g}" for value in found)
        print(f"{name},{device},{torch.get_num_threads()},{batch},{values}", flush=True)


if __name__ == "__main__":
    main()
