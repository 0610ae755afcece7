"""Labels of the walk pass their verdict; labels of other physics or with other errors fail it."""

import pytest

from morphion import store
from morphion.config import Config, parse_config
from morphion.labels import label_shard
from morphion.structures.generate import generate_shard
from morphion.verdict import Decision, measure_shard, read_measured
from morphion.verdict.decision import decide

DRAWN = 32


def configured(**transport) -> Config:
    content = {
        "output": "out",
        "geometry": {"voxels": 24, "particles": 3},
        "structures": {"rsa": 20, "chain": 16, "gapped": 0, "chain_windows": [[9.7, 12.0]]},
        "labels": {"lattice": 24, "target_relative_error": 0.05},
        "transport": {"model": "coverage-shell", "shell_radius": 1.0, **transport},
        "verdict": {"structures_per_shard": DRAWN},
    }
    return parse_config(content, source="test", folder=".")


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Structures and the labels of their walks."""
    folder = tmp_path_factory.mktemp("verdict")
    structures, labels = folder / "structures.zarr", folder / "labels.zarr"
    store.write(structures, generate_shard(configured(), 0), kind="structures", provenance={})
    label_shard(configured(), "round0", structures, labels)
    return structures, labels


def verdict(config, structures, labels, output) -> Decision:
    measure_shard(config, "round0", structures, labels, output)
    return decide("round0", read_measured([output]), config.verdict.sigma)


def test_labels_of_the_walk_pass(shard, tmp_path):
    decision = verdict(configured(), *shard, tmp_path / "v.csv")
    assert decision.verdict == "pass", decision
    assert decision.tested == DRAWN


def test_labels_of_another_transport_model_fail(shard, tmp_path):
    other = configured(shell_diffusivity=0.35)
    decision = verdict(other, *shard, tmp_path / "v.csv")
    assert decision.verdict == "fail"
    assert any(reason.startswith("mean z = -") for reason in decision.reasons())


@pytest.mark.parametrize(
    "falsified",
    [
        lambda label: {"diffusivity": label.diffusivity + 1.5 * label.stderr},
        lambda label: {"stderr": 0.4 * label.stderr},
        lambda label: {"stderr": 3 * label.stderr},
        lambda label: {"diffusivity": label.diffusivity[::-1]},
    ],
    ids=["shifted", "errors too small", "errors too large", "of other structures"],
)
def test_falsified_labels_fail(shard, tmp_path, falsified):
    structures, labels = shard
    label = store.load(labels, kind="labels")
    label = label.assign({name: values.variable for name, values in falsified(label).items()})
    store.write(tmp_path / "labels.zarr", label, kind="labels", provenance={})
    decision = verdict(configured(), structures, tmp_path / "labels.zarr", tmp_path / "v.csv")
    assert decision.verdict == "fail"
