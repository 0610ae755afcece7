"""A store as one small file, to publish or to keep beside the code."""

import tempfile
import zipfile
from pathlib import Path

from zarr.codecs import BloscCodec

from morphion.errors import StoreError
from morphion.files import atomic_file
from morphion.store.read import load
from morphion.store.write import write

SUFFIXES = (".zarr", ".zip")
_SHUFFLED = BloscCodec(cname="zstd", clevel=9, shuffle="shuffle")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a ZIP file knows


def pack(source: Path | str, output: Path | str) -> None:
    """Write the arrays of a store, all but voxel images, as one ZIP file.

    Every array keeps its values, attributes and checksum, the root its attributes and provenance
    but for the host's name;
    ``load`` reads the file as it reads the store. Equal stores give equal files. Raises StoreError
    if the source is no sound store, or one of annealing runs, which consist of streams, or the
    output is not called ``*.zarr.zip``.
    """
    output = Path(output)
    if tuple(output.suffixes[-2:]) != SUFFIXES:
        raise StoreError(f"{output}: a packed store is called {output.stem}.zarr.zip")
    data = load(source, kind=None)
    kind, provenance = data.attrs["kind"], dict(data.attrs["provenance"])
    if kind == "anneal":
        raise StoreError(
            f"{source}: annealing runs are all structures of every cycle, of which nothing would "
            "be left in a packed store; keep the folder"
        )
    # The name of a machine means nothing to others.
    hardware = provenance.get("hardware", {}).items()
    provenance["hardware"] = {name: value for name, value in hardware if name != "host"}
    whole = {str(name): data[name].shape for name in data.variables if data[name].size}
    with tempfile.TemporaryDirectory(prefix="morphion-pack-") as folder:
        store = Path(folder, "store.zarr")
        write(store, data, kind=kind, provenance=provenance, chunks=whole, compressor=_SHUFFLED)
        with atomic_file(output) as scratch, zipfile.ZipFile(scratch, "w") as archive:
            for path in sorted(path for path in store.rglob("*") if path.is_file()):
                entry = zipfile.ZipInfo(path.relative_to(store).as_posix(), date_time=_EPOCH)
                archive.writestr(entry, path.read_bytes())
