"""Joining structures and labels to a data set; a round's data set holds all rounds up to it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from morphion import provenance, store
from morphion.config import Config
from morphion.config.geometry import Geometry, Structures
from morphion.config.labels import Labels
from morphion.config.load import block, validate
from morphion.dataset.split import UNUSED, grouped_split, random_split
from morphion.errors import ConfigError, StoreError
from morphion.labels.meaning import label_differences, meaning
from morphion.labels.shard import UNITS, structures_digest
from morphion.progress import log
from morphion.structures.families import enumerate_structures, variant
from morphion.structures.voxels import iter_voxel_blocks
from morphion.transport.files import transport_differences, transport_record

KIND = "dataset"

_FROM_STRUCTURES = ("positions", "family", "variant", "index", "seed", "group")
_FROM_LABELS = ("diffusivity", "stderr", "tensor", "tensor_stderr", "converged", "seconds")
_ORIGIN = ("family", "index", "seed", "group")  # of no two structures the same
_SHARD = 64  # images to a file; each can be read without the others


def build_dataset(
    config: Config,
    structures: Sequence[Path],
    labels: Sequence[Path],
    output: Path,
    *,
    round_: int | None,
    previous: Path | None = None,
) -> None:
    """Write the data set of a round, or of a set that is never trained on (``round_`` None).

    ``previous`` is the data set of the round before: its structures come first, and its reference
    diffusivity D0 (the largest converged label of round 0) stays the unit of D*. For a set outside
    the rounds it only gives D0, and the record names how the labels say they were made. Raises
    StoreError if labels belong to other structures, those of two shards were made otherwise, or
    those of a round or of ``previous`` otherwise than ``config`` says, none of round 0 converged,
    what gives D0 is missing, ``previous`` is not of the round before, or a structure comes twice.
    """
    store.require_own(output, KIND)
    if previous is None and round_ != 0:
        which = "a set outside the rounds" if round_ is None else f"round {round_}"
        raise StoreError(
            f"{output}: {which} takes the unit of D* from the data set before it; name that one "
            "as previous"
        )
    if len(structures) != len(labels):
        raise StoreError(
            f"{output}: {len(structures)} shards of structures and {len(labels)} of labels; name "
            "the labels of each, in the same order"
        )
    new, made = _join(structures, labels, config if round_ is not None else None)
    parts = [new.assign(round=("structure", np.full(new.sizes["structure"], round_ or 0, "i4")))]
    if previous is not None:
        before = store.load(previous, kind=KIND)
        reference = before.attrs["reference_diffusivity"]
        if round_ is not None:
            _require_round_before(previous, before, round_)
            _require_meaning(previous, before.attrs["provenance"].get("config", {}), config)
            parts.insert(0, before.drop_vars(["split_random", "split_by_run"]))
    else:
        reference = _reference(new, output)
    data = xr.concat(parts, "structure", combine_attrs="drop", data_vars="minimal")
    _require_once(data, output)
    data.attrs = {name: new.attrs[name] for name in ("box_length", "diameter", "volume_fraction")}
    data.attrs |= {"reference_diffusivity": reference, "voxels": config.geometry.voxels}
    data = _split(data, config, round_)
    blocks = _blocks(config)
    if round_ is None:
        blocks |= {key: made[key] for key in ("labels", "transport") if key in made}
    record = provenance.record(blocks, seed=config.seed, round=round_)
    _write(data, output, record)


def unpack_dataset(config: Config, source: Path, output: Path) -> None:
    """Write a packed data set of round 0 as ``build_dataset`` wrote it, voxel images included.

    Raises StoreError if the file is not sound, ConfigError if it was made with another seed,
    geometry, transport model, label method, split or structures.
    """
    data = store.load(source, kind=KIND)
    made = data.attrs["provenance"]
    found = {**made["config"], "seed": made["seed"], "families": _families_of(data)}
    expected = {**_blocks(config), "seed": config.seed, "families": _families(config)}
    # Files of before it was recorded have the families alone to tell.
    found.setdefault("structures", expected["structures"])
    # Keys that came later than the file have the defaults it was made with.
    geometry, structures, labels = (
        validate(kind, found[key], source=str(source))
        for key, kind in (("geometry", Geometry), ("structures", Structures), ("labels", Labels))
    )
    found |= {"geometry": block(geometry), "structures": structures.decisive()}
    found["labels"], expected["labels"] = labels.decisive(), config.labels.decisive()
    transport = transport_differences(found.pop("transport"), expected.pop("transport"))
    differing = {f"transport.{key}": values for key, values in transport.items()}
    differing |= {k: (found.get(k), v) for k, v in expected.items() if found.get(k) != v}
    for key, (value, asked) in differing.items():
        raise ConfigError(
            f"{source}: made with {key} = {value}, the configuration has {asked}; "
            "make both agree, or leave out labelled to generate and label anew"
        )
    _write(data, output, made)


def _families(config: Config) -> dict[str, int]:
    """Structures of each family and variant in round 0, e.g. of the first chain window."""
    structures = config.structures
    every = enumerate_structures(structures)
    return _counts((family, variant(family, index, structures)) for family, index in every)


def _families_of(data: xr.Dataset) -> dict[str, int]:
    return _counts(zip(data.family.values.tolist(), data.variant.values.tolist(), strict=True))


def _counts(kinds: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(Counter(f"{family} {number}" for family, number in kinds).items()))


def _blocks(config: Config) -> dict[str, Any]:
    """What the content of a data set follows from, beside the seed."""
    return {
        "geometry": block(config.geometry),
        "structures": config.structures.decisive(),
        "labels": block(config.labels),
        "transport": transport_record(config.transport),
        "split": list(config.split),
    }


def _write(data: xr.Dataset, output: Path, record: dict[str, Any]) -> None:
    for name, unit in ({"positions": "voxel"} | UNITS).items():
        if name in data:
            data[name].attrs["units"] = unit
    voxels = int(data.attrs["voxels"])
    shape = (data.sizes["structure"], *(voxels,) * 3)
    images = store.Stream(
        dims=("structure", "z", "y", "x"),
        shape=shape,
        dtype="bool",
        chunks=(1, *shape[1:]),
        shards=(_SHARD, *shape[1:]),
        blocks=iter_voxel_blocks(
            data.positions.values,
            data.attrs["box_length"],
            data.attrs["diameter"],
            voxels,
            block=_SHARD,
        ),
        attrs={"description": "1 where the voxel centre lies inside a particle"},
    )
    store.write(output, data, kind=KIND, provenance=record, streams={"voxels": images})
    log(f"{output}: {_summary(data)}")


def _join(
    structures: Sequence[Path], labels: Sequence[Path], config: Config | None
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Structures with their labels, and the configuration that the last labels were made with,
    which must be ``config`` if one is given."""
    joined, made = [], {}
    for structure_path, label_path in zip(structures, labels, strict=True):
        shard = store.load(structure_path, kind="structures")
        label = store.load(label_path, kind="labels")
        if label.attrs["structures_digest"] != structures_digest(shard):
            raise StoreError(f"{label_path}: labels of other structures than {structure_path} has")
        before, made = made, label.attrs["provenance"].get("config", {})
        if config is not None:
            _require_meaning(label_path, made, config)
        elif joined:
            _require_equal(label_path, made, before)
        variables = {name: shard[name] for name in _FROM_STRUCTURES}
        variables |= {name: label[name] for name in _FROM_LABELS}
        joined.append(xr.Dataset(variables, attrs=shard.attrs))
    data = xr.concat(joined, "structure", combine_attrs="drop", data_vars="minimal")
    data.attrs = dict(joined[0].attrs)
    return data, made


def _require_meaning(path: Path, made: dict[str, Any], config: Config) -> None:
    """Raise StoreError if labels were made by another method, on another lattice or with another
    transport model."""
    for key, (found, asked) in label_differences(made, meaning(config)).items():
        raise StoreError(
            f"{path}: labelled with {key} = {found}, the configuration has {asked}; labels of both "
            "cannot be joined: label anew, or use the configuration that they were made with"
        )


def _require_round_before(previous: Path, before: xr.Dataset, round_: int) -> None:
    """Raise StoreError if ``previous`` is not of the round before."""
    found = before.attrs["provenance"].get("round")
    if found != round_ - 1:
        raise StoreError(
            f"{previous}: the data set of round {found}; "
            + (f"round {round_} follows round {round_ - 1}" if round_ else "none is before round 0")
        )


def _require_once(data: xr.Dataset, output: Path) -> None:
    """Raise StoreError for a structure that comes twice: one of it might be trained on and the
    other tested."""
    origins = zip(*(data[name].values.tolist() for name in _ORIGIN), strict=True)
    for origin, times in Counter(origins).items():
        if times > 1:
            named = ", ".join(f"{k} {v}" for k, v in zip(_ORIGIN, origin, strict=True))
            raise StoreError(
                f"{output}: {times} structures are {named}; name each shard once, and none that "
                "the data set before holds"
            )


def _require_equal(path: Path, made: dict[str, Any], before: dict[str, Any]) -> None:
    """Raise StoreError if the labels of a shard mean something else than those before them."""
    for key in label_differences(made, before):
        raise StoreError(
            f"{path}: labelled with another {key} than the shards before it; name shards of one "
            "configuration"
        )


def _reference(data: xr.Dataset, output: Path) -> float:
    labels = data.diffusivity.values[data.converged.values]
    if len(labels) == 0 or labels.max() <= 0:
        raise StoreError(f"{output}: no label of round 0 converged to a positive diffusivity")
    return float(labels.max())


def _split(data: xr.Dataset, config: Config, round_: int | None) -> xr.Dataset:
    count = data.sizes["structure"]
    if round_ is None:
        random = by_run = np.full(count, UNUSED, dtype=object)
    else:
        usable = data.converged.values & (data.diffusivity.values > 0)
        arguments = (config.split, config.seed, round_)
        random = random_split(usable, *arguments)
        by_run = grouped_split(usable, data.group.values, *arguments)
    return data.assign(split_random=("structure", random), split_by_run=("structure", by_run))


def _summary(data: xr.Dataset) -> str:
    names, counts = np.unique(data.split_random.values.astype(str), return_counts=True)
    parts = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
    unconverged = int((~data.converged.values).sum())
    return f"{data.sizes['structure']} structures ({parts}); {unconverged} labels not converged"
