"""Labels of another physics than a network's, or a configuration's, are told apart."""

import pytest
from surrogate_cases import make_config, write_dataset

from morphion import store
from morphion.config.labels import Labels
from morphion.config.load import block
from morphion.config.transport import CoverageShell
from morphion.errors import MorphionWarning, SurrogateError
from morphion.surrogates import Surrogate, predict_dataset, train


@pytest.fixture
def labelled(tmp_path, positions):
    """Write the data set as labelled with a transport model and labels of one's own."""

    def write(transport=None, **labels):
        path = write_dataset(tmp_path / "plain.zarr", positions)
        data = store.load(path, kind="dataset")
        config = {
            "transport": block(transport or CoverageShell()),
            "labels": block(Labels(**labels)),
        }
        provenance = {"config": config}
        output = tmp_path / "labelled.zarr"
        store.write(output, data, kind="dataset", provenance=provenance)
        return output

    return write


def test_labels_of_another_transport_model_are_refused(trained, labelled):
    path = labelled(CoverageShell(shell_radius=0.9))
    with pytest.raises(
        SurrogateError,
        match=r"labelled\.zarr: transport\.shell_radius = 0\.9, .* on labels with 0\.78",
    ):
        predict_dataset(Surrogate.load(trained, "cpu"), path)


def test_labels_of_another_lattice_are_a_warning(trained, labelled):
    path = labelled(lattice=40)
    with pytest.warns(MorphionWarning, match=r"labels of a 40\^3 lattice, .* of a 375\^3 one"):
        predict_dataset(Surrogate.load(trained, "cpu"), path)


@pytest.mark.parametrize(
    ("transport", "labels", "message"),
    [
        (CoverageShell(affinity=2.0), {}, r"labelled with transport\.affinity = 2\.0, .* has 8\.0"),
        (None, {"lattice": 40}, r"labelled with labels\.lattice = 40, .* has 375"),
        (None, {"method": "exact"}, r"labelled with labels\.method = exact, .* has kmc"),
    ],
)
def test_a_training_wants_the_labels_of_its_configuration(
    tmp_path, labelled, transport, labels, message
):
    config, path = make_config(tmp_path), labelled(transport, **labels)
    with pytest.raises(SurrogateError, match=message):
        train(config, path, "rdf", "random", 0, tmp_path / "model")


def test_labels_of_another_precision_are_trained_on(tmp_path, labelled):
    path = labelled(target_relative_error=0.03)
    train(make_config(tmp_path, max_epochs=1), path, "rdf", "random", 0, tmp_path / "model")
    predict_dataset(Surrogate.load(tmp_path / "model", "cpu"), path)
