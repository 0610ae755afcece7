"""Labelling a shard of structures, continuing where a killed job stopped."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import xarray as xr

from morphion import provenance, store
from morphion.config import Config
from morphion.config.labels import Labels
from morphion.config.load import block
from morphion.gpu import choose
from morphion.labels.draw import draw
from morphion.labels.label import Label, Task, label_structures
from morphion.philox import stream_key
from morphion.progress import log, progress
from morphion.provenance import digest
from morphion.store.checksum import checksum
from morphion.transport import transport_record

KIND = "labels"

UNITS = {
    "diffusivity": "solvent cation diffusivity",
    "stderr": "solvent cation diffusivity",
    "tensor": "solvent cation diffusivity",
    "tensor_stderr": "solvent cation diffusivity",
    "duration": "voxel2 / solvent cation diffusivity",
    "time": "voxel2 / solvent cation diffusivity",
    "msd": "voxel2",
    "msd_stderr": "voxel2",
    "seconds": "s",
}
_DIMS = {
    "tensor": ("axis", "axis2"),
    "tensor_stderr": ("axis", "axis2"),
    **dict.fromkeys(("time", "msd", "msd_stderr"), ("lag",)),
}


def label_shard(config: Config, set_: str, structures: Path, output: Path) -> None:
    """Label every structure of a shard and write the label store.

    The walk of a structure depends on the run seed, the set, its family and index only, so that
    labels do not depend on shards, threads or restarts. With a control variate one thing does:
    the structures that a verdict draws from the shard are walked without it.
    """
    device, how = choose(config.engine), config.labels_of(set_)
    data = store.load(structures, kind="structures")
    transport = transport_record(config.transport)
    identity = [transport, how.decisive(), config.seed, set_, structures_digest(data)]
    if how.control_variate is not None:
        identity.append(config.verdict.structures_per_shard)
    store.require_own(output, KIND)
    partial = store.Partial(output, identity)
    count = data.sizes["structure"]
    finished = [partial.load(f"{i:06d}") for i in range(count)]
    done = sum(entry is not None for entry in finished)
    if done:
        log(f"{output}: continues after {done} of {count} structures")
    with progress(f"labels {set_}", count, "structures", done=done) as report:
        for labels, rows in _in_turn(config, set_, data, finished):
            found = label_structures(
                [_task(config, set_, data, i) for i in rows],
                config.transport,
                labels,
                device,
                lambda note: report.advance(0, note=f"({note})"),
            )
            for i, label in zip(rows, found, strict=True):
                finished[i] = _entries(label)
                partial.save(f"{i:06d}", finished[i])
                report.advance(note=_note(finished[i]))
    store.write(
        output,
        _assemble(finished, data, how),
        kind=KIND,
        provenance=provenance.record(
            {"transport": transport, "labels": block(how)},
            seed=config.seed,
            set=set_,
            engine="cpu" if device is None else device.name,
        ),
    )
    partial.discard()


def _in_turn(
    config: Config, set_: str, data: xr.Dataset, finished: list[dict | None]
) -> Iterator[tuple[Labels, list[int]]]:
    """How to label which rows next, given those ``finished`` so far.

    A verdict would not judge walks by a solver that took part in them: first come the rows that it
    draws, without a control variate, and for each that is flagged the next one in its order.
    """

    def left(rows) -> list[int]:
        return [int(i) for i in rows if finished[i] is None]

    how = config.labels_of(set_)
    if how.control_variate is not None:
        plain = how.model_copy(update={"control_variate": None})
        while judged := left(_judged(config, set_, data, finished)):
            yield plain, judged
    yield how, left(range(len(finished)))


def _judged(config: Config, set_: str, data: xr.Dataset, finished: list) -> np.ndarray:
    """Rows that a verdict draws if all that are not finished converge."""
    converged = np.array([entry is None or bool(entry["converged"]) for entry in finished], bool)
    count = config.verdict.structures_per_shard
    return draw(data.family.values, data["index"].values, converged, count, config.seed, set_)


def structures_digest(data: xr.Dataset) -> str:
    """Hash of what labels depend on in a store of structures: centres, box and diameter."""
    geometry = [data.attrs["box_length"], data.attrs["diameter"]]
    return digest([checksum(data.positions.values), *geometry])


def _task(config: Config, set_: str, data: xr.Dataset, i: int) -> Task:
    family, index = str(data.family.values[i]), int(data["index"].values[i])
    return Task(
        data.positions.values[i],
        data.attrs["box_length"],
        data.attrs["diameter"],
        stream_key(config.seed, "kmc", set_, family, index),
        what=f"{set_} {family}-{index}",
    )


def _entries(label: Label) -> dict[str, np.ndarray]:
    entries = asdict(label)
    del entries["doubt"]  # the log has it
    return {name: np.asarray(value) for name, value in entries.items()}


def _note(entry: dict[str, np.ndarray]) -> str:
    return f"(last: D = {entry['diffusivity']:.5f} +- {entry['stderr']:.5f})"


def _assemble(entries: list[dict], data: xr.Dataset, how: Labels) -> xr.Dataset:
    if entries:
        arrays = {name: np.stack([entry[name] for entry in entries]) for name in entries[0]}
    else:
        arrays = _nothing()
    variables = {
        name: (
            ("structure", *_DIMS.get(name, ())),
            values,
            {"units": UNITS[name]} if name in UNITS else {},
        )
        for name, values in arrays.items()
        if "lag" not in _DIMS.get(name, ()) or values.shape[1] > 0
    }
    count = len(entries)
    variables["method"] = ("structure", np.full(count, how.method, dtype=object))
    variables["lattice"] = ("structure", np.full(count, how.lattice, np.int32))
    for name in ("family", "index"):
        variables[name] = data[name]
    return xr.Dataset(variables, attrs={"structures_digest": structures_digest(data)})


def _nothing() -> dict[str, np.ndarray]:
    """Arrays of a shard without structures, which a short selection can leave."""
    scalars = ("diffusivity", "stderr", "seconds", "duration")
    return {
        **{name: np.empty(0) for name in scalars},
        **{name: np.empty((0, 3, 3)) for name in ("tensor", "tensor_stderr")},
        **{name: np.empty(0, np.int64) for name in ("hops", "walkers", "control_variate")},
        "converged": np.empty(0, bool),
    }
