"""Writing a store: everything into a scratch folder, checked, then published by one rename."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.abc.codec import BytesBytesCodec

from morphion.errors import StoreError
from morphion.files import atomic_folder, require_replaceable
from morphion.store.checksum import Checksum, checksum
from morphion.store.read import FORMAT, attributes_digest, kind_of, verify


@dataclass(frozen=True)
class Stream:
    """An array too large for memory, written block by block along its first axis.

    ``blocks`` must yield arrays that together have ``shape``; a block that covers whole shards is
    written fastest.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    blocks: Iterator[np.ndarray]
    attrs: dict[str, Any] = field(default_factory=dict)


def write(
    path: Path | str,
    data: xr.Dataset,
    *,
    kind: str,
    provenance: Mapping[str, Any],
    streams: Mapping[str, Stream] | None = None,
    chunks: Mapping[str, tuple[int, ...]] | None = None,
    compressor: BytesBytesCodec | None = None,
) -> None:
    """Write ``data`` and ``streams`` as a Zarr v3 store of the given kind.

    The store appears under ``path`` whole and checked, or not at all. Each array carries a
    checksum in its attributes; the root carries kind, format version and provenance.
    ``compressor`` replaces Zarr's default for arrays of numbers. An earlier store of the kind is
    replaced; raises MorphionError as ``require_own`` does.
    """
    path = Path(path)
    data = _with_string_dtype(data)
    data.attrs = {
        **data.attrs,
        "kind": kind,
        "format": FORMAT,
        "provenance": dict(provenance),
        "arrays": sorted([*map(str, data.variables), *(streams or {})]),
        "streams": sorted(streams or {}),
    }
    data.attrs["attributes_digest"] = attributes_digest(data.attrs)
    for name in data.variables:
        data[name].attrs["checksum"] = checksum(data[name].values)
        data[name].encoding.clear()
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"compressors": (compressor,)}
        for name in data.variables
        if compressor is not None and data[name].dtype.kind in "fiub"
    }
    for name, shape in (chunks or {}).items():
        encoding.setdefault(name, {})["chunks"] = shape
    with atomic_folder(path, *_own(kind)) as scratch:
        data.to_zarr(scratch, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
        root = zarr.open_group(scratch, mode="r+")
        for name, stream in (streams or {}).items():
            _write_stream(root, name, stream)
        with warnings.catch_warnings():
            # Not yet in the Zarr v3 specification, but xarray opens faster with it and warns
            # without it; readers that do not know it ignore it.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(scratch)
        verify(scratch, kind=kind)


def require_own(path: Path | str, kind: str) -> None:
    """Refuse, before there is anything to write, a path where no store of this kind can be
    written: a file, or a folder that holds anything else. Raises MorphionError."""
    require_replaceable(path, *_own(kind))


def _own(kind: str) -> tuple[str, Callable[[Path], bool]]:
    return f"a morphion store of {kind!r}", lambda folder: kind_of(folder) == kind


def _write_stream(root: zarr.Group, name: str, stream: Stream) -> None:
    # An array without elements has no shard to write; Zarr refuses shards larger than it.
    empty = 0 in stream.shape
    array = root.create_array(
        name,
        shape=stream.shape,
        dtype=stream.dtype,
        chunks=stream.chunks,
        shards=None if empty else stream.shards,
        dimension_names=stream.dims,
        attributes=stream.attrs,
    )
    running, start = Checksum(), 0
    for block in stream.blocks:
        array[start : start + len(block)] = block
        running.update(block)
        start += len(block)
    if start != stream.shape[0]:
        raise StoreError(f"{name}: {start} of {stream.shape[0]} entries along {stream.dims[0]}")
    array.attrs["checksum"] = running.hexdigest()


def _with_string_dtype(data: xr.Dataset) -> xr.Dataset:
    # Of NumPy's text types only this one has a Zarr v3 specification.
    text = np.dtypes.StringDType()
    data = data.copy()
    for name, variable in data.variables.items():
        if variable.dtype.kind in "UO":
            data[name] = variable.astype(str).astype(text)
    return data
