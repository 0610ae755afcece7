"""Other volume fractions: particles added and removed."""

import itertools

import numpy as np
import pytest
from scipy import stats

from morphion.config.geometry import Geometry, Structures
from morphion.config.root import Config
from morphion.errors import StructureError
from morphion.structures.addition import add_particles, at_loading, remove_particles
from morphion.structures.dataset import structure_dataset
from morphion.structures.generate import generate_shard
from morphion.structures.geometry import validate_structure
from morphion.structures.loadings import loading_structures

GEOMETRY = Geometry()


@pytest.fixture(scope="module")
def parents():
    structures = Structures(rsa=3, chain=8, gapped=6)
    return generate_shard(Config(output="run", structures=structures), 0)


@pytest.mark.parametrize(("volume_fraction", "particles"), [(0.15, 137), (0.05, 46)])
def test_loadings_have_the_papers_number_of_particles(parents, volume_fraction, particles):
    made, failed = loading_structures(parents, GEOMETRY, volume_fraction, 5)
    assert failed == []
    assert made.sizes["particle"] == particles
    assert made.attrs["volume_fraction"] == pytest.approx(volume_fraction, rel=0.012)
    assert np.array_equal(made["parent"], np.arange(17))
    for name in ("family", "group", "variant"):
        assert np.array_equal(made[name], parents[name])
    for positions in made["positions"].values:
        validate_structure(positions, 75.0, GEOMETRY.diameter, where="loading")


def test_added_particles_leave_the_given_ones_in_place(parents):
    given = parents["positions"].values[0]
    more = add_particles(given, 75.0, GEOMETRY.diameter, 137, 5, "loading", 0)
    assert more.dtype == np.float32
    assert np.array_equal(more[:91], given)


def test_removed_particles_leave_a_subset(parents):
    given = parents["positions"].values[0]
    fewer = remove_particles(given, 46, 5, "loading", 0)
    assert len(np.unique(fewer, axis=0)) == 46
    assert {tuple(row) for row in fewer} <= {tuple(row) for row in given}


def test_every_particle_is_removed_equally_often():
    labels = np.repeat(np.arange(20.0)[:, None], 3, axis=1)
    kept = np.concatenate([remove_particles(labels, 10, 1, "x", i)[:, 0] for i in range(1000)])
    # Each of 20 stays with probability 1/2; fixing the sum makes the variance 20/19 smaller.
    z = (np.bincount(kept.astype(int)) - 500) / np.sqrt(250)
    assert stats.chi2.sf((z**2).sum() * 19 / 20, 19) > 0.0027


def test_the_stream_of_a_loading_is_that_of_the_parent_not_of_its_place(parents):
    whole, _ = loading_structures(parents, GEOMETRY, 0.15, 5)
    some, _ = loading_structures(parents.isel(structure=[9, 2]), GEOMETRY, 0.15, 5)
    assert np.array_equal(some["positions"].values, whole["positions"].values[[9, 2]])
    assert not np.array_equal(
        at_loading(parents["positions"].values[2], 75.0, 9.6, 137, 6, "loading"),
        at_loading(parents["positions"].values[2], 75.0, 9.6, 137, 5, "loading"),
    )


def cubic_parents():
    """Spheres on a simple cubic grid without room for another, and pushed together to make some."""
    geometry = Geometry(voxels=30, particles=27, volume_fraction=0.37)
    grid = np.array(list(itertools.product(range(3), repeat=3)))
    positions = np.stack([10.0 * grid, 1.005 * geometry.diameter * grid])
    names = ["full-0", "loose-1"]
    data = structure_dataset(
        positions, 30.0, geometry.diameter, "rsa", 0, index=range(2), seed=1, group=names
    )
    return data, geometry


def test_a_structure_that_cannot_take_more_is_reported():
    parents, geometry = cubic_parents()
    made, failed = loading_structures(parents, geometry, 0.379, 1)
    assert geometry.particles_at(0.379) == 28
    assert failed == [0]
    assert list(made["group"].values) == ["loose-1"]
    assert list(made["parent"].values) == [1]


def test_a_loading_that_no_structure_can_reach_is_an_error():
    parents, geometry = cubic_parents()
    with pytest.raises(StructureError, match="none of 1 structures can be brought to 28 particles"):
        loading_structures(parents.isel(structure=[0]), geometry, 0.379, 1)


def test_an_empty_test_split_and_an_empty_loading_are_errors(parents):
    with pytest.raises(StructureError, match="the test split is empty"):
        loading_structures(parents.isel(structure=[]), GEOMETRY, 0.15, 1)
    with pytest.raises(StructureError, match="leaves no particle"):
        loading_structures(parents, GEOMETRY, 0.0001, 1)
    for fraction in (float("nan"), -0.1, 0.9):
        with pytest.raises(StructureError, match=r"is no volume fraction between 0 and 0\.38"):
            loading_structures(parents, GEOMETRY, fraction, 1)
