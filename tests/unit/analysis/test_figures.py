"""Every figure becomes a valid PNG and SVG, also from sparse runs; empty inputs are refused."""

import xml.etree.ElementTree as ElementTree

import analysis_inputs as inputs
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from morphion import store
from morphion.analysis import (
    annealing,
    calibration,
    components,
    extremes,
    overview,
    parity,
    snapshots,
    tables,
)
from morphion.errors import MorphionError, StoreError


def assert_drawn(output):
    image = matplotlib.image.imread(output)[..., :3]
    assert min(image.shape[:2]) > 400
    assert 0.01 < np.mean(image.min(axis=2) < 0.9) < 0.9  # neither blank nor full
    root = ElementTree.parse(output.with_suffix(".svg")).getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 30
    assert {path.suffix for path in output.parent.iterdir()} == {".png", ".svg"}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "figures" / "figure.png"


def test_figure3(run, output):
    parity.figure3(run.first_predictions, output)
    assert_drawn(output)


def test_figure5(run, output, tmp_path):
    networks = {"periodic": run.first_predictions, "nearest_distance": run.first_predictions}
    tables.networks_table(networks, run.config, tmp_path / "networks.csv")
    overview.figure5(tmp_path / "networks.csv", output)
    assert_drawn(output)


def test_learning_curves(run, output, tmp_path):
    trainings = {"periodic": run.retrained, "rdf": run.annealed, "periodic-2": run.annealed}
    tables.learning_curve_table(trainings, run.config, tmp_path / "curve.csv")
    overview.learning_curves(tmp_path / "curve.csv", output)
    assert_drawn(output)


def test_calibration(run, output):
    networks = {"periodic": run.first_predictions, "rdf": run.retrained}
    calibration.calibration_figure(networks, run.first_predictions, run.annealed, output)
    assert_drawn(output)


def test_figure6(run, output):
    annealing.figure6(run.maximise, run.minimise, run.annealed, output)
    assert_drawn(output)


def test_figure7(run, output):
    parity.figure7(run.retrained, run.annealed, output)
    assert_drawn(output)


def test_figure8(run, output):
    parity.figure8({0.15: run.retrained, 0.05: run.annealed}, output)
    assert_drawn(output)


def test_figure9(run, output, monkeypatch):
    monkeypatch.setattr(snapshots, "_PIXELS", 300)
    snapshots.figure9(run.last, run.extremes, run.config, output)
    assert_drawn(output)


def test_figure10(run, output):
    components.figure10(run.descriptors, run.pca, run.config, output)
    assert_drawn(output)


def test_structures_figure(run, output):
    overview.structures_figure(run.last, output)
    assert_drawn(output)


def test_training_figure(run, output):
    overview.training_figure({f"round {i}": run.history for i in range(4)}, output)
    assert_drawn(output)


def test_the_same_figure_is_the_same_file(run, tmp_path):
    for name in ("a", "b"):
        parity.figure3(run.first_predictions, tmp_path / f"{name}.png")
    for suffix in (".png", ".svg"):
        first, second = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in "ab")
        assert first == second


def test_a_figure_of_a_sparse_run_says_which_panel_is_empty(run, output, tmp_path):
    table = pd.read_csv(run.first_predictions)
    table[table.split == "train"].to_csv(tmp_path / "sparse.csv", index=False)
    parity.figure3(tmp_path / "sparse.csv", output)
    assert_drawn(output)
    assert "no structures" in output.with_suffix(".svg").read_text()


def test_calibration_of_too_few_structures_is_not_drawn(run, output, tmp_path):
    table = pd.read_csv(run.first_predictions)
    table[table.split == "train"].to_csv(tmp_path / "sparse.csv", index=False)
    sparse = tmp_path / "sparse.csv"
    calibration.calibration_figure({"periodic": sparse}, sparse, run.annealed, output)
    assert_drawn(output)
    drawn = output.with_suffix(".svg").read_text()
    assert "fewer than 10 structures" in drawn
    assert "no structures" in drawn


def test_annealing_without_selected_structures_still_shows_its_traces(run, output):
    annealing.figure6(run.maximise, run.minimise, run.first_predictions, output)
    assert_drawn(output)


def test_unlabelled_data_is_refused(run, output, tmp_path):
    data = store.load(run.first, kind="dataset")
    data["converged"][:] = False
    store.write(tmp_path / "none.zarr", data, kind="dataset", provenance={})
    with pytest.raises(StoreError, match="no converged label"):
        overview.structures_figure(tmp_path / "none.zarr", output)
    with pytest.raises(StoreError, match="no converged label"):
        extremes.extremes_table(tmp_path / "none.zarr", run.config, output)
    table = pd.read_csv(run.first_predictions).assign(converged=False)
    table.to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(MorphionError, match="no structure with a converged label"):
        parity.figure3(tmp_path / "none.csv", output)
    assert not output.exists()


def test_missing_inputs_are_refused_by_name(run, output, tmp_path):
    with pytest.raises(MorphionError, match="no annealing store of the objective 'minimise'"):
        annealing.figure6(run.maximise, [], run.annealed, output)
    with pytest.raises(MorphionError, match="no training history"):
        overview.training_figure({}, output)
    with pytest.raises(MorphionError, match=r"gone\.csv"):
        overview.training_figure({"a": tmp_path / "gone.csv"}, output)
    with pytest.raises(MorphionError, match=r"gone\.csv"):
        overview.figure5(tmp_path / "gone.csv", output)
    with pytest.raises(MorphionError, match="no structure"):
        parity.figure8({}, output)


def test_components_of_another_store_are_refused(run, output, tmp_path):
    described = store.load(run.descriptors, kind="descriptors").isel(structure=slice(0, 5))
    store.write(tmp_path / "few.zarr", described, kind="descriptors", provenance={})
    with pytest.raises(StoreError, match="not the principal components of"):
        components.figure10(tmp_path / "few.zarr", run.pca, inputs.config(), output)


def test_a_training_without_epochs_has_an_empty_panel(run, output, tmp_path):
    none = tmp_path / "none.csv"
    none.write_text("epoch,train_loss,validation_loss\n")
    overview.training_figure({"periodic": run.history, "trees": none}, output)
    assert_drawn(output)
