"""Filters, neurons, rate and batch of the paper's network: errors on the validation set.

Run as ``python benchmarks/paper_network_search.py data/study.zarr.zip [--structures 1024]
[--validation 256] [--epochs 10] [--only 1 5] [--precision mixed]``. Every candidate sees the
untiled image of the same structures, augmented, for the same number of epochs; the test set is not
touched. Prints one CSV row to each.
"""

import argparse
import dataclasses
import time

import numpy as np
import torch

from morphion.config.surrogates import PaperNetwork, Training
from morphion.philox import generator, stream_key
from morphion.surrogates.build import build, representation
from morphion.surrogates.data import Labelled, read_labelled
from morphion.surrogates.loop import Loop
from morphion.surrogates.memory import keep_freed_memory
from morphion.surrogates.metrics import mape, mse
from morphion.surrogates.parallel import Ranks, choose_device

# Filters, neurons, learning rate, batch, largest norm of the gradient.
CANDIDATES = (
    ((8, 16, 32, 64), 64, 1e-3, 8, None),
    ((8, 16, 32, 64), 64, 3e-3, 8, None),
    ((8, 16, 32, 64), 64, 1e-3, 8, 1.0),
    ((8, 16, 32, 64), 64, 3e-3, 8, 1.0),
    ((8, 16, 32, 64), 64, 3e-4, 8, None),
    ((4, 8, 16, 32), 32, 1e-3, 8, None),
    ((8, 16, 32, 64), 256, 1e-3, 8, None),
    ((16, 32, 64, 128), 64, 1e-3, 8, None),
)
SEED = 4838


def some(data: Labelled, training: int, validation: int) -> Labelled:
    """The first structures of two of the sets, chosen at random from a fixed seed."""
    parts = []
    for name, count in (("train", training), ("validation", validation)):
        rows = data.rows(name)
        parts.append(generator(SEED, "search", name).permutation(rows)[:count])
    rows = np.concatenate(parts)
    arrays = {
        name: getattr(data, name)[rows] for name in ("positions", "diffusivity", "tensor", "split")
    }
    return dataclasses.replace(data, **arrays)


def train(block: PaperNetwork, data: Labelled) -> tuple[float, float, int, float]:
    """MAPE (%) and MSE on the validation set in the best epoch, that epoch, CPU seconds of all."""
    device = choose_device()
    rows, validation = data.rows("train"), data.rows("validation")
    sees = representation(block, int(data.attrs["voxels"]))
    inputs = sees.hold(data, stream_key(SEED, "augment"), device)
    model = build(block, sees.size)
    model.initialise(torch.Generator().manual_seed(SEED))
    model.set_normalisation(inputs.normalisation(rows), data.diffusivity[rows])
    model.to(device).to(memory_format=sees.memory_format)
    started = time.process_time()
    stream = (SEED, "search")
    loop = Loop(model, inputs, data, rows, validation, block.training, stream, Ranks(0, 1, device))
    position = loop.run()
    predicted, _ = loop.predict(validation)
    labels = data.diffusivity[validation]
    seconds = time.process_time() - started
    return mape(labels, predicted), mse(labels, predicted), position.best_epoch, seconds


def main() -> None:
    """Train the candidates and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--structures", type=int, default=1024)
    parser.add_argument("--validation", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of candidates; default: all")
    parser.add_argument("--precision", default="auto", help="as training.precision")
    options = parser.parse_args()
    keep_freed_memory()
    data = some(read_labelled(options.dataset, "random"), options.structures, options.validation)
    print(
        "filters,neurons,rate,batch,max_gradient,parameters,mape_percent,mse,best_epoch,cpu_seconds"
    )
    for number in options.only or range(len(CANDIDATES)):
        filters, neurons, rate, batch, norm = CANDIDATES[number]
        training = Training(
            learning_rate=rate,
            batch_size=batch,
            max_epochs=options.epochs,
            patience=options.epochs,
            max_gradient=norm,
            precision=options.precision,
        )
        block = PaperNetwork(
            kind="paper", tiled=False, filters=filters, neurons=neurons, training=training
        )
        size = int(data.attrs["voxels"])
        parameters = sum(weights.numel() for weights in build(block, size).parameters())
        error, square, epoch, seconds = train(block, data)
        shown = "-".join(map(str, filters))
        print(
            f"{shown},{neurons},{rate:g},{batch},{norm},{parameters},"
            f"{error:.2f},{square:.3e},{epoch},{seconds:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
