"""The network that ships: right within its spread, aware of its limits, whole or refused."""

import fnmatch
import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from morphion import store
from morphion.config.geometry import Geometry, Structures
from morphion.structures.families import generate
from morphion.structures.files import read_structure, write_structure
from morphion.surrogates import Surrogate, shipped
from morphion.surrogates.domain import describe, domain_reasons
from morphion.surrogates.model import read_description
from morphion.surrogates.publish import portable
from morphion.surrogates.shipped import shipped_model

ROOT = Path(__file__).parents[3]
ANNEALED = ROOT / "tests/data/annealed.xyz"
GEOMETRY = Geometry()  # as in the study
SEED = 90210  # of no structure in the study
FAMILIES = {"rsa": 4, "chain": 32, "gapped": 12}  # about as in the study

KEYS = {
    "structure",
    "diffusivity",
    "spread",
    "diffusivity_star",
    "spread_star",
    "in_domain",
    "reason",
    "network",
    "lattice",
    "transport",
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Files of structures of the training's families from another seed."""
    folder, paths = tmp_path_factory.mktemp("fresh"), []
    for family, count in FAMILIES.items():
        for index in range(count):
            positions = generate(GEOMETRY, Structures(), SEED, family, index)
            paths.append(folder / f"{family}-{index}.gsd")
            write_structure(paths[-1], positions, GEOMETRY.box_length, GEOMETRY.diameter)
    return paths


@pytest.fixture(scope="module")
def tested():
    """Centres, labels, D* and spread of 256 structures of the study's test set."""
    names = ("positions", "diffusivity", "split_random")
    data = store.load(ROOT / "data/study.zarr.zip", kind="dataset", names=names)
    rows = np.flatnonzero(data.split_random.values == "test")[:256]
    surrogate = Surrogate.load(shipped_model(), "cpu")
    positions = data.positions.values[rows]
    prediction = surrogate.predict(positions, GEOMETRY.box_length, GEOMETRY.diameter)
    label = data.diffusivity.values[rows] / data.attrs["reference_diffusivity"]
    return positions, label, *prediction


@pytest.fixture
def predicted(morphion):
    """Run ``morphion predict --json``; returns its entries."""

    def run(*arguments):
        code, out, err = morphion("predict", *arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return run


def write(path, positions, box_length=GEOMETRY.box_length, diameter=GEOMETRY.diameter):
    write_structure(path, np.asarray(positions), box_length, diameter)
    return path


def squared_errors(label, prediction, spread):
    return ((label - np.asarray(prediction)) / spread) ** 2


def test_a_prediction_needs_no_model_and_says_what_it_is(predicted, fresh):
    found = predicted(*fresh)
    described = read_description(shipped_model())
    for row in found:
        assert set(row) - {"tensor"} == KEYS
        assert (row["in_domain"], row["reason"]) == (True, None)
        assert row["lattice"] == described.labels["lattice"] == 75
        assert row["transport"] == described.transport
        assert row["diffusivity"] == pytest.approx(
            row["diffusivity_star"] * described.reference_diffusivity
        )
        if "tensor" in row:
            assert np.trace(row["tensor"]) / 3 == pytest.approx(row["diffusivity"], rel=1e-5)
    assert len({row["diffusivity"] for row in found}) == len(fresh)


def test_errors_on_the_test_set_are_what_the_spread_says(tested):
    # Over the validation set, of 1024, the spread was fitted: there the mean is 1.
    _, label, prediction, spread = tested
    squared = squared_errors(label, prediction, spread)
    error = squared.std() * np.sqrt(1 / len(squared) + 1 / 1024)
    assert abs(squared.mean() - 1) < 3 * error


def test_predictions_and_exact_labels_differ_by_what_the_spread_says(
    morphion, predicted, fresh, tested
):
    arguments = ("--method", "exact", "--lattice", 75, "--relative-residual", 1e-5, "--json")
    exact = json.loads(morphion("label", *fresh, *arguments)[1])
    found = predicted(*fresh)
    squared = squared_errors(
        np.array([row["diffusivity"] for row in exact]),
        [row["diffusivity"] for row in found],
        np.array([row["spread"] for row in found]),
    )
    # As often as on the test set, whose shares the card tells. A mean would hang on one error far
    # out in a tail that is longer than a normal one.
    on_tested = squared_errors(*tested[1:])
    for within in (1.0, 1.96):
        share, expected = ((part < within**2).mean() for part in (squared, on_tested))
        error = np.sqrt(expected * (1 - expected) * (1 / len(squared) + 1 / len(on_tested)))
        assert abs(share - expected) < 3 * error


def test_structures_of_the_test_set_lie_in_the_domain(tested):
    positions, _, prediction, spread = tested
    domain = read_description(shipped_model()).domain
    quantities = describe(positions, GEOMETRY.box_length, GEOMETRY.diameter)
    quantities |= {"diffusivity_star": prediction, "relative_spread": spread / prediction}
    outside = sum(
        bool(domain_reasons(domain, {name: values[row] for name, values in quantities.items()}))
        for row in range(len(positions))
    )
    # Each of 5 quantities with two ends and one with one: 256 x 11 / 4097 = 0.7 are expected.
    assert outside <= 0.7 + 3 * np.sqrt(0.7)


def test_an_annealed_structure_is_told_from_the_training_set(predicted):
    (row,) = predicted(ANNEALED)
    _, highest = read_description(shipped_model()).domain["diffusivity_star"]
    assert row["diffusivity_star"] > highest
    assert row["in_domain"] is False
    assert f"D* {row['diffusivity_star']:.4g} (training labels: " in row["reason"]


def test_another_loading_is_outside(predicted, tmp_path, fresh):
    structure = read_structure(fresh[0])
    path = write(tmp_path / "s.gsd", structure.positions[:70])
    (row,) = predicted(path)
    assert row["in_domain"] is False
    assert "volume fraction 0.07692 (training structures: 0.1)" in row["reason"]
    assert "box edge" not in row["reason"]


def test_another_box_at_the_same_loading_is_outside(predicted, tmp_path, fresh):
    structure, shifts = read_structure(fresh[0]), np.indices((2, 2, 2)).reshape(3, -1).T
    repeated = (structure.positions[:, None] + 75.0 * shifts).reshape(-1, 3)
    (one, eight) = predicted(fresh[0], write(tmp_path / "s.gsd", repeated, 150.0))
    assert eight["in_domain"] is False
    assert "box edge 15.62 sphere diameters (training structures: 7.811)" in eight["reason"]
    assert "volume fraction" not in eight["reason"]
    assert eight["diffusivity"] == pytest.approx(one["diffusivity"], rel=1e-4)
    assert (one["lattice"], eight["lattice"]) == (75, 150)  # at one spacing


def test_a_crystal_is_outside(predicted, tmp_path):
    sites = np.indices((5, 5, 5)).reshape(3, -1).T * 15.0
    (row,) = predicted(write(tmp_path / "s.xyz", sites[:91]))
    assert row["in_domain"] is False
    assert "standard deviation of that distance 0 sphere diameters" in row["reason"]


def test_a_compact_cluster_is_outside(predicted, tmp_path):
    sites = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    inner = sites[np.argsort((sites**2).sum(1), kind="stable")[:91]]
    (row,) = predicted(write(tmp_path / "s.xyz", 37 + 1.05 * GEOMETRY.diameter * inner))
    assert row["in_domain"] is False
    assert "structure factor at 2 pi / L" in row["reason"]


def test_another_transport_model_is_outside_and_named(predicted, tmp_path, fresh):
    path = tmp_path / "transport.yaml"
    path.write_text("model: coverage-shell\naffinity: 6\n")
    (row,) = predicted(fresh[0], "--transport", path)
    assert row["in_domain"] is False
    assert row["reason"] == "transport model: affinity = 6.0 (training labels: 8.0)"
    assert row["transport"]["affinity"] == 8
    (row,) = predicted(fresh[0], "--transport", ROOT / "config/transport/coverage-shell.yaml")
    assert row["in_domain"] is True
    (row,) = predicted(fresh[0], "--transport", ROOT / "config/transport/example-table.yaml")
    assert row["reason"] == "transport model: model = table (training labels: coverage-shell)"


def test_a_network_of_another_chemistry_is_meant_for_it(predicted, tmp_path, fresh):
    folder = shutil.copytree(shipped_model(), tmp_path / "mine")
    (folder / "SHA256SUMS").unlink()
    described = json.loads((folder / "model.json").read_text())
    described["transport"]["affinity"] = 5.0
    (folder / "model.json").write_text(json.dumps(described))
    (row,) = predicted(fresh[0], "--model", folder)
    assert (row["in_domain"], row["reason"]) == (True, None)
    transport = ROOT / "config/transport/coverage-shell.yaml"
    (row,) = predicted(fresh[0], "--model", folder, "--transport", transport)
    assert row["reason"] == "transport model: affinity = 8.0 (training labels: 5.0)"


def test_no_digit_is_left_out_on_a_narrow_terminal(morphion, monkeypatch, fresh):
    rows = []
    for columns in (200, 40):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, _ = morphion("predict", fresh[0])
        assert code == 0
        rows.append(re.findall(r"\d\.\d+", out))
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3


def test_the_table_for_people_says_what_is_outside_and_why(morphion, fresh):
    code, out, _ = morphion("predict", fresh[0], ANNEALED)
    assert code == 0
    assert "yes" in out
    assert "NO" in out
    assert "training labels" in out


def test_overlapping_spheres_are_refused(morphion, tmp_path, fresh):
    text = "2\n" + (
        'Lattice="75 0 0 0 75 0 0 0 75" Properties=pos:R:3:radius:R:1\n0 0 0 4.8\n0 0 70 4.8\n'
    )
    (tmp_path / "s.xyz").write_text(text)
    code, out, err = morphion("predict", fresh[0], tmp_path / "s.xyz")
    assert (code, out) == (2, "")
    assert "s.xyz" in err
    assert "overlap" in err


def test_a_small_box_is_that_of_several_of_it(morphion, tmp_path):
    centres = np.array([[1.0, 1, 1], [3, 3, 3], [1, 3, 1.2], [3, 1, 2.9]])
    images = 4.0 * np.indices((2, 2, 2)).reshape(3, -1).T
    write(tmp_path / "small.xyz", centres, 4.0, 1.0)
    write(tmp_path / "large.xyz", (centres[:, None] + images).reshape(-1, 3), 8.0, 1.0)
    code, out, _ = morphion("predict", tmp_path / "small.xyz", tmp_path / "large.xyz", "--json")
    assert code == 0
    small, large = json.loads(out)
    assert small["diffusivity"] == pytest.approx(large["diffusivity"], rel=1e-5)
    assert not small["in_domain"]


def test_inspect_describes_the_shipped_network(morphion):
    code, out, _ = morphion("inspect", shipped_model())
    assert code == 0
    assert '"diffusivity_star"' in out
    assert "integrity" in out


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A copy of the shipped folder, to damage, in the place where it is looked for."""
    monkeypatch.setattr(shipped, "MODELS", tmp_path)
    return shutil.copytree(shipped_model_of_package(), tmp_path / shipped.DEFAULT)


def shipped_model_of_package():
    return ROOT / "workflow/morphion/models" / shipped.DEFAULT


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "SHA256SUMS"])
def test_a_shipped_network_that_is_not_whole_is_refused(morphion, installed, fresh, name):
    (installed / name).unlink()
    code, out, err = morphion("predict", fresh[0])
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert str(installed / name) in line
    assert "install" in line


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_one_altered_byte_of_the_shipped_network_is_told(morphion, installed, fresh, name):
    content = bytearray((installed / name).read_bytes())
    content[-30] ^= 1
    (installed / name).write_bytes(content)
    code, _, err = morphion("predict", fresh[0])
    assert code == 2
    assert f"{name}: differs from SHA256SUMS" in err


def test_the_shipped_network_is_small_and_part_of_the_package():
    files = list(shipped_model().iterdir())
    assert {"README.md", "SHA256SUMS", "model.json", "model.safetensors"} == {
        path.name for path in files
    }
    assert sum(path.stat().st_size for path in files) < 5e6
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["morphion"]
    for path in files:
        inside = path.relative_to(ROOT / "workflow/morphion")
        assert any(fnmatch.fnmatch(str(inside), pattern) for pattern in patterns), inside


def test_the_shipped_network_names_no_machine():
    described = read_description(shipped_model())
    assert portable(described) == described
