import shutil

import numpy as np
import pytest
import xarray as xr
from anneal_systems import (
    Interrupting,
    layered_energy,
    small_config,
    write_untrained_model,
)

from morphion import store
from morphion.anneal import trajectory
from morphion.anneal.moves import identities
from morphion.anneal.stage import anneal, anneal_with_energy, runs_of_job
from morphion.anneal.trajectory import read_evaluated, read_structures
from morphion.errors import ConfigError, StoreError, StructureError, SurrogateError
from morphion.structures.families import generate
from morphion.structures.geometry import closest_pair
from morphion.surrogates import Surrogate


def _anneal(config, output, energy=layered_energy, runs=range(2), objective="maximise", **options):
    settings = {"model": "m", "model_digest": "d", "reference_diffusivity": 0.04, **options}
    anneal_with_energy(energy, config, 0, objective, runs, output, **settings)
    return output


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_config(tmp_path_factory.mktemp("anneal"))


@pytest.fixture(scope="module")
def annealed(config):
    return _anneal(config, config.output / "maximise-00.zarr")


def test_the_store_holds_every_accepted_structure_in_order_of_run_and_step(config, annealed):
    data = xr.open_zarr(annealed).load()
    run, step = data.accepted_run.values, data.accepted_step.values
    assert np.array_equal(np.lexsort((step, run)), np.arange(len(step)))
    assert (step == -1).sum() == 2
    centres = data.voxels.values + 0.5
    predicted = layered_energy(centres)
    assert np.array_equal(predicted.astype(np.float32), data.accepted_prediction.values)
    assert min(closest_pair(c, 20.0)[0] for c in centres) >= config.geometry.diameter
    moved = (centres[1:] != centres[:-1]).any(axis=2).sum(axis=1)
    assert (moved[run[1:] == run[:-1]] == 1).all()
    assert np.array_equal(identities(data.voxels.values, 20), data.accepted_identity.values)


def test_traces_agree_with_the_accepted_structures(annealed):
    data = xr.open_zarr(annealed).load()
    assert data.temperature.values == pytest.approx(0.01 * 0.9 ** np.arange(4))
    for place, run in enumerate(data.run.values):
        path = data.isel(accepted=data.accepted_run.values == run)
        for cycle in range(4):
            so_far = path.accepted_prediction.values[path.accepted_cycle.values <= cycle]
            assert np.float32(data.prediction.values[place, cycle]) == so_far[-1]
            assert np.float32(data.best.values[place, cycle]) == so_far.max()
            moves = (path.accepted_cycle.values == cycle) & (path.accepted_step.values >= 0)
            assert data.acceptance.values[place, cycle] == moves.sum() / 100


@pytest.mark.parametrize("calls", [0, 150, 399])
def test_a_killed_job_continues_in_its_cycle_and_ends_with_the_same_store(
    config, annealed, tmp_path, calls
):
    output = tmp_path / "maximise-00.zarr"
    with pytest.raises(KeyboardInterrupt):
        _anneal(config, output, Interrupting(layered_energy, calls))
    assert not output.exists()
    rest = Interrupting(layered_energy, -1)
    _anneal(config, output, rest)
    cycles_done = max(0, calls - 1) // 100
    assert -1 - rest.left == (4 - cycles_done) * 100 + (calls == 0)
    assert store.verify(output) == store.verify(annealed)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_another_network_does_not_continue_from_old_cycles(config, tmp_path):
    output = tmp_path / "maximise-00.zarr"
    with pytest.raises(KeyboardInterrupt):
        _anneal(config, output, Interrupting(layered_energy, 250))
    fresh = Interrupting(layered_energy, -1)
    _anneal(config, output, fresh, model_digest="another")
    assert -1 - fresh.left == 401


def test_runs_are_the_same_in_one_job_or_in_several(config, annealed, tmp_path):
    together = xr.open_zarr(annealed).load()
    alone = xr.open_zarr(_anneal(config, tmp_path / "a.zarr", runs=range(1, 2))).load()
    rows = together.accepted_run.values == 1
    assert np.array_equal(together.voxels.values[rows], alone.voxels.values)
    assert np.array_equal(together.isel(run=[1]).prediction, alone.prediction)


def test_rounds_and_objectives_start_elsewhere(config, annealed, tmp_path):
    other = _anneal(config, tmp_path / "a.zarr", objective="minimise")
    first = [store.open_lazy(path, kind="anneal")["voxels"][0] for path in (annealed, other)]
    assert not np.array_equal(*first)


def test_blocks_do_not_change_what_is_stored(config, annealed, tmp_path, monkeypatch):
    monkeypatch.setattr(trajectory, "_SHARD", 64)
    assert store.verify(_anneal(config, tmp_path / "a.zarr")) == store.verify(annealed)


def test_reading_rows_touches_only_their_shards(config, tmp_path, monkeypatch):
    monkeypatch.setattr(trajectory, "_SHARD", 64)
    path = _anneal(config, tmp_path / "a.zarr")
    evaluated = read_evaluated([path], "maximise")
    assert len(evaluated) > 192
    (path / "voxels" / "c" / "1" / "0" / "0").write_bytes(b"damaged")
    rows = np.array([130, 3, 60])
    found = read_structures([path], evaluated[rows], 20)
    assert np.array_equal(identities(found, 20), evaluated.identity[rows])
    with pytest.raises(StoreError, match="array 'voxels' cannot be decoded"):
        read_structures([path], evaluated[np.array([70])], 20)


def test_an_altered_structure_is_noticed(annealed, tmp_path):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(annealed, copy)
    evaluated = read_evaluated([copy], "maximise")
    evaluated.identity[4] += np.uint64(1)
    with pytest.raises(StoreError, match="structure 4 of array 'voxels' differs"):
        read_structures([copy], evaluated[np.arange(10)], 20)


def test_given_starts_are_relaxed_onto_voxels(config, tmp_path, capsys):
    starts = np.stack(
        [generate(config.geometry, config.structures, 1, "rsa", index) for index in range(2)]
    )
    path = _anneal(config, tmp_path / "a.zarr", starts=starts)
    assert "start of maximise run 1: relaxed onto voxel centres" in capsys.readouterr().err
    first = store.open_lazy(path, kind="anneal")["voxels"][0] + 0.5
    offset = np.abs(first - starts[0])
    assert np.minimum(offset, 20 - offset).max() < 3
    with pytest.raises(StructureError, match=r"1 starts for 2 runs, 0 to 1: name one for each"):
        _anneal(config, tmp_path / "b.zarr", starts=starts[:1])


def test_jobs_share_the_runs(config):
    settings = config.anneal.model_copy(
        update={
            "runs_per_job": 4,
            "maximise": config.anneal.maximise.model_copy(update={"runs": 10}),
        }
    )
    assert settings.jobs("maximise") == 3
    assert [list(runs_of_job(settings, "maximise", job)) for job in range(3)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    with pytest.raises(ConfigError, match=r"anneal job 3 does not exist: anneal\.maximise\.runs"):
        runs_of_job(settings, "maximise", 3)
    with pytest.raises(ConfigError, match="objective 'sideways' is unknown"):
        runs_of_job(settings, "sideways", 0)


@pytest.fixture(scope="module")
def model(config):
    return write_untrained_model(config.output / "model", config)


def test_a_network_is_the_energy(config, model, tmp_path):
    output = tmp_path / "minimise-00.zarr"
    config = small_config(tmp_path, steps_per_cycle=20)
    anneal(config, model, 0, "minimise", 0, output)
    data = xr.open_zarr(output).load()
    surrogate = Surrogate.load(model)
    predicted, _ = surrogate.predict(data.voxels.values + 0.5, 20.0, config.geometry.diameter)
    assert data.accepted_prediction.values == pytest.approx(predicted, rel=1e-5)
    assert data.attrs["reference_diffusivity"] == surrogate.reference_diffusivity
    starts = data.accepted_prediction.values[data.accepted_step.values == -1]
    assert (data.best.values[:, -1] < starts).all()


def test_another_geometry_than_the_network_was_trained_on_is_refused(config, model, tmp_path):
    geometry = config.geometry.model_copy(update={"volume_fraction": 0.08})
    other = config.model_copy(update={"geometry": geometry})
    with pytest.raises(SurrogateError, match="sphere diameter"):
        anneal(other, model, 0, "maximise", 0, tmp_path / "a.zarr")
    with pytest.raises(SurrogateError, match=r"model\.json: cannot be read"):
        anneal(config, tmp_path / "nowhere", 0, "maximise", 0, tmp_path / "a.zarr")


def test_a_network_of_another_transport_model_is_refused(config, model, tmp_path):
    transport = config.transport.model_copy(update={"affinity": 6.0})
    other = config.model_copy(update={"transport": transport})
    with pytest.raises(SurrogateError, match=r"transport\.affinity = 6\.0, .* with 8\.0"):
        anneal(other, model, 0, "maximise", 0, tmp_path / "a.zarr")
