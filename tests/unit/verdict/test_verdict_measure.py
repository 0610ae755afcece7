"""Drawn labels stand beside the exact solution of their own lattice; a killed job continues."""

import numpy as np
import pandas as pd
import pytest

import morphion.verdict.solutions as solutions_module
from morphion import store
from morphion.config import Config, parse_config
from morphion.errors import StoreError, VerdictError
from morphion.exact import solve
from morphion.kmc.palette import quantised
from morphion.labels import label_shard
from morphion.structures.generate import generate_shard
from morphion.transport import rasterise
from morphion.verdict import measure_shard, read_measured
from morphion.verdict.measure import COLUMNS, _compared


def configured(verdict=None, **labels) -> Config:
    content = {
        "output": "out",
        "geometry": {"voxels": 24, "particles": 3},
        "structures": {"rsa": 6, "chain": 0, "gapped": 0, "shard_size": 6},
        "labels": {"lattice": 20, "target_relative_error": 0.2, **labels},
        "verdict": verdict or {"structures_per_shard": 4},
    }
    return parse_config(content, source="test", folder=".")


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Structures and their kMC labels, of which those of rows 1 and 4 are flagged."""
    folder = tmp_path_factory.mktemp("shard")
    structures, labels = folder / "structures.zarr", folder / "labels.zarr"
    store.write(structures, generate_shard(configured(), 0), kind="structures", provenance={})
    label_shard(configured(), "round0", structures, folder / "all.zarr")
    label = store.load(folder / "all.zarr", kind="labels")
    label["converged"][:] = [True, False, True, True, False, True]
    store.write(labels, label, kind="labels", provenance={})
    return structures, labels


def test_the_table_holds_labels_exact_solutions_and_z(shard, tmp_path):
    structures, labels = shard
    config = configured()
    measure_shard(config, "round0", structures, labels, tmp_path / "v.csv")
    table = pd.read_csv(tmp_path / "v.csv")
    data, label = (store.load(path, kind=None) for path in shard)
    assert tuple(table.columns) == COLUMNS
    assert table.converged.sum() == 4
    assert set(table.index[~table.converged]) <= {*range(len(table))}
    for _, row in table[table.converged].iterrows():
        lattice = rasterise(
            data.positions.values[row.row],
            data.attrs["box_length"],
            data.attrs["diameter"],
            config.transport,
            20,
        )
        exact = solve(quantised(lattice), relative_residual=1e-6).diffusivity
        found, stderr = (float(label[name][row.row]) for name in ("diffusivity", "stderr"))
        assert row.exact == pytest.approx(exact, rel=1e-8)
        assert row.z == pytest.approx((found - exact) / stderr, abs=1e-5)
        assert row.residual <= 1.01e-6
        assert row.solved


def test_flagged_labels_are_listed_but_not_solved(shard, tmp_path):
    everything = configured({"structures_per_shard": 6})
    measure_shard(everything, "round0", *shard, tmp_path / "v.csv")
    table = read_measured([tmp_path / "v.csv"])
    assert sorted(table.row) == list(range(6))
    flagged = table[~table.converged]
    assert sorted(flagged.row) == [1, 4]
    assert flagged[["exact", "z", "score", "solved"]].isna().all(axis=None)
    assert table[table.converged].notna().all(axis=None)


def test_a_killed_job_continues_to_the_uninterrupted_table(shard, tmp_path, monkeypatch):
    measure_shard(configured(), "round0", *shard, tmp_path / "whole.csv")
    calls = []

    def killed_at_the_third(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return solve(*arguments, **options)

    monkeypatch.setattr(solutions_module, "solve", killed_at_the_third)
    output = tmp_path / "killed.csv"
    with pytest.raises(KeyboardInterrupt):
        measure_shard(configured(), "round0", *shard, output)
    assert not output.exists()
    measure_shard(configured(), "round0", *shard, output)
    assert len(calls) == 5  # two solved, one killed, two left
    whole, continued = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("whole", "killed"))
    pd.testing.assert_frame_equal(
        continued.drop(columns="seconds"), whole.drop(columns="seconds"), rtol=1e-8
    )
    assert {path.name for path in tmp_path.iterdir()} == {"whole.csv", "killed.csv"}


def test_a_job_killed_while_it_writes_solves_nothing_again(shard, tmp_path, monkeypatch):
    output, calls = tmp_path / "killed.csv", []

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", killed)
        with pytest.raises(KeyboardInterrupt):
            measure_shard(configured(), "round0", *shard, output)
    monkeypatch.setattr(solutions_module, "solve", lambda *rest, **_: calls.append(rest))
    measure_shard(configured(), "round0", *shard, output)
    assert output.exists()
    assert not calls


def test_exact_labels_deviate_by_less_than_their_residual_and_have_no_z(shard, tmp_path):
    config = configured(method="exact", relative_residual=1e-4)
    label_shard(config, "round0", shard[0], tmp_path / "exact.zarr")
    measure_shard(config, "round0", shard[0], tmp_path / "exact.zarr", tmp_path / "v.csv")
    table = read_measured([tmp_path / "v.csv"])
    assert len(table) == 4
    assert table.deviation.abs().max() < 1e-5
    assert table[["z", "score"]].isna().all(axis=None)


def test_labels_of_other_structures_are_refused(shard, tmp_path):
    other = store.load(shard[0], kind="structures")
    other["positions"][0, 0, 0] += 0.5
    store.write(tmp_path / "other.zarr", other, kind="structures", provenance={})
    with pytest.raises(StoreError, match=r"labels of other structures than .*other\.zarr"):
        measure_shard(configured(), "round0", tmp_path / "other.zarr", shard[1], tmp_path / "v.csv")


def test_walks_with_a_control_variate_are_not_judged(shard, tmp_path):
    """Drawn ones were walked without it; a larger draw would meet the others."""
    sites = {"lattice": 32, "control_variate": 20}
    config = configured({"structures_per_shard": 2}, **sites)
    label_shard(config, "round0", shard[0], tmp_path / "labels.zarr")
    measure_shard(config, "round0", shard[0], tmp_path / "labels.zarr", tmp_path / "v.csv")
    assert (read_measured([tmp_path / "v.csv"]).z.abs() < 3).all()
    more = configured({"structures_per_shard": 3}, **sites)
    with pytest.raises(VerdictError, match=r"labels\.zarr: rsa-\d was walked with a control var"):
        measure_shard(more, "round0", shard[0], tmp_path / "labels.zarr", tmp_path / "w.csv")
    assert not (tmp_path / "w.csv").exists()


def test_labels_without_a_word_on_control_variates_are_plain_walks(shard, tmp_path):
    label = store.load(shard[1], kind="labels").drop_vars("control_variate")
    store.write(tmp_path / "labels.zarr", label, kind="labels", provenance={})
    measure_shard(configured(), "round0", shard[0], tmp_path / "labels.zarr", tmp_path / "v.csv")
    assert len(read_measured([tmp_path / "v.csv"])) > 0


def test_a_shard_without_structures_gives_a_table_without_rows(shard, tmp_path):
    for path in shard:
        kind = path.stem
        nothing = store.load(path, kind=kind).isel(structure=slice(0, 0))
        if kind == "structures":
            store.write(tmp_path / path.name, nothing, kind=kind, provenance={})
    label_shard(configured(), "round1", tmp_path / "structures.zarr", tmp_path / "labels.zarr")
    names = (tmp_path / "structures.zarr", tmp_path / "labels.zarr")
    measure_shard(configured(), "round1", *names, tmp_path / "v.csv")
    assert len(read_measured([tmp_path / "v.csv", tmp_path / "v.csv"])) == 0


def test_a_lattice_that_does_not_conduct_agrees_with_an_exact_zero():
    table = pd.DataFrame(
        {
            "method": "kmc",
            "walkers": 128,
            "diffusivity": [0.0, 0.0, 0.02],
            "stderr": [0.0, 0.0, 0.001],
            "exact": [0.0, 0.02, np.nan],
        }
    )
    compared = _compared(table)
    np.testing.assert_array_equal(compared.z, [0.0, -np.inf, np.nan])
    np.testing.assert_array_equal(compared.deviation, [0.0, -1.0, np.nan])


def test_tables_that_are_none_are_named(tmp_path):
    with pytest.raises(StoreError, match=r"gone\.csv: cannot be read"):
        read_measured([tmp_path / "gone.csv"])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match=r"other\.csv: no column 'row'"):
        read_measured([tmp_path / "other.csv"])
