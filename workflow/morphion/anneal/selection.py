"""Which annealed structures are labelled (section 2.5 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from morphion import provenance, store
from morphion.anneal.moves import identities
from morphion.anneal.trajectory import KIND, Evaluated, read_evaluated, read_structures
from morphion.config import Config
from morphion.config.load import block
from morphion.errors import SelectionError
from morphion.files import atomic_file
from morphion.philox import generator
from morphion.progress import log
from morphion.structures.dataset import structure_dataset

FAMILY = {"maximise": "maximised", "minimise": "minimised"}


@dataclass(frozen=True)
class Labelled:
    """What a data set already knows: range of its labels in D*, identities of its structures."""

    least: float
    greatest: float
    identity: np.ndarray


def select(
    config: Config,
    dataset: Path,
    anneal_stores: Sequence[Path],
    round_: int,
    outputs: Sequence[Path],
    report: Path,
) -> None:
    """Write the structures of a round's annealing that join the data, and a report.

    Of the maximisation, structures predicted above the data set's largest converged label,
    uniform in prediction or its logarithm; of the minimisation, below the smallest; with
    ``anneal.selection`` all, whatever their prediction. Each structure counts once, and none that
    the data set has. If there are too few, ``anneal.on_short_selection`` decides: filled with the
    highest (lowest) predictions that are left, or SelectionError.

    ``outputs`` are structure shards of equal size to within one, each a random mix; families are
    ``maximised`` and ``minimised``, the variant is the round, and the group names the run.
    ``report`` (CSV) has one row for each bin of the prediction.

    Raises SelectionError if an objective evaluated no structure that is not labelled yet, or if
    the stores belong to another round, geometry or reference diffusivity.
    """
    labelled = _labelled(dataset, config.geometry.voxels)
    _check_stores(config, anneal_stores, round_, dataset)
    chosen, tables = {}, []
    for objective in FAMILY:
        asked = getattr(config.anneal, objective).select
        if asked == 0:
            continue
        evaluated = read_evaluated(anneal_stores, objective)
        distinct = evaluated.distinct()
        fresh = distinct[~np.isin(distinct.identity, labelled.identity)]
        if len(fresh) == 0:
            raise SelectionError(
                f"select, round {round_}: {asked} structures asked of objective {objective}, but "
                f"of {len(evaluated)} evaluated structures none is left to label; give its "
                f"annealing stores, or set anneal.{objective}.select to 0"
            )
        threshold = _threshold(config, objective, labelled)
        rows, table = choose_beyond(
            fresh.prediction,
            threshold,
            asked,
            maximise=objective == "maximise",
            bins=config.anneal.selection_bins,
            scale=config.anneal.selection_scale,
            on_short=config.anneal.on_short_selection,
            random=generator(config.seed, "select", round_, objective),
        )
        chosen[objective] = fresh[rows]
        table.insert(0, "objective", objective)
        table.insert(1, "evaluated", len(evaluated))
        table.insert(2, "distinct", len(distinct))
        tables.append(table)
    _write_shards(config, chosen, anneal_stores, round_, outputs, "select")
    with atomic_file(report) as scratch:
        pd.concat(tables).to_csv(scratch, index=False)


def evaluation_sample(
    config: Config, anneal_stores: Sequence[Path], round_: int, outputs: Sequence[Path]
) -> None:
    """Write a random sample of what the last annealing accepted, to be labelled for evaluation.

    ``anneal.evaluation_sample`` distinct structures, uniform over those of an objective and half
    from each, so that the range of D* is covered although the minimisation runs twice as long; an
    objective that has fewer leaves its places to the other. Shards as ``select`` writes them.

    Raises SelectionError if nothing was evaluated, or for stores of another round or geometry.
    """
    _check_stores(config, anneal_stores, round_)
    found = {name: read_evaluated(anneal_stores, name).distinct() for name in FAMILY}
    available = np.array([len(evaluated) for evaluated in found.values()])
    asked = config.anneal.evaluation_sample
    if available.sum() == 0:
        raise SelectionError(
            f"sample, round {round_}: {asked} structures asked, but 0 were evaluated; give the "
            "annealing stores of the round"
        )
    if available.sum() < asked:
        log(f"sample, round {round_}: only {available.sum()} of {asked} distinct structures exist")
    takes = even_allocation(available, asked, generator(config.seed, "sample-split", round_))
    chosen = {}
    for (objective, evaluated), take in zip(found.items(), takes, strict=True):
        random = generator(config.seed, "sample", round_, objective)
        chosen[objective] = evaluated[np.sort(random.choice(len(evaluated), take, replace=False))]
    _write_shards(config, chosen, anneal_stores, round_, outputs, "sample")


def choose_beyond(
    prediction: np.ndarray,
    threshold: float | None,
    asked: int,
    *,
    maximise: bool,
    bins: int,
    on_short: str,
    random: np.random.Generator,
    scale: str = "linear",
) -> tuple[np.ndarray, pd.DataFrame]:
    """Rows of ``prediction`` (D*, float64 [E], > 0) beyond a threshold, uniform in prediction.

    ``threshold`` None takes all of them.

    ``bins`` equal bins of the prediction, or of its logarithm (``scale`` logarithmic), span the
    range from the threshold to the best prediction; each gives equally many, picked at random, and
    what a bin lacks is shared among the others. If fewer than ``asked`` lie beyond: all of them
    and the next best (``on_short`` fill), or SelectionError.

    Returns the rows in ascending order, and a table with one row for each bin: asked, beyond,
    filled, threshold, best, and the bin's bounds, available and selected structures.
    """
    sign = 1.0 if maximise else -1.0
    measure, back = (np.log, np.exp) if scale == "logarithmic" else (_same, _same)
    is_beyond = np.ones(len(prediction), bool)
    if threshold is not None:
        is_beyond = sign * (prediction - threshold) > 0
    start = sign * np.min(sign * prediction) if threshold is None else threshold
    gain = sign * (measure(prediction) - measure(start))
    beyond, best = np.flatnonzero(is_beyond), float(prediction[np.argmax(gain)])
    edges = np.linspace(0, max(gain.max(), 0), bins + 1)
    place = np.clip(np.searchsorted(edges, gain[beyond], side="right") - 1, 0, bins - 1)
    available = np.bincount(place, minlength=bins)
    takes = even_allocation(available, asked, random)
    rows = [
        random.choice(beyond[place == number], take, replace=False)
        for number, take in enumerate(takes)
    ]
    lacking = max(0, asked - len(beyond))
    rest = np.flatnonzero(~is_beyond)
    nearest = rest[np.argsort(-gain[rest], kind="stable")][:lacking]
    if lacking:
        found = _found(len(beyond), asked, threshold, best, maximise)
        if on_short == "error":
            raise SelectionError(
                f"{found}; anneal longer, ask for fewer (anneal.maximise.select, "
                "anneal.minimise.select), or set anneal.on_short_selection to fill"
            )
        missing = f", {lacking - len(nearest)} short" if len(nearest) < lacking else ""
        log(f"{found}; filled with the {len(nearest)} next best predictions{missing}")
    table = pd.DataFrame(
        {
            "asked": asked,
            "selected": len(beyond) + len(nearest) if lacking else asked,
            "beyond": len(beyond),
            "filled": len(nearest),
            "threshold": start,
            "best": best,
            "bin_start": back(measure(start) + sign * edges[:-1]),
            "bin_end": back(measure(start) + sign * edges[1:]),
            "bin_available": available,
            "bin_selected": takes,
        }
    )
    return np.sort(np.concatenate([*rows, nearest])), table if len(beyond) else table[:1]


def _same(values):
    return values


def _threshold(config: Config, objective: str, labelled: Labelled) -> float | None:
    """D* beyond which predictions are drawn from, the extreme of the labels; None for all."""
    if config.anneal.selection == "all":
        return None
    return labelled.greatest if objective == "maximise" else labelled.least


def _found(beyond: int, asked: int, threshold: float | None, best: float, maximise: bool) -> str:
    objective, side, extreme, highest = (
        ("maximise", "above", "maximum", "highest")
        if maximise
        else ("minimise", "below", "minimum", "lowest")
    )
    if threshold is None:
        return f"select, {objective}: {beyond} of {asked} structures were reached"
    return (
        f"select, {objective}: {beyond} of {asked} structures found with predictions {side} the "
        f"data's {extreme}, D* = {threshold:.4f}; the {highest} prediction is {best:.4f}"
    )


def even_allocation(available: np.ndarray, asked: int, random: np.random.Generator) -> np.ndarray:
    """How many to take of each bin, as evenly as what is available allows; int64 [bins].

    The sum is ``asked``, or all there is. Ties of the last few are drawn at random.
    """
    takes = np.zeros(len(available), dtype=np.int64)
    left = min(asked, int(available.sum()))
    while left:
        unfilled = np.flatnonzero(available > takes)
        share = left // len(unfilled)
        if share == 0:
            takes[random.choice(unfilled, left, replace=False)] += 1
            break
        more = np.minimum(share, available[unfilled] - takes[unfilled])
        takes[unfilled] += more
        left -= int(more.sum())
    return takes


def _labelled(dataset: Path, voxels: int) -> Labelled:
    data = store.load(dataset, kind="dataset", names=["positions", "diffusivity", "converged"])
    labels = data.diffusivity.values[data.converged.values & (data.diffusivity.values > 0)]
    if len(labels) == 0:
        raise SelectionError(f"{dataset}: no converged label, so nothing lies beyond the data")
    labels = labels / data.attrs["reference_diffusivity"]
    # A structure off the voxel centres equals none that the annealing visits.
    index = data.positions.values - np.float32(0.5)
    on_voxels = (index == np.round(index)).all(axis=(1, 2))
    return Labelled(
        float(labels.min()),
        float(labels.max()),
        identities(np.ascontiguousarray(index[on_voxels], dtype=np.int16), voxels),
    )


def _check_stores(
    config: Config, stores: Sequence[Path], round_: int, dataset: Path | None = None
) -> None:
    """Stores of another round, geometry or D0 would be compared with the wrong labels."""
    geometry = config.geometry
    expected = {"round": round_, "box_length": geometry.box_length, "diameter": geometry.diameter}
    if dataset is not None:
        attrs = store.open_lazy(dataset, kind="dataset").attrs
        expected["reference_diffusivity"] = attrs["reference_diffusivity"]
    for path in stores:
        attrs = store.open_lazy(path, kind=KIND).attrs
        for name, value in expected.items():
            if not np.isclose(attrs[name], value, rtol=1e-9, atol=0):
                raise SelectionError(
                    f"{path}: {name} = {attrs[name]:.10g}, expected {value:.10g}; give the stores "
                    f"of round {round_}, made with the network trained on this data set"
                )


def _write_shards(
    config: Config,
    chosen: dict[str, Evaluated],
    stores: Sequence[Path],
    round_: int,
    outputs: Sequence[Path],
    purpose: str,
) -> None:
    parts = [
        _structures(config, evaluated, stores, round_, objective)
        for objective, evaluated in chosen.items()
        if len(evaluated)
    ]
    data = xr.concat(parts, "structure", data_vars="minimal", combine_attrs="override")
    # Neighbours in a run cost about the same to label; a random order evens out the shards.
    order = generator(config.seed, f"{purpose}-order", round_).permutation(data.sizes["structure"])
    blocks = {"geometry": block(config.geometry), "anneal": block(config.anneal)}
    sources = [str(source) for source in stores]
    record = provenance.record(blocks, seed=config.seed, round=round_, sources=sources)
    store.write_shards(outputs, data.isel(structure=order), record)
    log(f"{purpose}, round {round_}: {len(order)} structures in {len(outputs)} shards")


def _structures(
    config: Config, evaluated: Evaluated, stores: Sequence[Path], round_: int, objective: str
) -> xr.Dataset:
    geometry = config.geometry
    positions = read_structures(stores, evaluated, geometry.voxels) + np.float32(0.5)
    return structure_dataset(
        positions,
        geometry.box_length,
        geometry.diameter,
        family=FAMILY[objective],
        variant=round_,
        index=np.arange(len(evaluated)),
        seed=config.seed,
        group=[f"round{round_}-{objective}-run{run:03d}" for run in evaluated.run],
        prediction=xr.Variable("structure", evaluated.prediction, {"units": "D*"}),
        cycle=evaluated.cycle,
        step=evaluated.step,
    )
