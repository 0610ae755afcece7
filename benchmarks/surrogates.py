"""Networks at work: samples a second by ranks, memory, predictions, and what tiling costs.

    python benchmarks/surrogates.py [--ranks 1 2 4] [--batch 8] [--networks periodic ...]
    python benchmarks/surrogates.py --tiling

The first prints a CSV row to each network and number of ranks (gloo on CPUs, NCCL on GPUs),
measured by the training stage itself, in a process of its own. A sample's memory is what a batch
of twice the size takes more. The second compares, in one run, training steps of the paper's layers
on the tiled 225^3 image with the same layers on the 75^3 image, 27 times fewer voxels: by torch's
operators alone, the smaller image circularly padded, and as this package trains both, the smaller
image padded by zeros.
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from morphion import store
from morphion.analysis.speed import prediction_times
from morphion.config import Config
from morphion.config.geometry import Geometry
from morphion.config.surrogates import (
    DenseNetwork,
    GraphNetwork,
    Network,
    PaperNetwork,
    PeriodicNetwork,
    ResistorNetwork,
)
from morphion.surrogates import Surrogate
from morphion.surrogates.build import build
from morphion.surrogates.memory import keep_freed_memory
from morphion.surrogates.model import read_description
from morphion.surrogates.parallel import choose_device
from morphion.surrogates.precision import Precision
from morphion.surrogates.trial import trial

NETWORKS: dict[str, Network] = {
    "periodic": PeriodicNetwork(kind="periodic"),
    "resistor": ResistorNetwork(kind="resistor"),
    "graph": GraphNetwork(kind="graph"),
    "paper_untiled": PaperNetwork(kind="paper", tiled=False),
    "paper_tiled": PaperNetwork(kind="paper", tiled=True),
    "nearest_distance": DenseNetwork(kind="dense", descriptor="nearest-distance"),
    "rdf": DenseNetwork(kind="dense", descriptor="rdf"),
}
# A step on descriptors is so short that what opens an epoch would show beside a few of them: as
# many structures as the study trains with.
_LEAST_STEPS = {"nearest_distance": 512, "rdf": 512}
COLUMNS = (
    "network,device,ranks,threads,batch,train_samples_per_s,loader_share,"
    "peak_memory_mb,memory_mb_per_sample,ms_per_prediction,ms_in_batches"
)


def write_random_structures(path: Path, train: int, validation: int) -> None:
    """A data set of uniform random centres; speed does not depend on overlaps."""
    geometry, rng, count = Geometry(), np.random.default_rng(0), train + validation
    diffusivity = rng.uniform(0.3, 1, count)
    split = np.array(["train"] * train + ["validation"] * validation, dtype=object)
    shape = (count, geometry.particles, 3)
    data = xr.Dataset(
        {
            "positions": (
                ("structure", "particle", "xyz"),
                rng.uniform(0, geometry.box_length, shape).astype(np.float32),
            ),
            "diffusivity": ("structure", diffusivity),
            "tensor": (("structure", "axis", "axis2"), diffusivity[:, None, None] * np.eye(3)),
            "split_random": ("structure", split),
        },
        attrs={
            "box_length": geometry.box_length,
            "diameter": geometry.diameter,
            "voxels": geometry.voxels,
            "reference_diffusivity": 1.0,
        },
    )
    store.write(path, data, kind="dataset", provenance={})


def measure(name: str, batch: int, steps: int, ranks: int) -> dict[str, float]:
    """One training of a few steps, and for one rank the times of predictions."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_random_structures(folder / "all.zarr", max(64, batch * steps), ranks)
        config = Config(
            output=folder,
            surrogates={"driver": name, "networks": {name: NETWORKS[name].model_dump()}},
        )
        sizes = {"batch": batch, "steps": steps, "epochs": 3, "ranks": ranks}
        measured = trial(config, folder / "all.zarr", name, folder, **sizes)
        training = read_description(measured.model).training
        found = {
            "samples_per_second": measured.samples_per_second,
            "loader_share": training["loader_share"],
            "peak": measured.peak_memory_bytes / 1e6,
            "single": math.nan,
            "batched": math.nan,
        }
        if ranks == 1:
            data = store.load(folder / "all.zarr", kind="dataset", names=("positions",))
            lengths = (data.attrs["box_length"], data.attrs["diameter"])
            surrogate = Surrogate.load(measured.model)
            times = prediction_times(surrogate, data.positions.values, *lengths)
            found["single"] = 1e3 * times[0]["seconds_per_prediction"]
            found["batched"] = 1e3 * times[-1]["seconds_per_prediction"]
        return found


def in_its_own_process(work: Callable, *arguments):
    """What ``work`` returns; the peak of a process's memory never falls."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def compare_ranks(networks: list[str], ranks: list[int], batch: int, steps: int) -> None:
    """Print a row to each network and number of ranks."""
    device = choose_device()
    print(COLUMNS)
    for name in networks:
        size = batch
        if name == "paper_tiled" and device.type == "cpu":
            size = max(2, max(ranks))  # a GB or two for each
        for count in ranks:
            taken = max(steps, _LEAST_STEPS.get(name, 0))
            found = in_its_own_process(measure, name, size, taken, count)
            per_sample = math.nan
            if count == 1:
                twice = in_its_own_process(measure, name, 2 * size, max(1, taken // 2), 1)
                per_sample = (twice["peak"] - found["peak"]) / size
            values = (found["samples_per_second"], found["loader_share"], found["peak"])
            values += (per_sample, found["single"], found["batched"])
            row = (name, device, count, torch.get_num_threads(), size)
            print(*row, *(f"{value:.4g}" for value in values), sep=",", flush=True)


def compare_tiling(repeats: int) -> None:
    """Print samples/s of training steps on 225^3 and on 75^3 at equal filters, and their ratio."""
    device = choose_device()
    print("layers,device,threads,tiled_samples_per_s,untiled_samples_per_s,ratio,share_of_27")
    for alone in (True, False):
        steps = {}
        for tiled, batch in ((True, 1), (False, 8)):
            model = paper_layers(tiled, alone)
            steps[tiled] = (training_step(model, batch, device), batch)
        best = dict.fromkeys(steps, 0.0)
        for _ in range(repeats + 1):  # the first allocates; alternating shares what else runs here
            for tiled, (step, batch) in steps.items():
                best[tiled] = max(best[tiled], batch / seconds(step, device))
        ratio = best[False] / best[True]
        row = (best[True], best[False], ratio, ratio / 27)
        numbers = (f"{value:.4g}" for value in row)
        name = "torch alone" if alone else "as trained"
        print(name, device, torch.get_num_threads(), *numbers, sep=",", flush=True)


def paper_layers(tiled: bool, alone: bool) -> torch.nn.Module:
    """The paper's network; if by torch's operators alone, one image is padded circularly."""
    model = build(PaperNetwork(kind="paper", tiled=tiled), Geometry().voxels)
    model.by_torch_alone = alone
    if alone and not tiled:
        for layer in model.blocks:
            if isinstance(layer, torch.nn.Conv3d):
                layer.padding_mode = "circular"
    model.initialise(torch.Generator().manual_seed(0))
    return model


def training_step(model: torch.nn.Module, batch: int, device: torch.device) -> Callable[[], None]:
    """A step of Adam on random binary images of the paper's density."""
    model.to(device, memory_format=torch.channels_last_3d)
    precision, optimiser = Precision(device, "auto"), torch.optim.Adam(model.parameters(), lr=1e-5)
    images = torch.rand((batch, 1, *(Geometry().voxels,) * 3), device=device) < 0.1
    images = images.to(torch.uint8).to(memory_format=torch.channels_last_3d)
    targets = torch.rand(batch, device=device) + 0.3

    def step() -> None:
        with precision.autocast():
            output = model(images)
        optimiser.zero_grad(set_to_none=True)
        precision.backward((output - targets).square().mean())
        precision.step(optimiser, None)

    return step


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """Wall time of ``work``."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1])
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--tiling", action="store_true", help="compare 225^3 with 75^3 instead")
    options = parser.parse_args()
    keep_freed_memory()
    if options.tiling:
        compare_tiling(options.steps)
    else:
        compare_ranks(options.networks, options.ranks, options.batch, options.steps)


if __name__ == "__main__":
    main()
