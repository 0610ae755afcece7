"""The largest of noisy labels is not taken at its word: its structure is solved."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import morphion.verdict.solutions as solutions
from morphion import store
from morphion.analysis.extremes import ALL, COLUMNS, FIRST, extremes_table, read_extremes
from morphion.config import Config, parse_config
from morphion.errors import StoreError
from morphion.exact import solve
from morphion.kmc.palette import quantised
from morphion.structures.generate import generate_shard
from morphion.transport import rasterise

# Labels of six structures, of which the last two joined in round 1; that of row 4 did not converge.
LABELS = np.array([0.30, 0.10, 0.20, 0.15, 0.90, 0.50])


def configured(method="kmc") -> Config:
    content = {
        "output": "out",
        "geometry": {"voxels": 24, "particles": 3},
        "structures": {"rsa": 6, "chain": 0, "gapped": 0, "shard_size": 6},
        "labels": {"lattice": 20, "method": method},
        "analysis": {"extremes": 2, "max_distance": 8, "cluster_distance": 8},
    }
    return parse_config(content, source="test", folder=".")


@pytest.fixture
def dataset(tmp_path):
    shard = generate_shard(configured(), 0)
    data = xr.Dataset(
        {name: shard[name] for name in ("positions", "family", "index")}
        | {
            "diffusivity": ("structure", LABELS),
            "stderr": ("structure", 0.1 * LABELS),
            "converged": ("structure", np.arange(6) != 4),
            "round": ("structure", [0, 0, 0, 0, 1, 1]),
        },
        attrs={name: shard.attrs[name] for name in ("box_length", "diameter")},
    )
    store.write(tmp_path / "d.zarr", data, kind="dataset", provenance={})
    return tmp_path / "d.zarr"


def test_structures_of_the_extreme_labels_are_solved(dataset, tmp_path):
    config, output = configured(), tmp_path / "e.csv"
    extremes_table(dataset, config, output)
    table = pd.read_csv(output)
    assert tuple(table.columns) == COLUMNS
    places = table.groupby(["extreme", "of"], sort=False).structure.agg(list).to_dict()
    assert places == {
        ("largest", FIRST): [0, 2],
        ("largest", ALL): [5, 0],
        ("smallest", ALL): [1, 3],
    }
    data = store.load(dataset, kind="dataset")
    for _, row in table.iterrows():
        label = LABELS[row.structure]
        assert (row.diffusivity, row.stderr) == pytest.approx((label, 0.1 * label))
        lengths = data.attrs["box_length"], data.attrs["diameter"]
        positions = data.positions.values[row.structure]
        lattice = quantised(rasterise(positions, *lengths, config.transport, 20))
        assert row.exact == pytest.approx(solve(lattice).diffusivity, rel=1e-4)
    assert {path.name for path in tmp_path.iterdir()} == {"d.zarr", "e.csv"}


def test_the_extreme_is_that_of_the_solutions(dataset, tmp_path):
    extremes_table(dataset, configured(), tmp_path / "e.csv")
    table = pd.read_csv(tmp_path / "e.csv")
    for extreme, of, pick in (("largest", ALL, "idxmax"), ("smallest", ALL, "idxmin")):
        part = table[(table.extreme == extreme) & (table.of == of)].set_index("structure")
        assert (
            read_extremes(tmp_path / "e.csv", extreme, of).structure == getattr(part.exact, pick)()
        )
    largest = table[table.extreme == "largest"].set_index("structure").exact
    assert read_extremes(tmp_path / "e.csv", "largest").structure == largest.idxmax()


def test_exact_labels_are_their_own_solutions(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(solutions, "solve", None)
    extremes_table(dataset, configured("exact"), tmp_path / "e.csv")
    table = pd.read_csv(tmp_path / "e.csv")
    assert (table.exact == table.diffusivity).all()
    assert read_extremes(tmp_path / "e.csv", "largest").structure == 5


def test_a_killed_job_solves_nothing_again(dataset, tmp_path, monkeypatch):
    extremes_table(dataset, configured(), tmp_path / "whole.csv")
    plain, calls = solutions.solve, []

    def killed_at_the_third(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(solutions, "solve", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        extremes_table(dataset, configured(), tmp_path / "e.csv")
    assert not (tmp_path / "e.csv").exists()
    extremes_table(dataset, configured(), tmp_path / "e.csv")
    assert len(calls) == 3 + 5 - 2
    assert (tmp_path / "e.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_table_without_the_extreme_is_refused(tmp_path):
    pd.DataFrame([("largest", FIRST, 0, 0, "rsa", 0, 1, 1, 1)], columns=COLUMNS).to_csv(
        tmp_path / "e.csv", index=False
    )
    with pytest.raises(StoreError, match=r"e\.csv: no row with extreme = smallest"):
        read_extremes(tmp_path / "e.csv", "smallest")
