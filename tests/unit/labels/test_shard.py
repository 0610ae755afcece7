"""Labels of a shard depend on the structures only, and survive a killed job."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from host_device import HostDevice

import morphion.labels.label as label_module
import morphion.labels.shard as shard_module
from morphion import store
from morphion.config import Config, parse_config
from morphion.config.labels import Walked
from morphion.errors import DeviceError
from morphion.labels import label_shard
from morphion.structures.dataset import structure_dataset
from morphion.structures.generate import generate_shard


def configured(verdict=None, **labels) -> Config:
    content = {
        "output": "out",
        "geometry": {"voxels": 24, "particles": 3},
        "structures": {"rsa": 4, "chain": 0, "gapped": 0, "shard_size": 4},
        "labels": {"lattice": 20, "target_relative_error": 0.2, **labels},
        "verdict": verdict or {},
    }
    return parse_config(content, source="test", folder=".")


@pytest.fixture
def structures(tmp_path):
    path = tmp_path / "structures.zarr"
    store.write(path, generate_shard(configured(), 0), kind="structures", provenance={})
    return path


def values(path) -> xr.Dataset:
    return store.load(path, kind="labels").drop_vars("seconds")


CONTROLLED = {"lattice": 32, "control_variate": 20, "verdict": {"structures_per_shard": 2}}


@pytest.mark.parametrize("options", [{}, CONTROLLED], ids=["plain", "controlled"])
def test_an_interrupted_job_continues_to_the_uninterrupted_result(
    structures, tmp_path, monkeypatch, options
):
    config = configured(**options)
    label_shard(config, "round0", structures, tmp_path / "whole.zarr")
    label_structures, calls = shard_module.label_structures, []

    def killed_at_the_third(tasks, *arguments):
        for task, label in zip(tasks, label_structures(tasks, *arguments), strict=True):
            calls.append(task.what)
            if len(calls) == 3:
                raise KeyboardInterrupt
            yield label

    monkeypatch.setattr(shard_module, "label_structures", killed_at_the_third)
    output = tmp_path / "killed.zarr"
    with pytest.raises(KeyboardInterrupt):
        label_shard(config, "round0", structures, output)
    assert not output.exists()
    label_shard(config, "round0", structures, output)
    assert len(calls) == 5  # two finished, one killed, two left
    xr.testing.assert_equal(values(output), values(tmp_path / "whole.zarr"))
    assert not output.with_name("killed.zarr.partial").exists()


def test_walked_structures_of_a_run_with_exact_labels_get_both(structures, tmp_path):
    config = configured(method="exact").model_copy(
        update={"walked": Walked(structures=4, target_relative_error=0.2)}
    )
    label_shard(config, "round0", structures, tmp_path / "exact.zarr")
    label_shard(config, "walked", structures, tmp_path / "walked.zarr")
    exact, walked = values(tmp_path / "exact.zarr"), values(tmp_path / "walked.zarr")
    assert set(exact.method.values) == {"exact"}
    assert set(walked.method.values) == {"kmc"}
    assert (walked.stderr > 0).all()
    z = (walked.diffusivity - exact.diffusivity) / walked.stderr
    assert np.abs(z).max() < 3.5
    made = store.load(tmp_path / "walked.zarr", kind="labels").attrs["provenance"]["config"]
    assert made["labels"]["method"] == "kmc"


def drawn(structures, count) -> set[int]:
    data = store.load(structures, kind="structures")
    every = np.ones(data.sizes["structure"], bool)
    rows = shard_module.draw(data.family.values, data["index"].values, every, count, 2021, "round0")
    return {int(row) for row in rows}


def test_structures_that_a_verdict_draws_are_walked_without_the_control_variate(
    structures, tmp_path
):
    label_shard(configured(**CONTROLLED), "round0", structures, tmp_path / "controlled.zarr")
    plain = configured(lattice=32)
    label_shard(plain, "round0", structures, tmp_path / "plain.zarr")
    found, expected = values(tmp_path / "controlled.zarr"), values(tmp_path / "plain.zarr")
    judged = drawn(structures, 2)
    sites = found.control_variate.values
    assert {i for i in range(4) if sites[i] == 0} == judged
    assert (expected.control_variate == 0).all()
    assert set(sites) == {0, 20}
    for i in range(4):
        same = found.diffusivity.values[i] == expected.diffusivity.values[i]
        assert same == (i in judged)
        error = np.hypot(found.stderr.values[i], expected.stderr.values[i])
        assert abs(found.diffusivity.values[i] - expected.diffusivity.values[i]) < 3 * error
        if i not in judged:
            assert found.stderr.values[i] < 0.2 * expected.stderr.values[i]


def test_a_flagged_label_passes_its_place_on_to_the_next_of_the_draw(
    structures, tmp_path, monkeypatch
):
    """A verdict passes over flagged labels, so that the next one must be a plain walk as well."""
    first = min(drawn(structures, 1))
    walked, to_flag = label_module.estimate_all, ["the first"]

    def flags_the_first(prepared, *arguments, **options):
        results = walked(prepared, *arguments, **options)
        if to_flag:
            to_flag.pop()
            results[0] = replace(results[0], converged=False, reason="for a test")
        return results

    monkeypatch.setattr(label_module, "estimate_all", flags_the_first)
    config = configured(lattice=32, control_variate=20, verdict={"structures_per_shard": 1})
    label_shard(config, "round0", structures, tmp_path / "labels.zarr")
    found = values(tmp_path / "labels.zarr")
    plain = {i for i in range(4) if found.control_variate.values[i] == 0}
    assert not found.converged.values[first]
    assert plain == drawn(structures, 2)


def test_without_verdicts_every_structure_has_the_control_variate(structures, tmp_path):
    config = configured(lattice=32, control_variate=20, verdict={"structures_per_shard": 0})
    label_shard(config, "round0", structures, tmp_path / "labels.zarr")
    assert (values(tmp_path / "labels.zarr").control_variate == 20).all()


def test_a_label_does_not_depend_on_the_shard_it_is_in(structures, tmp_path):
    config = configured()
    label_shard(config, "round0", structures, tmp_path / "all.zarr")
    last = store.load(structures, kind="structures").isel(structure=[3])
    store.write(tmp_path / "last.zarr", last, kind="structures", provenance={})
    label_shard(config, "round0", tmp_path / "last.zarr", tmp_path / "one.zarr")
    together, alone = (store.load(tmp_path / n, kind="labels") for n in ("all.zarr", "one.zarr"))
    assert alone.diffusivity.values[0] == together.diffusivity.values[3]


def test_labels_agree_with_the_exact_method_within_three_standard_errors(structures, tmp_path):
    label_shard(configured(target_relative_error=0.03), "r", structures, tmp_path / "kmc.zarr")
    exact = configured(method="exact", relative_residual=1e-6)
    label_shard(exact, "r", structures, tmp_path / "exact.zarr")
    walked, solved = (store.load(tmp_path / n, kind="labels") for n in ("kmc.zarr", "exact.zarr"))
    z = (walked.diffusivity - solved.diffusivity) / walked.stderr
    assert (np.abs(z) < 3).all()
    assert (solved.stderr == 0).all()
    assert solved.converged.all()
    assert set(walked.msd.dims) == {"structure", "lag"}


@pytest.mark.parametrize(
    ("memory", "options"),
    [(1e9, {}), (250_000, {}), (1e9, CONTROLLED), (700_000, CONTROLLED)],
    ids=["plain", "short of memory", "controlled", "controlled, short of memory"],
)
def test_labels_of_a_gpu_are_those_of_the_cpu_bit_for_bit(
    structures, tmp_path, monkeypatch, memory, options
):
    """Also where not all structures fit on the device together."""
    config = configured(**options)
    label_shard(config, "round0", structures, tmp_path / "cpu.zarr")
    monkeypatch.setattr(shard_module, "choose", lambda engine: HostDevice(memory))
    label_shard(config, "round0", structures, tmp_path / "gpu.zarr")
    xr.testing.assert_equal(values(tmp_path / "gpu.zarr"), values(tmp_path / "cpu.zarr"))
    provenance = store.load(tmp_path / "gpu.zarr", kind="labels").attrs["provenance"]
    assert provenance["engine"] == "host"


def test_exact_labels_of_a_gpu_agree_with_those_of_the_cpu(structures, tmp_path, monkeypatch):
    config, device = configured(method="exact", relative_residual=1e-6), HostDevice()
    label_shard(config, "round0", structures, tmp_path / "cpu.zarr")
    monkeypatch.setattr(shard_module, "choose", lambda engine: device)
    label_shard(config, "round0", structures, tmp_path / "gpu.zarr")
    assert "small_levels" in device.launches
    found, expected = values(tmp_path / "gpu.zarr"), values(tmp_path / "cpu.zarr")
    xr.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert found.converged.all()


def test_a_gpu_that_is_not_there_is_an_error_before_any_work(structures, tmp_path):
    config = configured().model_copy(update={"engine": "gpu"})
    with pytest.raises(DeviceError, match="no GPU can be used"):
        label_shard(config, "round0", structures, tmp_path / "labels.zarr")
    assert list(tmp_path.iterdir()) == [structures]


def test_a_shard_without_structures_gets_a_store_without_labels(structures, tmp_path):
    nothing = store.load(structures, kind="structures").isel(structure=slice(0, 0))
    store.write(tmp_path / "none.zarr", nothing, kind="structures", provenance={})
    label_shard(configured(), "round1", tmp_path / "none.zarr", tmp_path / "labels.zarr")
    assert store.load(tmp_path / "labels.zarr", kind="labels").sizes["structure"] == 0


def test_sets_have_walks_of_their_own(structures, tmp_path):
    for set_ in ("round0", "evaluation"):
        label_shard(configured(), set_, structures, tmp_path / f"{set_}.zarr")
    first, second = (values(tmp_path / f"{s}.zarr") for s in ("round0", "evaluation"))
    assert (first.diffusivity.values != second.diffusivity.values).all()


def test_structure_dataset_is_what_the_stage_reads():
    data = structure_dataset(np.zeros((1, 3, 3)), 24.0, 9.0, "rsa", 0, [0], 1, ["rsa-0"])
    assert data.positions.dtype == np.float32
