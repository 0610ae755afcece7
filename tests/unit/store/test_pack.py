"""A packed store is one small file with the same arrays, and opens like the store."""

import numpy as np
import pytest
import xarray as xr
from zarr.storage import ZipStore

from morphion import provenance, store
from morphion.errors import StoreError
from morphion.store.pack import pack


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    data = xr.Dataset(
        {
            "positions": (
                ("structure", "particle", "xyz"),
                rng.uniform(0, 75, (200, 91, 3)).astype(np.float32),
                {"units": "voxel"},
            ),
            "family": ("structure", np.full(200, "rsa", dtype=object)),
            "diffusivity": ("structure", rng.random(200)),
        },
        attrs={"box_length": 75.0},
    )
    images = store.Stream(
        ("structure", "z"), (200, 9), "bool", (1, 9), None, iter([np.ones((200, 9), bool)])
    )
    path = tmp_path / "round0.zarr"
    record = provenance.record({"seed": 3})
    store.write(path, data, kind="dataset", provenance=record, streams={"voxels": images})
    return path


def test_a_packed_store_reads_as_the_store_does(tmp_path, source):
    pack(source, tmp_path / "study.zarr.zip")
    before = store.load(source, kind="dataset")
    after = store.load(tmp_path / "study.zarr.zip", kind="dataset")
    xr.testing.assert_equal(after, before)
    assert after.positions.attrs == before.positions.attrs
    assert after.attrs["box_length"] == 75.0
    assert "host" not in after.attrs["provenance"]["hardware"]
    assert after.attrs["provenance"]["config"] == {"seed": 3}
    assert "voxels" not in store.verify(tmp_path / "study.zarr.zip")


def test_positions_take_less_room_than_their_numbers(tmp_path, source):
    pack(source, tmp_path / "study.zarr.zip")
    assert (tmp_path / "study.zarr.zip").stat().st_size < 0.95 * 200 * 91 * 3 * 4


def test_equal_stores_give_equal_files(tmp_path, source):
    pack(source, tmp_path / "a.zarr.zip")
    pack(source, tmp_path / "b.zarr.zip")
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


def test_xarray_opens_a_packed_store(tmp_path, source):
    pack(source, tmp_path / "study.zarr.zip")
    with xr.open_zarr(ZipStore(tmp_path / "study.zarr.zip", mode="r")) as data:
        assert data.sizes["structure"] == 200
        assert data.positions.dims == ("structure", "particle", "xyz")


def test_a_truncated_file_is_refused(tmp_path, source):
    pack(source, tmp_path / "study.zarr.zip")
    content = (tmp_path / "study.zarr.zip").read_bytes()
    (tmp_path / "study.zarr.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"study\.zarr\.zip: not a ZIP file"):
        store.load(tmp_path / "study.zarr.zip", kind="dataset")


def test_an_altered_file_is_refused(tmp_path, source):
    pack(source, tmp_path / "study.zarr.zip")
    content = bytearray((tmp_path / "study.zarr.zip").read_bytes())
    at = content.index(b"positions/c/0") + 5000
    content[at] ^= 0xFF
    (tmp_path / "study.zarr.zip").write_bytes(content)
    with pytest.raises(StoreError, match=r"study\.zarr\.zip: array 'positions'"):
        store.load(tmp_path / "study.zarr.zip", kind="dataset")


def test_another_suffix_is_refused(tmp_path, source):
    with pytest.raises(StoreError, match=r"is called study\.zarr\.zip"):
        pack(source, tmp_path / "study.npz")
