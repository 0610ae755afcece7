"""A data set joins what belongs together, appends, and keeps the unit of D*."""

import numpy as np
import pytest
import xarray as xr

from morphion import store
from morphion.config import Config, parse_config
from morphion.config.geometry import Structures
from morphion.config.labels import Walked
from morphion.config.transport import CoverageShell, DistanceTable
from morphion.dataset import build_dataset, unpack_dataset
from morphion.dataset.loadings import write_loadings
from morphion.dataset.walked import write_walked
from morphion.errors import ConfigError, StoreError, StructureError
from morphion.labels.shard import structures_digest
from morphion.store.pack import pack
from morphion.structures.dataset import structure_dataset
from morphion.structures.families import generate
from morphion.transport.example import write_coverage_table

EDGE = 24


@pytest.fixture
def config() -> Config:
    content = {"output": "out", "geometry": {"voxels": EDGE, "particles": 3}}
    return parse_config(content, source="test", folder=".")


def write_set(folder, config, first, labels, converged=None):
    """A structure and a label store; returns their paths."""
    geometry, count = config.geometry, len(labels)
    rows = range(first, first + count)
    positions = np.stack([generate(geometry, config.structures, 1, "rsa", i) for i in rows])
    structures = structure_dataset(
        positions,
        geometry.box_length,
        geometry.diameter,
        "rsa",
        0,
        list(rows),
        1,
        [f"rsa-{i}" for i in rows],
    )
    labels = np.asarray(labels, float)
    found = xr.Dataset(
        {
            "diffusivity": ("structure", labels),
            "stderr": ("structure", labels * 0.01),
            "tensor": (("structure", "axis", "axis2"), labels[:, None, None] * np.eye(3)),
            "tensor_stderr": (("structure", "axis", "axis2"), np.zeros((count, 3, 3))),
            "converged": ("structure", np.ones(count, bool) if converged is None else converged),
            "seconds": ("structure", np.ones(count)),
        },
        attrs={"structures_digest": structures_digest(structures)},
    )
    paths = folder / f"s{first}.zarr", folder / f"l{first}.zarr"
    store.write(paths[0], structures, kind="structures", provenance={})
    store.write(paths[1], found, kind="labels", provenance={})
    return paths


def test_a_round_appends_and_keeps_the_reference_of_round_zero(tmp_path, config):
    first = write_set(tmp_path, config, 0, np.linspace(0.01, 0.04, 10))
    build_dataset(config, [first[0]], [first[1]], tmp_path / "r0.zarr", round_=0)
    more = write_set(tmp_path, config, 10, [0.05, 0.06])
    previous = tmp_path / "r0.zarr"
    output = tmp_path / "r1.zarr"
    build_dataset(config, [more[0]], [more[1]], output, round_=1, previous=previous)
    data = store.load(output, kind="dataset")
    assert data.attrs["reference_diffusivity"] == pytest.approx(0.04)
    assert data["round"].values.tolist() == [0] * 10 + [1] * 2
    assert data.diffusivity.values[-1] == 0.06
    assert (data.split_random == "train").sum() == 8
    assert data.diffusivity.attrs["units"] == "solvent cation diffusivity"
    assert data.positions.attrs["units"] == "voxel"


def test_a_structure_that_comes_twice_is_refused(tmp_path, config):
    """Of two that are the same one might be trained on and the other tested."""
    structures, labels = write_set(tmp_path, config, 0, np.linspace(0.01, 0.04, 10))
    with pytest.raises(StoreError, match=r"2 structures are family rsa, index 0, seed 1, group"):
        build_dataset(config, [structures] * 2, [labels] * 2, tmp_path / "d.zarr", round_=0)
    build_dataset(config, [structures], [labels], tmp_path / "r0.zarr", round_=0)
    again = {"round_": 1, "previous": tmp_path / "r0.zarr"}
    with pytest.raises(
        StoreError, match=r"r1\.zarr: 2 structures are .* the data set before holds"
    ):
        build_dataset(config, [structures], [labels], tmp_path / "r1.zarr", **again)


@pytest.mark.parametrize(
    ("round_", "what"), [(0, "none is before round 0"), (5, "round 5 follows round 4")]
)
def test_rounds_follow_one_another(tmp_path, config, round_, what):
    first = write_set(tmp_path, config, 0, np.linspace(0.01, 0.04, 10))
    previous = tmp_path / "r0.zarr"
    build_dataset(config, [first[0]], [first[1]], previous, round_=0)
    more = write_set(tmp_path, config, 10, [0.05])
    with pytest.raises(StoreError, match=rf"r0\.zarr: the data set of round 0; {what}"):
        build_dataset(
            config, [more[0]], [more[1]], tmp_path / "d.zarr", round_=round_, previous=previous
        )


def test_images_show_the_spheres(tmp_path, config):
    paths = write_set(tmp_path, config, 0, [0.01, 0.02])
    build_dataset(config, [paths[0]], [paths[1]], tmp_path / "d.zarr", round_=0)
    images = store.open_lazy(tmp_path / "d.zarr", kind="dataset")["voxels"][...]
    assert images.shape == (2, EDGE, EDGE, EDGE)
    assert images.mean() == pytest.approx(0.1, rel=0.05)
    x, y, z = np.floor(store.load(paths[0], kind="structures").positions.values[0, 0]).astype(int)
    assert images[0, z, y, x]


def test_labels_that_did_not_converge_are_kept_but_not_used(tmp_path, config):
    flags = np.array([True] * 9 + [False])
    paths = write_set(tmp_path, config, 0, np.linspace(0.01, 0.04, 10), flags)
    build_dataset(config, [paths[0]], [paths[1]], tmp_path / "d.zarr", round_=0)
    data = store.load(tmp_path / "d.zarr", kind="dataset")
    assert data.split_random.values[-1] == data.split_by_run.values[-1] == "unused"
    assert data.attrs["reference_diffusivity"] < 0.04


def test_labels_of_other_structures_are_refused(tmp_path, config):
    first = write_set(tmp_path, config, 0, [0.01])
    second = write_set(tmp_path, config, 1, [0.02])
    with pytest.raises(StoreError, match=r"l1.zarr: labels of other structures than .*s0.zarr"):
        build_dataset(config, [first[0]], [second[1]], tmp_path / "d.zarr", round_=0)


def test_a_first_round_without_a_converged_label_is_refused(tmp_path, config):
    paths = write_set(tmp_path, config, 0, [0.01], np.array([False]))
    with pytest.raises(StoreError, match="no label of round 0 converged"):
        build_dataset(config, [paths[0]], [paths[1]], tmp_path / "d.zarr", round_=0)


def test_labels_of_two_physics_are_not_joined(tmp_path, config):
    first, second = (write_set(tmp_path, config, i, [0.01, 0.02, 0.03]) for i in (0, 5))
    output, before = tmp_path / "r1.zarr", tmp_path / "r0.zarr"
    build_dataset(config, [first[0]], [first[1]], before, round_=0)
    labels = store.load(second[1], kind="labels")

    def join(config, **made):
        store.write(second[1], labels, kind="labels", provenance={"config": made})
        build_dataset(config, [second[0]], [second[1]], output, round_=1, previous=before)

    for key, value, made in (
        ("labels.lattice", 60, {"labels": {"method": "kmc", "lattice": 60}}),
        ("labels.method", "exact", {"labels": {"method": "exact", "lattice": 375}}),
        ("transport.affinity", 6.0, {"transport": {"model": "coverage-shell", "affinity": 6.0}}),
    ):
        with pytest.raises(StoreError, match=rf"l5.*: labelled with {key} = {value}, "):
            join(config, **made)
        assert not output.exists()
    finer = config.model_copy(
        update={"labels": config.labels.model_copy(update={"lattice": 60, "max_hops": 1e9})}
    )
    with pytest.raises(
        StoreError, match=r"r0\.zarr: labelled with labels.lattice = 375, .* has 60"
    ):
        join(finer, labels={"method": "kmc", "lattice": 60})
    join(config, labels={"method": "kmc", "lattice": 375, "max_hops": 1.0})


def test_loadings_are_made_of_the_test_split(tmp_path, config):
    paths = write_set(tmp_path, config, 0, np.linspace(0.01, 0.04, 10))
    build_dataset(config, [paths[0]], [paths[1]], tmp_path / "d.zarr", round_=0)
    outputs = [tmp_path / f"shard-{i}.zarr" for i in range(3)]
    write_loadings(config, tmp_path / "d.zarr", 0.0667, outputs)
    shards = [store.load(path, kind="structures") for path in outputs]
    assert [shard.sizes["structure"] for shard in shards] == [1, 1, 0]
    assert shards[0].sizes["particle"] == 2
    data = store.load(tmp_path / "d.zarr", kind="dataset")
    parents = np.concatenate([shard.parent.values for shard in shards])
    np.testing.assert_array_equal(parents, np.flatnonzero(data.split_random.values == "test"))


@pytest.fixture
def packed(tmp_path, config):
    """Ten labelled structures, their data set, and that in one file."""
    config = config.model_copy(
        update={
            "structures": config.structures.model_copy(update={"rsa": 10, "chain": 0, "gapped": 0})
        }
    )
    shard = write_set(tmp_path, config, 0, np.linspace(0.01, 0.04, 10))
    build_dataset(config, [shard[0]], [shard[1]], tmp_path / "r0.zarr", round_=0)
    pack(tmp_path / "r0.zarr", tmp_path / "r0.zarr.zip")
    return config, tmp_path / "r0.zarr", tmp_path / "r0.zarr.zip"


def test_an_unpacked_data_set_is_the_one_that_was_packed(tmp_path, packed):
    config, built, file = packed
    unpack_dataset(config, file, tmp_path / "again.zarr")
    xr.testing.assert_identical(
        store.load(tmp_path / "again.zarr", kind="dataset").drop_attrs(),
        store.load(built, kind="dataset").drop_attrs(),
    )
    images = store.open_lazy(built, kind="dataset")["voxels"][:]
    np.testing.assert_array_equal(
        store.open_lazy(tmp_path / "again.zarr", kind="dataset")["voxels"][:], images
    )


def test_a_packed_data_set_of_an_earlier_version_has_the_defaults_of_later_keys(tmp_path, packed):
    config, built, _ = packed
    data = store.load(built, kind="dataset")
    made = data.attrs.pop("provenance")
    del made["config"]["labels"]["max_hops"]
    blocks = {name: made[name] for name in ("config", "seed", "round")}
    store.write(tmp_path / "old.zarr", data, kind="dataset", provenance=blocks)
    pack(tmp_path / "old.zarr", tmp_path / "old.zarr.zip")
    unpack_dataset(config, tmp_path / "old.zarr.zip", tmp_path / "again.zarr")
    other = config.labels.model_copy(update={"max_hops": 1e9})
    with pytest.raises(ConfigError, match="made with labels"):
        unpack_dataset(
            config.model_copy(update={"labels": other}), tmp_path / "old.zarr.zip", tmp_path / "no"
        )


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("seed", lambda c: {"seed": 7}),
        ("labels", lambda c: {"labels": c.labels.model_copy(update={"lattice": 50})}),
        ("structures", lambda c: {"structures": c.structures.model_copy(update={"rsa": 11})}),
        (
            "structures",
            lambda c: {"structures": c.structures.model_copy(update={"slab_width": (3.0, 4.0)})},
        ),
        ("transport.affinity", lambda c: {"transport": CoverageShell(affinity=6.0)}),
    ],
)
def test_a_packed_data_set_of_another_configuration_is_refused(tmp_path, packed, key, change):
    config, _, file = packed
    with pytest.raises(ConfigError, match=rf"r0\.zarr\.zip: made with {key} = "):
        unpack_dataset(config.model_copy(update=change(config)), file, tmp_path / "again.zarr")
    assert not (tmp_path / "again.zarr").exists()


def test_a_packed_data_set_is_of_the_families_asked_for(tmp_path, packed):
    config, built, _ = packed
    data = store.load(built, kind="dataset")
    made = data.attrs.pop("provenance")
    del made["config"]["structures"]  # files of before it was recorded
    blocks = {name: made[name] for name in ("config", "seed", "round")}
    store.write(tmp_path / "old.zarr", data, kind="dataset", provenance=blocks)
    other = config.structures.model_copy(update={"rsa": 5, "chain": 5})
    with pytest.raises(ConfigError, match=r"families = {'rsa 0': 10}, .* has {'chain 0': 1,"):
        unpack_dataset(
            config.model_copy(update={"structures": other}), tmp_path / "old.zarr", tmp_path / "no"
        )
    unpack_dataset(config, tmp_path / "old.zarr", tmp_path / "again.zarr")


def test_a_packed_data_set_knows_its_transport_table_by_what_is_in_it(tmp_path, config):
    tables = [tmp_path / name for name in ("a.csv", "b.csv")]
    for path in tables:
        write_coverage_table(path, CoverageShell())
    one, other = (
        config.model_copy(
            update={
                "transport": DistanceTable(model="table", path=path),
                "structures": Structures(rsa=3, chain=0, gapped=0),
            }
        )
        for path in tables
    )
    shard = write_set(tmp_path, one, 0, [0.01, 0.02, 0.03])
    build_dataset(one, [shard[0]], [shard[1]], tmp_path / "r0.zarr", round_=0)
    unpack_dataset(other, tmp_path / "r0.zarr", tmp_path / "again.zarr")
    write_coverage_table(tables[1], CoverageShell(affinity=6.0))
    with pytest.raises(ConfigError, match=r"made with transport\."):
        unpack_dataset(other, tmp_path / "r0.zarr", tmp_path / "no.zarr")


def test_walked_structures_are_drawn_from_the_test_split_with_their_origin(tmp_path, config):
    paths = write_set(tmp_path, config, 0, np.linspace(0.01, 0.04, 20))
    build_dataset(config, [paths[0]], [paths[1]], tmp_path / "d.zarr", round_=0)
    data = store.load(tmp_path / "d.zarr", kind="dataset")
    test = set(data["index"].values[data.split_random.values == "test"])
    found = {}
    for count in (2, 3):
        asked = config.model_copy(update={"walked": Walked(structures=count)})
        write_walked(asked, tmp_path / "d.zarr", [tmp_path / f"{count}.zarr"])
        found[count] = store.load(tmp_path / f"{count}.zarr", kind="structures")
    for count, drawn in found.items():
        assert drawn.sizes["structure"] == count
        assert set(drawn["index"].values) <= test
        same = data.isel(structure=drawn["index"].values)
        np.testing.assert_array_equal(drawn.positions, same.positions)
        assert drawn.group.values.tolist() == same.group.values.tolist()
    assert set(found[2]["index"].values) < set(found[3]["index"].values)
    asked = config.model_copy(update={"walked": Walked(structures=5)})
    with pytest.raises(StructureError, match=r"walked\.structures = 5: the test split .* has 4"):
        write_walked(asked, tmp_path / "d.zarr", [tmp_path / "5.zarr"])


def test_a_set_outside_the_rounds_says_how_its_labels_were_made(tmp_path, config):
    structures, labels = write_set(tmp_path, config, 0, [0.01, 0.02])
    physics = {"model": "coverage-shell", "affinity": 6.0}
    made = {"config": {"labels": {"method": "kmc", "lattice": 30}, "transport": physics}}
    store.write(labels, store.load(labels, kind="labels"), kind="labels", provenance=made)
    output, before = tmp_path / "d.zarr", {"round_": None, "previous": tmp_path / "r0.zarr"}
    with pytest.raises(StoreError, match="outside the rounds takes the unit of D"):
        build_dataset(config, [structures], [labels], output, round_=None)
    with pytest.raises(StoreError, match="1 shards of structures and 0 of labels"):
        build_dataset(config, [structures], [], output, **before)
    first = write_set(tmp_path, config, 5, [0.03])
    build_dataset(config, [first[0]], [first[1]], tmp_path / "r0.zarr", round_=0)
    build_dataset(config, [structures], [labels], output, **before)
    record = store.load(tmp_path / "d.zarr", kind="dataset").attrs["provenance"]
    assert record["config"]["labels"] == made["config"]["labels"]
    assert record["config"]["transport"] == physics
    for key, value in (("labels", {"lattice": 40}), ("transport", {"affinity": 7.0})):
        blocks = made["config"] | {key: made["config"][key] | value}
        other = write_set(tmp_path, config, 9, [0.03])
        content = store.load(other[1], kind="labels")
        store.write(other[1], content, kind="labels", provenance={"config": blocks})
        with pytest.raises(StoreError, match=rf"l9\.zarr: labelled with another {key}"):
            build_dataset(config, [structures, other[0]], [labels, other[1]], output, **before)
