"""The ``anneal`` stage: the runs of one job, from RSA starts to a store."""

import hashlib
from pathlib import Path

import numpy as np

from morphion import provenance, store
from morphion.anneal.annealer import Energy, cooling_schedule, run_annealing
from morphion.anneal.relax import relax_to_voxels
from morphion.anneal.trajectory import KIND, store_form
from morphion.config import Config
from morphion.config.anneal import OBJECTIVES, Anneal
from morphion.config.load import block
from morphion.errors import ConfigError, StructureError
from morphion.philox import stream_key
from morphion.progress import log
from morphion.store.checksum import checksum
from morphion.structures.families import rsa_on_voxels
from morphion.surrogates.model import WEIGHTS
from morphion.transport.files import transport_record


def runs_of_job(anneal: Anneal, objective: str, job: int) -> range:
    """Runs [job * runs_per_job, ...) of an objective. Raises ConfigError if there are none."""
    if objective not in OBJECTIVES:
        raise ConfigError(f"objective {objective!r} is unknown; the objectives are {OBJECTIVES}")
    jobs, runs = anneal.jobs(objective), anneal.objective(objective).runs
    if not 0 <= job < jobs:
        raise ConfigError(
            f"anneal job {job} does not exist: anneal.{objective}.runs = {runs} at "
            f"anneal.runs_per_job = {anneal.runs_per_job} make jobs 0 to {jobs - 1}"
        )
    return range(job * anneal.runs_per_job, min(runs, (job + 1) * anneal.runs_per_job))


def anneal(
    config: Config,
    model: Path,
    round_: int,
    objective: str,
    job: int,
    output: Path,
    *,
    starts: np.ndarray | None = None,
) -> None:
    """Anneal the runs of a job with a network as the energy and write the store.

    A killed job continues with the cycle it was in. ``starts`` (centres [runs, N, 3] in voxels)
    replaces the random sequential starts; they are relaxed onto voxel centres.

    Raises ConfigError for a job or objective that does not exist, SurrogateError for a model that
    does not fit or was trained for another transport model, StructureError for starts that cannot
    be used.
    """
    # Importing torch takes seconds that selection and sampling need not wait.
    from morphion.surrogates import Surrogate
    from morphion.surrogates.origin import require_same_transport

    runs = runs_of_job(config.anneal, objective, job)
    box_length, diameter = config.geometry.box_length, config.geometry.diameter
    surrogate = Surrogate.load(model)
    transport = transport_record(config.transport)
    require_same_transport("the configuration", transport, surrogate.description)
    anneal_with_energy(
        lambda positions: surrogate.predict(positions, box_length, diameter)[0],
        config,
        round_,
        objective,
        runs,
        output,
        starts=starts,
        model=str(model),
        model_digest=_model_digest(model, surrogate),
        reference_diffusivity=surrogate.reference_diffusivity,
    )


def anneal_with_energy(
    energy: Energy,
    config: Config,
    round_: int,
    objective: str,
    runs: range,
    output: Path,
    *,
    model: str,
    model_digest: str,
    reference_diffusivity: float,
    starts: np.ndarray | None = None,
) -> None:
    """As ``anneal`` for any energy; ``model`` and ``model_digest`` name it."""
    settings = config.anneal
    temperatures = cooling_schedule(
        settings.initial_temperature, settings.cooling, settings.objective(objective).cycles
    )
    identity = _identity(config, round_, objective, runs, temperatures, model_digest, starts)
    store.require_own(output, KIND)
    partial = store.Partial(output, identity)
    annealed = run_annealing(
        energy,
        _starts(config, round_, objective, runs, starts),
        [stream_key(config.seed, "anneal", round_, objective, run) for run in runs],
        temperatures,
        settings.steps_per_cycle,
        voxels=config.geometry.voxels,
        diameter=config.geometry.diameter,
        maximise=objective == "maximise",
        names=[f"round {round_}, {objective}, run {run}" for run in runs],
        checkpoints=partial,
    )
    data, voxels = store_form(
        annealed, temperatures, settings.steps_per_cycle, runs, config.geometry.voxels
    )
    data.attrs = {
        "objective": objective,
        "round": round_,
        "box_length": config.geometry.box_length,
        "diameter": config.geometry.diameter,
        "reference_diffusivity": reference_diffusivity,
        "steps_per_cycle": settings.steps_per_cycle,
        "model": model,
        "model_digest": model_digest,
    }
    blocks = {"geometry": block(config.geometry), "anneal": block(config.anneal)}
    record = provenance.record(blocks, seed=config.seed, round=round_, model_digest=model_digest)
    store.write(output, data, kind=KIND, provenance=record, streams={"voxels": voxels})
    partial.discard()
    best = annealed.best[:, -1].max() if objective == "maximise" else annealed.best[:, -1].min()
    log(
        f"{output}: {data.sizes['accepted']} accepted structures of {len(runs)} runs, "
        f"best D* {best:.4f}"
    )


def _identity(config, round_, objective, runs, temperatures, model_digest, starts) -> dict:
    """Everything that the cycles of a job depend on."""
    return {
        "model": model_digest,
        "geometry": block(config.geometry),
        "steps_per_cycle": config.anneal.steps_per_cycle,
        "temperatures": [float(temperature) for temperature in temperatures],
        "seed": config.seed,
        "round": round_,
        "objective": objective,
        "runs": list(runs),
        "starts": None if starts is None else checksum(starts),
    }


def _starts(config, round_, objective, runs, given: np.ndarray | None) -> np.ndarray:
    geometry = config.geometry
    if given is None:
        where = geometry.voxels, geometry.particles, geometry.diameter, config.seed, "anneal-start"
        return np.stack([rsa_on_voxels(*where, round_, objective, run) for run in runs])
    if len(given) != len(runs):
        raise StructureError(
            f"{len(given)} starts for {len(runs)} runs, {runs[0]} to {runs[-1]}: name one for each"
        )
    expected = (len(runs), geometry.particles, 3)
    if np.shape(given) != expected:
        raise StructureError(
            f"starts have shape {list(np.shape(given))}; runs {runs[0]} to {runs[-1]} of "
            f"{geometry.particles} particles need {list(expected)}"
        )
    return np.stack(
        [
            relax_to_voxels(
                start, geometry.voxels, geometry.diameter, where=f"start of {objective} run {run}"
            )
            for start, run in zip(given, runs, strict=True)
        ]
    )


def _model_digest(folder: Path, surrogate) -> str:
    """Hash of what the predictions of a network depend on."""
    described = surrogate.description
    weights = hashlib.blake2b((Path(folder) / WEIGHTS).read_bytes(), digest_size=16).hexdigest()
    return provenance.digest([weights, described.network, described.normalisation])
