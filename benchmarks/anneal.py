"""Speed of the annealing: moves a second without a network, and the share outside it.

    python benchmarks/anneal.py                    bookkeeping of 10 runs of 91 particles
    python benchmarks/anneal.py --model FOLDER     also the share of a step outside that network

Prints one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from morphion import store
from morphion.anneal.annealer import cooling_schedule, run_annealing
from morphion.anneal.trajectory import KIND, read_evaluated, read_structures, store_form
from morphion.config.geometry import Geometry
from morphion.philox import stream_key
from morphion.structures.families import rsa_on_voxels

RUNS = 10


class Timed:
    """An energy that adds up the time spent in it."""

    def __init__(self, energy):
        self._energy, self.seconds = energy, 0.0

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        predicted = self._energy(positions)
        self.seconds += time.perf_counter() - start
        return predicted


def constant(positions: np.ndarray) -> np.ndarray:
    """The cheapest energy: every move is accepted, which costs the bookkeeping most."""
    return np.zeros(len(positions))


def anneal(energy, geometry: Geometry, cycles: int, steps: int):
    """Anneal, and the wall time of it in seconds."""
    where = geometry.voxels, geometry.particles, geometry.diameter, 1, "benchmark-start"
    starts = np.stack([rsa_on_voxels(*where, run) for run in range(RUNS)])
    keys = [stream_key(1, "benchmark", run) for run in range(RUNS)]
    began = time.perf_counter()
    annealed = run_annealing(
        energy,
        starts,
        keys,
        cooling_schedule(9.8e-3, 0.9, cycles),
        steps,
        voxels=geometry.voxels,
        diameter=geometry.diameter,
        maximise=True,
    )
    return annealed, time.perf_counter() - began


def measure_bookkeeping(geometry: Geometry, steps: int) -> dict[str, float]:
    """Proposals, acceptance and records with an energy that costs nothing."""
    anneal(constant, geometry, 1, 10)  # compiles
    energy = Timed(constant)
    _, seconds = anneal(energy, geometry, 1, steps)
    outside = seconds - energy.seconds
    return {
        "moves_per_second": RUNS * steps / seconds,
        "bookkeeping_microseconds_per_step": 1e6 * outside / steps,
    }


def measure_store(geometry: Geometry, steps: int) -> dict[str, float]:
    """Writing all accepted structures, and reading 500 of them at random."""
    temperatures = cooling_schedule(9.8e-3, 0.9, 1)
    annealed, _ = anneal(constant, geometry, 1, steps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "anneal.zarr"
        began = time.perf_counter()
        data, voxels = store_form(annealed, temperatures, steps, range(RUNS), geometry.voxels)
        data.attrs = {"objective": "maximise"}
        store.write(path, data, kind=KIND, provenance={}, streams={"voxels": voxels})
        written = time.perf_counter() - began
        stored = sum(file.stat().st_size for file in (path / "voxels").rglob("*"))
        evaluated = read_evaluated([path], "maximise")
        rows = np.random.default_rng(0).choice(len(evaluated), 500, replace=False)
        began = time.perf_counter()
        read_structures([path], evaluated[rows], geometry.voxels)
        read = time.perf_counter() - began
    return {
        "structures_written_per_second": len(evaluated) / written,
        "bytes_per_structure": stored / len(evaluated),
        "compression": 2 * 3 * geometry.particles * len(evaluated) / stored,
        "milliseconds_per_random_structure": 1e3 * read / 500,
    }


def measure_network(model: Path, geometry: Geometry, steps: int) -> dict[str, float]:
    """A network as the energy."""
    from morphion.surrogates.predict import Surrogate

    surrogate = Surrogate.load(model)
    box, diameter = geometry.box_length, geometry.diameter
    energy = Timed(lambda positions: surrogate.predict(positions, box, diameter)[0])
    anneal(energy, geometry, 1, 3)
    energy.seconds = 0.0
    _, seconds = anneal(energy, geometry, 1, steps)
    return {
        "network_moves_per_second": RUNS * steps / seconds,
        "share_outside_network": 1 - energy.seconds / seconds,
    }


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a trained network")
    parser.add_argument("--steps", type=int, default=20_000, help="steps without a network")
    parser.add_argument("--network-steps", type=int, default=50, help="steps with the network")
    arguments = parser.parse_args()
    geometry = Geometry()
    result = {"runs": RUNS, "particles": geometry.particles}
    result |= measure_bookkeeping(geometry, arguments.steps)
    result |= measure_store(geometry, arguments.steps)
    if arguments.model is not None:
        result |= measure_network(arguments.model, geometry, arguments.network_steps)
    print(json.dumps({key: _rounded(value) for key, value in result.items()}, indent=2))


if __name__ == "__main__":
    main()
