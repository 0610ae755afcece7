"""Costs of networks: operations by hand, times of batches, estimates of what is left out."""

import numpy as np
import pandas as pd
import pytest
from surrogate_cases import BOX, DIAMETER, make_config, make_positions, write_dataset

from morphion.analysis import speed
from morphion.analysis.costs import costs_table, left_out_table
from morphion.analysis.speed import prediction_times
from morphion.surrogates import Surrogate, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with a data set and two networks trained for an epoch."""
    folder = tmp_path_factory.mktemp("costs")
    write_dataset(folder / "d.zarr", make_positions())
    config = make_config(folder, max_epochs=1)
    for name in ("nearest_distance", "resistor-16", "untiled"):
        train(config, folder / "d.zarr", name, "random", 0, folder / name)
    return folder


def test_operations_are_those_of_a_hand_count(trained):
    models = {name: trained / name for name in ("nearest_distance", "resistor-16", "untiled")}
    costs_table(trained / "d.zarr", models, trained / "costs.csv")
    table = pd.read_csv(trained / "costs.csv").set_index("network")
    dense = table.loc["nearest_distance"]
    assert dense.parameters == (1 * 16 + 16) + (16 + 1)
    assert dense.flops == 2 * (1 * 16 + 16 * 1)
    resistor = table.loc["resistor-16"]
    # Fields of 25, 12, 6 and 3 voxels along an edge; 27 taps.
    layers = 25**3 * 1 * 2 + 12**3 * 2 * 2 + 6**3 * 2 * 4 + 3**3 * 4 * 4
    expected = 2 * (27 * layers + 4 * 8 + 8)
    assert table.loc["untiled"].flops == pytest.approx(expected, rel=1e-5)  # tables have six digits
    solves = 12**3 // 3 + 3 * 2 * 12**2
    assert resistor.flops > solves
    assert (resistor.training_structures, dense.training_structures) == (16, 39)
    assert (table.training_seconds > 0).all()
    assert (table.peak_memory_gb > 0.05).all()


@pytest.mark.parametrize("patience", [30.0, 1e-6])
def test_single_structures_and_batches_are_timed(trained, monkeypatch, patience):
    """The same batches of a network for which there is no time, so that any two compare."""
    monkeypatch.setattr(speed, "_PATIENCE", patience)
    surrogate = Surrogate.load(trained / "nearest_distance", "cpu")
    times = prediction_times(surrogate, make_positions(), BOX, DIAMETER)
    assert [row["batch"] for row in times] == [1, 64]
    for row in times:
        limits = [row[f"seconds_per_prediction{end}"] for end in ("_low", "", "_high")]
        assert 0 < limits[0] <= limits[1] <= limits[2]


def test_what_is_left_out_is_estimated_from_steps_taken_here(trained):
    config = make_config(trained, max_epochs=50)
    output = trained / "left_out.csv"
    left_out_table(trained / "d.zarr", ["untiled", "untiled-10"], config, output)
    table = pd.read_csv(output)
    assert table.training_structures.tolist() == [39, 10]
    assert table.seconds_per_sample.nunique() == 1
    assert (table[["seconds_single", "seconds_batched"]] > 0).all(axis=None)
    assert (table.batch_predicted > 1).all()
    assert table.kind.tolist() == ["paper"] * 2
    assert (table[["parameters", "flops"]] > 0).all(axis=None)
    np.testing.assert_allclose(
        table.hours, table.seconds_per_sample * table.training_structures * 50 / 3600, rtol=1e-5
    )
