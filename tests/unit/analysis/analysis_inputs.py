"""Small but realistic inputs of the analysis: stores and tables as the other stages write them."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from morphion import store
from morphion.config import Config
from morphion.philox import generator
from morphion.structures.descriptors import mean_nearest_distances
from morphion.structures.families import generate
from morphion.verdict.decision import decide
from morphion.verdict.measure import COLUMNS

REFERENCE = 0.045


def config(**analysis) -> Config:
    """A configuration of the paper's geometry with few resamples."""
    return Config(output="out", analysis={"bootstrap": 100, **analysis})


def write_dataset(path: Path, per_family: int, *, annealed: int = 0, seed: int = 3) -> Path:
    """A data set of real structures whose labels follow their nearest-neighbour distance.

    Annealed structures of round 1 are close chains (window 4, labelled higher) and tight ones
    (window 0, labelled lower); one label of each family did not converge.
    """
    settings = config()
    rows = []
    for family in ("rsa", "chain", "gapped"):
        rows += [(family, family, i, 0) for i in range(per_family)]
    for i in range(annealed):
        rows.append(("maximised", "chain", 4 + 8 * (i + 50), 1))
        rows.append(("minimised", "chain", 8 * (i + 50), 1))
    positions = np.stack(
        [generate(settings.geometry, settings.structures, seed, of, i) for _, of, i, _ in rows]
    )
    family = np.array([row[0] for row in rows], dtype=object)
    random = generator(seed, "test-labels")
    nearest = mean_nearest_distances(positions, settings.geometry.box_length)
    star = 0.25 + 0.7 * np.exp(-(((nearest - 13.2) / 1.6) ** 2)) + random.normal(0, 0.03, len(rows))
    star *= np.array([{"maximised": 1.4, "minimised": 0.6}.get(name, 1.0) for name in family])
    generated = np.array([row[3] for row in rows]) == 0
    star /= star[generated].max()
    converged = np.ones(len(rows), dtype=bool)
    converged[[np.flatnonzero(family == name)[0] for name in ("rsa", "chain", "gapped")]] = False
    star[~converged] *= 0.9
    star /= star[generated & converged].max()
    split = random.choice(["train", "validation", "test"], len(rows), p=[0.6, 0.2, 0.2])
    split = np.where(converged, split, "unused").astype(object)
    group = [f"{row[0]}-{row[2] // 4}" for row in rows]
    data = xr.Dataset(
        {
            "positions": (("structure", "particle", "xyz"), positions.astype(np.float32)),
            "family": ("structure", family),
            "variant": ("structure", np.zeros(len(rows), np.int32)),
            "index": ("structure", np.array([row[2] for row in rows])),
            "group": ("structure", np.array(group, dtype=object)),
            "round": ("structure", np.array([row[3] for row in rows], np.int32)),
            "diffusivity": ("structure", REFERENCE * star),
            "stderr": ("structure", REFERENCE * star * random.uniform(0.02, 0.03, len(rows))),
            "seconds": ("structure", random.uniform(1.2, 1.8, len(rows))),
            "converged": ("structure", converged),
            "split_random": ("structure", split),
        },
        attrs={
            "box_length": settings.geometry.box_length,
            "diameter": settings.geometry.diameter,
            "volume_fraction": 0.1,
            "reference_diffusivity": REFERENCE,
        },
    )
    store.write(path, data, kind="dataset", provenance={})
    return path


def write_predictions(path: Path, dataset: Path, *, noise: float, bias: float = 0.0) -> Path:
    """Predictions of a network with that noise and bias in D* for every structure."""
    data = store.load(dataset, kind="dataset")
    label = data.diffusivity.values / REFERENCE
    random = generator(int(1e6 * (noise + bias)), "test-predictions")
    table = pd.DataFrame(
        {
            "structure": np.arange(len(label)),
            "round": data["round"].values,
            "family": data.family.values,
            "group": data.group.values,
            "split": data.split_random.values,
            "label": label,
            "label_stderr": data.stderr.values / REFERENCE,
            "prediction": label + bias + random.normal(0, noise, len(label)),
            "spread": noise,
            "converged": data.converged.values,
        }
    )
    table.to_csv(path, index=False)
    return path


def write_anneal(path: Path, objective: str, runs: range, cycles: int) -> Path:
    """Traces of annealing runs that converge, as the annealer writes them."""
    random = generator(5, "test-anneal", objective, runs.start)
    cycle = np.arange(cycles)
    end = {"maximise": 1.35, "minimise": 0.1}[objective]
    shape = (len(runs), cycles)
    prediction = end + (0.5 - end) * np.exp(-(cycle + 1) / (0.25 * cycles)) * np.ones(shape)
    prediction += random.normal(0, 0.02, shape) * np.exp(-cycle / (0.3 * cycles))
    acceptance = np.exp(-((cycle / (0.35 * cycles)) ** 2)) * random.uniform(0.93, 1, shape)
    data = xr.Dataset(
        {
            "temperature": ("cycle", 9.8e-3 * 0.9**cycle),
            "prediction": (("run", "cycle"), prediction),
            "acceptance": (("run", "cycle"), acceptance),
        },
        coords={"run": np.array(runs, dtype=np.int32)},
        attrs={"objective": objective, "round": 0},
    )
    store.write(path, data, kind="anneal", provenance={})
    return path


def write_history(path: Path, epochs: int) -> Path:
    """Losses of a training that starts to overfit after two thirds of its epochs."""
    epoch = np.arange(1, epochs + 1)
    train = 0.05 * np.exp(-epoch / (0.2 * epochs)) + 8e-4
    overfit = np.clip(epoch / epochs - 0.66, 0, None) * 3e-3
    wobble = 1 + 0.08 * np.sin(3.7 * epoch)
    table = pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": train,
            "validation_loss": (1.4 * train + overfit) * wobble,
            "seconds": 2.0 * epoch,
        }
    )
    table.to_csv(path, index=False)
    return path


def write_verdict(folder: Path, set_: str, count: int, shift: float = 0.0) -> tuple[Path, Path]:
    """Decision on a set and the table of its only shard, with z shifted by so many errors."""
    random = generator(7, "test-verdict", set_)
    z = random.standard_normal(count) + shift
    table = pd.DataFrame(
        {
            "row": np.arange(count),
            "family": random.choice(["rsa", "chain", "gapped"], count),
            "index": np.arange(count),
            "method": "kmc",
            "lattice": 75,
            "diffusivity": 0.02 + 2e-4 * z,
            "stderr": 2e-4,
            "walkers": 128,
            "converged": True,
            "exact": 0.02,
            "residual": 1e-7,
            "solved": True,
            "seconds": 0.2,
            "deviation": 0.01 * z,
            "z": z,
            "score": z,
        }
    )
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / f"{set_}.csv", index=False, columns=COLUMNS)
    decide(set_, table, 3.0).write(folder / f"{set_}.json")
    return folder / f"{set_}.json", folder / f"{set_}.csv"
