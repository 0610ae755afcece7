"""Reading a store: each array is compared with the checksum it was written with."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import ZipStore

from morphion.errors import StoreError
from morphion.provenance import digest
from morphion.store.checksum import Checksum

FORMAT = 1  # raised when a layout changes
METADATA = "zarr.json"  # what makes a folder a store
_BLOCK_BYTES = 256 * 2**20
_BOOKKEEPING = {"checksum", "_FillValue"}


def load(path: Path | str, *, kind: str | None, names: Iterable[str] | None = None) -> xr.Dataset:
    """Arrays of a store in memory, each verified; text arrays have dtype object.

    ``names`` limits what is read; by default everything that was not streamed. Raises StoreError
    if the store is missing, of another kind or format, truncated or altered.
    """
    path = Path(path)
    root = _open(path, kind)
    if names is None:
        streamed = root.attrs.get("streams", [])
        names = [name for name in root.attrs["arrays"] if name not in streamed]
    variables = {}
    for name in names:
        if name not in root:
            raise StoreError(f"{path}: no array {name!r}; it has {sorted(root.array_keys())}")
        array = root[name]
        values = _verified(path, name, array, keep=True)
        if values.dtype.kind == "T":
            values = values.astype(object)
        attrs = {key: array.attrs[key] for key in array.attrs if key not in _BOOKKEEPING}
        variables[name] = (array.metadata.dimension_names, values, attrs)
    return xr.Dataset(variables, attrs=dict(root.attrs))


def open_lazy(path: Path | str, *, kind: str | None) -> zarr.Group:
    """The store for reading parts of large arrays, which are not verified as a whole."""
    return _open(Path(path), kind)


def verify(
    path: Path | str, *, kind: str | None = None, names: Iterable[str] | None = None
) -> dict[str, str]:
    """Checksums of arrays, name -> checksum, after comparing each with its content.

    By default of all arrays; raises StoreError as ``load`` does.
    """
    path = Path(path)
    root = _open(path, kind)
    found = {}
    expected = root.attrs["arrays"] if names is None else names
    for name in expected:
        if name not in root:
            raise StoreError(f"{path}: array {name!r} is missing; make the store again")
        _verified(path, name, root[name], keep=False)
        found[name] = root[name].attrs["checksum"]
    return found


def kind_of(path: Path) -> str | None:
    """Kind of the store in a folder; None of any other folder."""
    try:
        return json.loads((path / METADATA).read_text())["attributes"]["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _open(path: Path, kind: str | None) -> zarr.Group:
    packed = path.suffix == ".zip" and path.is_file()
    if not packed and not (path / METADATA).is_file():
        what = "does not exist"
        if path.exists():
            what = f"has no {METADATA}" if path.is_dir() else "is a file"
        raise StoreError(f"{path}: {what}; expected a morphion store (a folder, or *.zarr.zip)")
    try:
        root = zarr.open_group(ZipStore(path, mode="r") if packed else path, mode="r")
    except Exception as error:  # zarr raises many kinds on broken metadata
        what = "not a ZIP file with a morphion store" if packed else "zarr.json cannot be read"
        raise StoreError(f"{path}: {what} ({error})") from error
    if "kind" not in root.attrs:
        raise StoreError(f"{path}: a Zarr group, but not a morphion store (no attribute 'kind')")
    if kind is not None and root.attrs["kind"] != kind:
        raise StoreError(f"{path}: a store of kind {root.attrs['kind']!r}, expected {kind!r}")
    if root.attrs.get("format") != FORMAT:
        raise StoreError(
            f"{path}: format {root.attrs.get('format')}, this version reads format {FORMAT}"
        )
    if root.attrs.get("attributes_digest") != attributes_digest(root.attrs):
        raise StoreError(f"{path}: its attributes were altered; make the store again")
    return root


def attributes_digest(attributes: Mapping[str, Any]) -> str:
    """Hash of the attributes of a store's root, such as box and unit of D*."""
    content = {name: value for name, value in attributes.items() if name != "attributes_digest"}
    # As JSON reads it back: tuples are lists there, NumPy's numbers plain ones.
    return digest(json.loads(json.dumps(content, default=_plain)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _verified(path: Path, name: str, array: zarr.Array, *, keep: bool) -> np.ndarray | None:
    """Compare an array with its checksum; return its values if ``keep``."""
    running, kept = Checksum(), []
    per_entry = max(1, array.nbytes // max(1, array.shape[0] if array.ndim else 1))
    step = max(1, _BLOCK_BYTES // per_entry)
    shard = (array.shards or array.chunks or (1,))[0] if array.ndim else 1
    step = max(shard, step // shard * shard)
    try:
        blocks = (
            (array[start : start + step] for start in range(0, max(1, array.shape[0]), step))
            if array.ndim
            else [np.asarray(array[()])]
        )
        for block in blocks:
            running.update(np.asarray(block))
            if keep:
                kept.append(block)
    except Exception as error:  # codecs raise their own exceptions on truncated chunks
        raise StoreError(
            f"{path}: array {name!r} cannot be decoded ({error}); make the store again"
        ) from error
    if running.hexdigest() != array.attrs.get("checksum"):
        raise StoreError(
            f"{path}: array {name!r} differs from what was written (truncated or altered); "
            "make the store again"
        )
    if keep:
        return kept[0] if len(kept) == 1 else np.concatenate(kept)
    return None
