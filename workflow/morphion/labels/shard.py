"""Labelling a shard of structures, continuing where a killed job stopped."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import xarray as xr

from morphion import provenance, store
from morphion.config import Config
from morphion.config.load import block
from morphion.gpu import choose
from morphion.labels.label import Label, Task, at_once, label_structures
from morphion.philox import stream_key
from morphion.progress import log, progress
from morphion.provenance import digest
from morphion.store.checksum import checksum

KIND = "labels"

_UNITS = {
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
    labels do not depend on shards, threads or restarts.
    """
    device = choose(config.engine)
    data = store.load(structures, kind="structures")
    block_ = {key: block(getattr(config, key)) for key in ("transport", "labels")}
    partial = store.Partial(
        output, [block_, config.seed, set_, structures_digest(data), _table(config)]
    )
    count = data.sizes["structure"]
    finished = [partial.load(f"{i:06d}") for i in range(count)]
    left = [i for i in range(count) if finished[i] is None]
    if len(left) < count:
        log(f"{output}: continues after {count - len(left)} of {count} structures")
    group = at_once(config.labels, device)
    with progress(f"labels {set_}", count, "structures", done=count - len(left)) as report:
        for first in range(0, len(left), group):
            indices = left[first : first + group]
            labels = label_structures(
                [_task(config, set_, data, i) for i in indices],
                config.transport,
                config.labels,
                device,
                lambda note: report.advance(0, note=f"({note})"),
            )
            for i, label in zip(indices, labels, strict=True):
                finished[i] = _entries(label)
                partial.save(f"{i:06d}", finished[i])
                report.advance(note=_note(finished[i]))
    store.write(
        output,
        _assemble(finished, data, config),
        kind=KIND,
        provenance=provenance.record(
            block_, seed=config.seed, set=set_, engine="cpu" if device is None else device.name
        ),
    )
    partial.discard()


def structures_digest(data: xr.Dataset) -> str:
    """Hash of what labels depend on in a store of structures: centres, box and diameter."""
    geometry = [data.attrs["box_length"], data.attrs["diameter"]]
    return digest([checksum(data.positions.values), *geometry])


def _table(config: Config) -> str | None:
    """Content of a table model, which the configuration names only by its path."""
    path = getattr(config.transport, "path", None)
    return None if path is None else Path(path).read_text()


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


def _assemble(entries: list[dict], data: xr.Dataset, config: Config) -> xr.Dataset:
    if entries:
        arrays = {name: np.stack([entry[name] for entry in entries]) for name in entries[0]}
    else:
        arrays = _nothing()
    variables = {
        name: (
            ("structure", *_DIMS.get(name, ())),
            values,
            {"units": _UNITS[name]} if name in _UNITS else {},
        )
        for name, values in arrays.items()
        if "lag" not in _DIMS.get(name, ()) or values.shape[1] > 0
    }
    count = len(entries)
    variables["method"] = ("structure", np.full(count, config.labels.method, dtype=object))
    variables["lattice"] = ("structure", np.full(count, config.labels.lattice, np.int32))
    for name in ("family", "index"):
        variables[name] = data[name]
    return xr.Dataset(variables, attrs={"structures_digest": structures_digest(data)})


def _nothing() -> dict[str, np.ndarray]:
    """Arrays of a shard without structures, which a short selection can leave."""
    scalars = ("diffusivity", "stderr", "seconds", "duration")
    return {
        **{name: np.empty(0) for name in scalars},
        **{name: np.empty((0, 3, 3)) for name in ("tensor", "tensor_stderr")},
        **{name: np.empty(0, np.int64) for name in ("hops", "walkers")},
        "converged": np.empty(0, bool),
    }
