"""What a store holds, for people."""

import json
from dataclasses import asdict
from pathlib import Path

import zarr
from rich.console import Console
from rich.table import Table

from morphion.errors import StoreError
from morphion.store.read import open_lazy, verify


def describe(path: Path, *, check: bool) -> None:
    """Print contents, units, provenance and, if ``check``, the integrity of a store.

    Raises StoreError if the store is missing, truncated or altered.
    """
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = 140  # a file or pipe has no width of its own
    if (path / "model.json").is_file():
        # Importing torch takes seconds that a store need not wait for.
        from morphion.surrogates import Surrogate

        described = Surrogate.load(path, "cpu").description
        console.print_json(json.dumps(asdict(described), default=str))
        console.print("integrity: the weights fit the network described")
        return
    root = open_lazy(path, kind=None)
    attributes = dict(root.attrs)
    console.print(f"[bold]{path}[/bold]: {attributes.pop('kind')}, format {attributes['format']}")
    console.print(_contents(root))
    for name in ("format", "arrays", "streams", "attributes_digest"):
        attributes.pop(name, None)
    record = attributes.pop("provenance", {})
    for name, value in attributes.items():
        console.print(f"{name}: {value}", highlight=False)
    console.print("provenance:")
    console.print_json(json.dumps(record))
    if check:
        verify(path)
        console.print("integrity: every array agrees with its checksum")


def _contents(root: zarr.Group) -> Table:
    table = Table("array", "dimensions", "type", "units", "range")
    for name, array in sorted(root.arrays()):
        dims = ", ".join(
            f"{dim} {size}"
            for dim, size in zip(array.metadata.dimension_names or (), array.shape, strict=False)
        )
        units = str(array.attrs.get("units", ""))
        table.add_row(name, dims, str(array.dtype), units, _range(array))
    return table


def _range(array: zarr.Array) -> str:
    # Large arrays are not read for a summary.
    if array.dtype.kind not in "fiu" or array.size == 0 or array.nbytes > 64 * 2**20:
        return ""
    try:
        values = array[...]
    except Exception as error:  # codecs raise their own exceptions on truncated chunks
        raise StoreError(f"{array.store_path}: cannot be decoded ({error})") from error
    return f"{values.min():.6g} .. {values.max():.6g}"
