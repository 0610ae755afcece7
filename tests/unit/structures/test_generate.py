"""The stage that generates shards."""

import numpy as np
import pytest
import xarray as xr

from morphion.config.geometry import Structures
from morphion.config.root import Config
from morphion.errors import StructureError
from morphion.structures.dataset import structure_dataset
from morphion.structures.generate import generate_shard, shard_count


def config(shard_size, seed=3):
    structures = Structures(rsa=4, chain=18, gapped=7, shard_size=shard_size)
    return Config(output="run", seed=seed, structures=structures)


def all_shards(run):
    shards = [generate_shard(run, shard) for shard in range(shard_count(run.structures))]
    return xr.concat(shards, "structure", data_vars="minimal", combine_attrs="identical")


def test_structures_do_not_depend_on_the_shard_size():
    xr.testing.assert_identical(all_shards(config(4)), all_shards(config(29)))
    xr.testing.assert_identical(all_shards(config(10)), all_shards(config(29)))


def test_a_shard_says_what_its_structures_are():
    data = all_shards(config(100))
    assert data.sizes == {"structure": 29, "particle": 91, "xyz": 3}
    assert data.positions.dtype == np.float32
    assert data.positions.attrs["units"] == "voxel"
    assert data["variant"].dtype == np.int32
    assert data["index"].dtype == data["seed"].dtype == np.int64
    assert data.attrs["kind"] == "structures"
    assert data.attrs["box_length"] == 75
    assert data.attrs["diameter"] == pytest.approx(9.602432, abs=1e-6)
    assert data.attrs["volume_fraction"] == pytest.approx(0.1)
    names, counts = np.unique(data["family"].values, return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"rsa": 4, "chain": 18, "gapped": 7}
    assert len(set(data["group"].values)) == 29
    assert (data["seed"].values == 3).all()


def test_a_shard_that_does_not_exist_is_an_error():
    with pytest.raises(StructureError, match=r"shard 3 does not exist.*shards 0 to 2"):
        generate_shard(config(10), 3)


def test_extra_quantities_travel_with_the_structures():
    data = structure_dataset(
        np.zeros((2, 1, 3)),
        10.0,
        1.0,
        family="annealed",
        variant=0,
        index=[4, 9],
        seed=1,
        group=["run-0", "run-0"],
        prediction=np.array([0.5, 0.6]),
        trace=xr.Variable(("structure", "cycle"), np.ones((2, 3))),
    )
    assert data["prediction"].dims == ("structure",)
    assert data["trace"].dims == ("structure", "cycle")
    assert list(data["family"].values) == ["annealed", "annealed"]
