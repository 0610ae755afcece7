"""Stores become trajectories that other programs open."""

import gsd.hoomd
import numpy as np
import pytest
import xarray as xr

from morphion import store
from morphion.errors import StoreError
from morphion.store.export import export_structures, structure_at, structures_in
from morphion.store.pack import pack
from morphion.structures.files import write_structure

GEOMETRY = {"box_length": 10.0, "diameter": 1.0}


@pytest.fixture
def annealed(tmp_path):
    """An annealing store of two runs with four accepted structures."""
    voxels = np.arange(4 * 2 * 3).reshape(4, 2, 3) % 10
    data = xr.Dataset(
        {
            "voxels": (("accepted", "particle", "xyz"), voxels.astype(np.int16)),
            "accepted_prediction": ("accepted", np.array([0.1, 0.2, 0.3, 0.4])),
            "prediction": (("run", "cycle"), np.zeros((2, 1))),
        },
        attrs=GEOMETRY,
    )
    store.write(tmp_path / "a.zarr", data, kind="anneal", provenance={})
    return tmp_path / "a.zarr"


def test_accepted_structures_are_centres_of_voxels_with_their_predictions(annealed, tmp_path):
    export_structures(annealed, tmp_path / "a.gsd", first=1, every=2)
    with gsd.hoomd.open(tmp_path / "a.gsd") as frames:
        assert len(frames) == 2
        np.testing.assert_allclose(frames[0].particles.position[0], [6.5 - 5, 7.5 - 5, 8.5 - 5])
        assert [frame.log["accepted_prediction"][0] for frame in frames] == [0.2, 0.4]
        assert "prediction" not in frames[0].log


def test_structures_of_stores_stand_among_those_of_files(annealed, tmp_path):
    write_structure(tmp_path / "one.xyz", np.ones((1, 3)), **GEOMETRY)
    found = structures_in([tmp_path / "one.xyz", annealed, tmp_path / "one.xyz"])
    names = ["one.xyz", *(f"a.zarr[{row}]" for row in range(4)), "one.xyz"]
    assert [str(structure) for structure in found] == [str(tmp_path / name) for name in names]
    np.testing.assert_allclose(found[2].positions[0], [6.5, 7.5, 8.5])
    assert (found[2].box_length, found[2].diameter) == (10.0, 1.0)
    centres = ("structure", "particle", "xyz"), np.random.default_rng(1).random((3, 2, 3))
    data = xr.Dataset({"positions": centres}, attrs=GEOMETRY)
    store.write(tmp_path / "s.zarr", data, kind="structures", provenance={})
    pack(tmp_path / "s.zarr", tmp_path / "s.zarr.zip")
    packed = structures_in([tmp_path / "s.zarr.zip"])
    np.testing.assert_array_equal([one.positions for one in packed], centres[1])
    with pytest.raises(StoreError, match=r"no\.zarr: does not exist"):
        structures_in([tmp_path / "no.zarr"])
    with pytest.raises(StoreError, match=r"unknown suffix; expected one of \.gsd.*\.zarr\.zip$"):
        structures_in([tmp_path])


def test_an_empty_choice_is_refused_with_what_there_is(annealed, tmp_path):
    with pytest.raises(StoreError, match="it holds 4 structures, none from 9 on"):
        export_structures(annealed, tmp_path / "a.gsd", first=9)


def test_a_store_without_structures_is_refused(tmp_path):
    data = xr.Dataset({"diffusivity": ("structure", np.ones(2))})
    store.write(tmp_path / "l.zarr", data, kind="labels", provenance={})
    with pytest.raises(StoreError, match="kind 'labels' holds no structures"):
        export_structures(tmp_path / "l.zarr", tmp_path / "l.gsd")


def test_a_damaged_store_is_refused_rather_than_exported(annealed, tmp_path):
    chunk = next(path for path in (annealed / "voxels/c").rglob("*") if path.is_file())
    chunk.unlink()
    with pytest.raises(StoreError, match="'voxels'"):
        export_structures(annealed, tmp_path / "a.gsd")
    assert not (tmp_path / "a.gsd").exists()


def test_a_structure_file_is_converted(annealed, tmp_path):
    export_structures(annealed, tmp_path / "a.gsd", count=1)
    export_structures(tmp_path / "a.gsd", tmp_path / "a.xyz")
    assert "radius:R:1" in (tmp_path / "a.xyz").read_text()
    (tmp_path / "a.xyz").rename(tmp_path / "B.XYZ")
    export_structures(tmp_path / "B.XYZ", tmp_path / "b.gsd")
    assert len(structure_at(tmp_path / "B.XYZ", 0)[0]) == len(
        structure_at(tmp_path / "b.gsd", 0)[0]
    )


def test_annealing_runs_are_not_packed(annealed, tmp_path):
    with pytest.raises(StoreError, match=r"a\.zarr: .*nothing would be left .* keep the folder"):
        pack(annealed, tmp_path / "a.zarr.zip")
    assert not (tmp_path / "a.zarr.zip").exists()


def test_a_row_of_a_structure_file_is_its_only_one(annealed, tmp_path):
    export_structures(annealed, tmp_path / "a.gsd")
    with pytest.raises(StoreError, match=r"a\.gsd: .* the last frame is exported"):
        structure_at(tmp_path / "a.gsd", 1)


@pytest.mark.parametrize("choice", [{"first": 1}, {"count": 1}, {"every": 2}])
def test_a_structure_file_leaves_no_choice(annealed, tmp_path, choice):
    export_structures(annealed, tmp_path / "a.gsd")
    with pytest.raises(StoreError, match=r"a\.gsd: .* the last frame is exported"):
        export_structures(tmp_path / "a.gsd", tmp_path / "b.gsd", **choice)
    assert not (tmp_path / "b.gsd").exists()
