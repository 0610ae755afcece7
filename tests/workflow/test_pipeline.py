"""The whole pipeline runs to its report, once; a second call finds nothing to do."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
import yaml

from morphion import store
from morphion.config import load_config
from morphion.plan import Plan
from morphion.store.pack import pack

TINY = Path(__file__).with_name("tiny.yaml")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory, snakemake) -> Path:
    """Folder of a finished tiny run."""
    folder = tmp_path_factory.mktemp("pipeline")
    result = snakemake(folder, TINY, "--cores", "2")
    assert result.returncode == 0, result.stderr[-5000:]
    return folder


def test_every_store_of_the_run_is_whole_and_opens_in_xarray(finished):
    stores = sorted(path.parent for path in finished.rglob("zarr.json") if is_root(path))
    assert len(stores) >= 15
    for path in stores:
        store.verify(path)
        xr.open_zarr(path).close()


def is_root(path: Path) -> bool:
    return path.parent.suffix == ".zarr"


def test_a_second_call_does_nothing(finished, snakemake):
    again = snakemake(finished, TINY, "--cores", "2")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stderr + again.stdout


INTERVALS = {"pca", "table_1", "table_2", "table_networks", "table_out_of_distribution"}
INTERVALS |= {"table_splits", "table_summary", "figure_5", "figure_10", "results"}


@pytest.mark.parametrize(
    ("key", "rules"),
    [
        ("bootstrap: 101", INTERVALS),
        ("bootstrap: 100, extreme_fraction: 0.2", {"figure_10"}),
        ("bootstrap: 100, extremes: 3", {"table_extremes", "table_summary", "figure_9"}),
        ("bootstrap: 100, components: 5", {"pca", "figure_10", "table_summary"}),
    ],
)
def test_a_changed_key_reruns_what_depends_on_it_only(finished, snakemake, tmp_path, key, rules):
    changed, text = tmp_path / "changed.yaml", TINY.read_text()
    assert text.count("bootstrap: 100") == 1
    changed.write_text(text.replace("bootstrap: 100", key))
    again = snakemake(finished, changed, "--dry-run")
    found = set(re.findall(r"^(?:local)?rule (\w+):", again.stdout + again.stderr, re.M))
    assert found == rules | {"all"}


def test_selected_structures_are_dealt_anew_to_another_number_of_shards(
    finished, snakemake, tmp_path, tiny
):
    pack(finished / "results/tiny/dataset/round0.zarr", tmp_path / "packed.zarr.zip")
    content = yaml.safe_load(TINY.read_text())
    surrogates = content["surrogates"] | {"driver": "rdf"}
    shards = [f"results/tiny/structures/round1/shard-000{i}.zarr" for i in range(2)]

    def in_shards_of(size):
        structures = content["structures"] | {"shard_size": size}
        return tiny(labelled="packed.zarr.zip", surrogates=surrogates, structures=structures)

    made = snakemake(tmp_path, in_shards_of(3), "--cores", "2", *shards)
    assert made.returncode == 0, made.stderr
    # Fewer outputs, all of which are there: only their number tells that they hold too little.
    again = snakemake(tmp_path, in_shards_of(6), "--dry-run", shards[0])
    assert "rule select_round0:" in again.stdout + again.stderr


def test_a_packed_data_set_is_held_against_labels_that_change(finished, snakemake, tmp_path, tiny):
    pack(finished / "results/tiny/dataset/round0.zarr", tmp_path / "packed.zarr.zip")
    labelled = {"labelled": "packed.zarr.zip"}
    target = "results/tiny/dataset/round0.zarr"
    made = snakemake(tmp_path, tiny(**labelled), "--cores", "1", target)
    assert made.returncode == 0, made.stderr
    again = snakemake(tmp_path, tiny(**labelled), "--dry-run", target)
    assert "Nothing to be done" in again.stderr + again.stdout
    labels = yaml.safe_load(TINY.read_text())["labels"]
    for changes, key in (
        ({"labels": labels | {"lattice": 32}}, "labels"),
        ({"transport": {"model": "coverage-shell", "affinity": 6.0}}, "transport.affinity"),
    ):
        again = snakemake(tmp_path, tiny(**labelled, **changes), "--cores", "1", target)
        assert again.returncode != 0
        log = (tmp_path / "results/tiny/logs/unpack/round0.log").read_text()
        assert f"made with {key} = " in log


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("rounds: 1", "rounds: 1\nverdict: {stop: false}"),
        ("method: kmc,", "method: kmc, relative_residual: 1.0e-4,"),  # of the exact solver
    ],
)
def test_a_key_that_changes_no_result_reruns_nothing(finished, snakemake, tmp_path, before, after):
    changed, text = tmp_path / "changed.yaml", TINY.read_text()
    assert text.count(before) == 1
    changed.write_text(text.replace(before, after))
    again = snakemake(finished, changed, "--dry-run")
    assert "Nothing to be done" in again.stderr + again.stdout


def test_every_set_of_labels_passed_its_verdict(finished):
    table = pd.read_csv(finished / "results/tiny/tables/verdict.csv")
    assert list(table.set) == ["round0", "round1", "evaluation", "loading-0.15"]
    assert (table.verdict == "pass").all()
    assert (table.tested == [8, 4, 4, 4]).all()


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """The finished run in a folder of its own, to be altered."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def falsify(shard: Path) -> None:
    """Shift every label of a shard by ten standard errors."""
    labels = store.load(shard, kind="labels")
    shifted = labels.assign(diffusivity=labels.diffusivity + 10 * labels.stderr)
    store.write(shard, shifted, kind="labels", provenance=labels.attrs["provenance"])


def test_labels_that_fail_their_verdict_are_not_used(copy, snakemake):
    where = copy / "results/tiny"
    falsify(where / "labels/round0/shard-0001.zarr")
    run = snakemake(copy, TINY, "--cores", "2", "--retries", "1")
    assert run.returncode != 0
    said = run.stderr + run.stdout
    assert said.count("Error in rule judge") == 1  # statistics do not change when tried again
    assert "rule dataset:" not in said
    assert "rule train:" not in said
    (line,) = [text for text in log_of(where, "round0") if text.startswith("error: ")]
    assert "error: round0: labels failed their verdict: " in line
    assert "results/tiny/verdict/round0" in line
    assert not (where / "verdict/round0.json").exists()
    assert (where / "verdict/round0/shard-0001.csv").exists()


def test_a_run_that_does_not_stop_reports_the_failure(copy, snakemake, tmp_path):
    where = copy / "results/tiny"
    falsify(where / "labels/loading-0.15/shard-0000.zarr")
    changed = tmp_path / "changed.yaml"
    changed.write_text(TINY.read_text() + "verdict: {stop: false}\n")
    run = snakemake(copy, changed, "--cores", "2")
    assert run.returncode == 0, run.stderr[-3000:]
    assert any(
        "warning: loading-0.15: labels failed" in text for text in log_of(where, "loading-0.15")
    )
    table = pd.read_csv(where / "tables/verdict.csv").set_index("set")
    assert table.verdict.to_dict() == {
        "round0": "pass",
        "round1": "pass",
        "evaluation": "pass",
        "loading-0.15": "FAIL",
    }
    assert "<!-- FAIL -->" in (where / "figures/verdict.svg").read_text()


def log_of(where: Path, set_: str) -> list[str]:
    return (where / "logs/verdict" / f"{set_}.log").read_text().splitlines()


def test_evaluation_structures_are_never_trained_on(finished):
    config = load_config(TINY)
    data = store.load(finished / config.output / "dataset/evaluation.zarr", kind="dataset")
    assert set(data.split_random.values) == {"unused"}
    assert data.sizes["structure"] == config.anneal.evaluation_sample


def test_the_last_data_set_holds_every_round(finished):
    config = load_config(TINY)
    data = store.load(finished / config.output / "dataset/round1.zarr", kind="dataset")
    plan = Plan(config)
    assert data.sizes["structure"] == plan.structures_in("round0") + plan.structures_in("round1")


def test_logs_begin_with_the_command_that_reruns_the_job(finished):
    log = finished / "results/tiny/logs/label/round0-0000.log"
    assert log.read_text().startswith("# morphion labels --config results/tiny/config.yaml")


def test_the_summary_stands_beside_the_paper(finished):
    table = pd.read_csv(finished / "results/tiny/tables/summary.csv")
    assert {"quantity", "paper", "ours", "low", "high"} <= set(table.columns)
    assert table.ours.notna().sum() >= 10


def test_the_html_report_holds_every_figure(finished, snakemake):
    result = snakemake(finished, TINY, "--report", "report.html")
    assert result.returncode == 0, result.stderr[-3000:]
    text = (finished / "report.html").read_text()
    for name in ("figure3", "figure6", "figure9", "figure10", "verdict"):
        assert f"{name}.png" in text


def test_provenance_names_version_configuration_and_seed(finished):
    path = finished / "results/tiny/labels/round0/shard-0000.zarr/zarr.json"
    record = json.loads(path.read_text())["attributes"]["provenance"]
    assert record["seed"] == 7
    assert record["config"]["labels"]["lattice"] == 30
    assert record["version"]


def test_a_lost_table_is_remade_alone(finished, snakemake):
    table = finished / "results/tiny/tables/table1.csv"
    kept = table.with_suffix(".kept")
    shutil.move(table, kept)
    again = snakemake(finished, TINY, "--cores", "1", str(table.relative_to(finished)))
    assert again.returncode == 0
    assert table.read_text() == kept.read_text()
