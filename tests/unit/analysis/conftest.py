"""Stores and tables that several modules of tests share, made once."""

from types import SimpleNamespace

import analysis_inputs as inputs
import pytest

from morphion.analysis.descriptors import descriptors_store
from morphion.analysis.extremes import extremes_table
from morphion.analysis.pca import pca_store
from morphion.config.labels import Labels


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A small finished run: data sets, predictions, annealing, descriptors and components."""
    folder = tmp_path_factory.mktemp("analysis")
    config = inputs.config()
    first = inputs.write_dataset(folder / "round0.zarr", 20)
    last = inputs.write_dataset(folder / "round1.zarr", 20, annealed=10)
    descriptors_store(last, config, folder / "descriptors.zarr")
    pca_store(folder / "descriptors.zarr", config, folder / "pca.zarr")
    exact = config.model_copy(update={"labels": Labels(method="exact", lattice=75)})
    extremes_table(last, exact, folder / "extremes.csv")
    return SimpleNamespace(
        config=config,
        first=first,
        last=last,
        descriptors=folder / "descriptors.zarr",
        pca=folder / "pca.zarr",
        extremes=folder / "extremes.csv",
        first_predictions=inputs.write_predictions(folder / "first.csv", first, noise=0.03),
        annealed=inputs.write_predictions(folder / "annealed.csv", last, noise=0.1, bias=0.05),
        retrained=inputs.write_predictions(folder / "retrained.csv", last, noise=0.02),
        maximise=[inputs.write_anneal(folder / "maximise.zarr", "maximise", range(2), 6)],
        minimise=[inputs.write_anneal(folder / "minimise.zarr", "minimise", range(2), 9)],
        history=inputs.write_history(folder / "history.csv", 12),
    )
