"""Reading a store: each array is compared with the checksum it was written with."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from morphion.errors import StoreError
from morphion.store.checksum import Checksum

FORMAT = 1  # raised when a layout changes
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
        names = [name for name in root.array_keys() if name not in streamed]
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


def verify(path: Path | str, *, kind: str | None = None) -> dict[str, str]:
    """Checksums of all arrays, name -> checksum, after comparing each with its content."""
    path = Path(path)
    root = _open(path, kind)
    found = {}
    for name, array in sorted(root.arrays()):
        _verified(path, name, array, keep=False)
        found[name] = array.attrs["checksum"]
    missing = set(root.attrs.get("streams", [])) - set(found)
    if missing:
        raise StoreError(f"{path}: array {sorted(missing)[0]!r} is missing; make the store again")
    return found


def _open(path: Path, kind: str | None) -> zarr.Group:
    if not (path / "zarr.json").is_file():
        what = "has no zarr.json" if path.is_dir() else "does not exist"
        raise StoreError(f"{path}: {what}; expected a morphion store")
    try:
        root = zarr.open_group(path, mode="r")
    except Exception as error:  # zarr raises many kinds on broken metadata
        raise StoreError(f"{path}: zarr.json cannot be read ({error})") from error
    if "kind" not in root.attrs:
        raise StoreError(f"{path}: a Zarr group, but not a morphion store (no attribute 'kind')")
    if kind is not None and root.attrs["kind"] != kind:
        raise StoreError(f"{path}: a store of kind {root.attrs['kind']!r}, expected {kind!r}")
    if root.attrs.get("format") != FORMAT:
        raise StoreError(
            f"{path}: format {root.attrs.get('format')}, this version reads format {FORMAT}"
        )
    return root


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
