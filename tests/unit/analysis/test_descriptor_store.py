"""The descriptors store holds every structure of the data set, beside its label."""

import analysis_inputs as inputs
import numpy as np
import pytest

from morphion import store
from morphion.analysis.descriptors import descriptors_store
from morphion.errors import StoreError
from morphion.structures.descriptors import clusters, percolates, radial_distribution


def test_descriptors_are_those_of_each_structure(run):
    described = store.load(run.descriptors, kind="descriptors")
    data = store.load(run.last, kind="dataset")
    box, cutoff = data.attrs["box_length"], run.config.analysis.cluster_distance
    for i in (0, 33, data.sizes["structure"] - 1):
        positions = data.positions.values[i]
        np.testing.assert_array_equal(described.g.values[i], radial_distribution(positions, box))
        labels = clusters(positions, box, cutoff)
        assert described.clusters.values[i] == labels.max() + 1
        assert described.largest_cluster.values[i] == np.bincount(labels).max() / len(labels)
        np.testing.assert_array_equal(
            described.percolates.values[i], percolates(positions, box, cutoff)
        )


def test_labels_are_in_units_of_the_reference_diffusivity(run):
    described = store.load(run.descriptors, kind="descriptors")
    data = store.load(run.last, kind="dataset")
    np.testing.assert_allclose(
        described.diffusivity_star.values * inputs.REFERENCE, data.diffusivity.values
    )
    np.testing.assert_array_equal(described["round"].values, data["round"].values)
    assert described.r.values.tolist() == list(range(39))


def test_an_empty_data_set_is_refused(run, tmp_path):
    data = store.load(run.first, kind="dataset").isel(structure=slice(0, 0))
    store.write(tmp_path / "empty.zarr", data, kind="dataset", provenance={})
    with pytest.raises(StoreError, match="no structures to describe"):
        descriptors_store(tmp_path / "empty.zarr", run.config, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
