"""The workflow asks for exactly the jobs that a configuration implies."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from morphion import store
from morphion.config import dump_config, load_config
from morphion.gpu.present import gpu_is_present
from morphion.plan import planned_here

CONFIGS = Path(__file__).parents[2] / "config"
TINY = Path(__file__).with_name("tiny.yaml")


def jobs(output: str) -> dict[str, int]:
    """Rule -> number of jobs, from the table of a dry run."""
    table = output.split("Job stats:")[1].split("Reasons:")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.M)}


def dry_run(snakemake, folder, config, *options) -> dict[str, int]:
    result = snakemake(folder, config, "--dry-run", *options)
    assert result.returncode == 0, result.stderr
    return jobs(result.stderr + result.stdout)


def test_the_papers_run_has_the_papers_jobs(snakemake, tmp_path):
    found = dry_run(snakemake, tmp_path, CONFIGS / "paper.yaml")
    assert found["structures"] == 32  # 8192 structures
    assert found["label"] == 32 + 29 + 2 + 2 * 13  # round 1, evaluation and both loadings
    assert found["verdict"] == found["label"]
    assert found["judge"] == 5  # both rounds, evaluation and both loadings
    assert found["anneal"] == 4  # both directions, twice
    assert found["train"] == 5 + 2  # five networks; the driver again, for each split


def test_only_a_network_that_learns_currents_has_them_solved(snakemake, tmp_path, tiny):
    where = "results/tiny/surrogates/round0"
    assert "currents" not in dry_run(snakemake, tmp_path, tiny(), f"{where}/periodic-random")
    found = dry_run(snakemake, tmp_path, tiny(), f"{where}/resistor-random")
    assert found["currents"] == found["structures"] == 2


def test_a_retraining_learns_the_currents_of_all_rounds(snakemake, tmp_path):
    found = dry_run(snakemake, tmp_path, CONFIGS / "paper.yaml")
    assert found["currents"] == 32 + 29


def test_a_job_on_a_node_with_a_gpu_goes_by_the_plan_of_the_run(
    snakemake, tmp_path, tiny, monkeypatch
):
    surrogates = yaml.safe_load(TINY.read_text())["surrogates"]
    surrogates["networks"]["rdf"]["training"]["needs_gpu_above"] = 1
    path = tiny(surrogates=surrogates)
    run = planned_here(load_config(path), lambda: False)  # where Snakemake runs
    output = tmp_path / "results/tiny"
    (output / "dataset/round0.zarr").mkdir(parents=True)
    dump_config(run, output / "config.yaml")
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho GPU 0: a device\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_is_present()
    job = ("--mode", "remote", "--target-jobs", "table_left_out:", "--nolock", "--cores", "1")
    job += ("--allowed-rules", "table_left_out", "--dry-run")
    result = snakemake(tmp_path, path, *job)
    assert result.returncode == 0, result.stderr
    assert jobs(result.stderr + result.stdout) == {"table_left_out": 1, "total": 1}


def test_a_job_belongs_to_the_run_that_planned_it_whatever_the_file_says_by_then(
    snakemake, tmp_path, tiny, monkeypatch
):
    planned = tmp_path / "results/tiny/config.yaml"
    dump_config(load_config(tiny()), planned)
    edited = tiny(output="results/next", seed=5)
    job = ("--mode", "remote", "--target-jobs", "structures:set=round0,shard=0000", "--nolock")
    job += ("--allowed-rules", "structures", "--cores", "1")
    monkeypatch.setenv("MORPHION_RUN", "results/tiny/config.yaml")
    result = snakemake(tmp_path, edited, *job)
    assert result.returncode == 0, result.stderr
    made = store.load(tmp_path / "results/tiny/structures/round0/shard-0000.zarr", kind=None)
    assert made.attrs["provenance"]["seed"] == load_config(planned).seed != 5
    assert not (tmp_path / "results/next").exists()


def test_a_run_says_to_its_jobs_where_its_configuration_is(tmp_path, tiny):
    (tmp_path / "Snakefile").write_text(
        f'include: "{CONFIGS.parent}/workflow/rules/common.smk"\n'
        'rule all:\n    default_target: True\n    shell: "echo $MORPHION_RUN > told"\n'
    )
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", str(tiny())]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "told").read_text().strip() == "results/tiny/config.yaml"


def test_a_configuration_is_not_overwritten_by_its_run(snakemake, tmp_path, tiny):
    (tmp_path / "results/tiny").mkdir(parents=True)
    mine = tmp_path / "results/tiny/config.yaml"
    mine.write_text("# my notes\n" + tiny().read_text())
    before = mine.read_bytes()
    target = ("--cores", "1", "results/tiny/structures/round0/shard-0000.zarr")
    result = snakemake(tmp_path, mine, *target)
    assert result.returncode != 0
    assert "results/tiny/config.yaml: a run writes its configuration there" in result.stderr
    assert mine.read_bytes() == before
    dump_config(load_config(tiny()), mine)  # as a run leaves it, which may go on with it
    assert snakemake(tmp_path, mine, *target).returncode == 0
    content = yaml.safe_load(mine.read_text())
    del content["analysis"]["components"]  # as a version without that key left it
    mine.write_text(yaml.safe_dump(content, sort_keys=False))
    assert snakemake(tmp_path, mine, *target).returncode == 0
    assert snakemake(tmp_path, mine, *target, "--config", "seed=9").returncode != 0


def test_an_output_that_is_a_file_is_refused(snakemake, tmp_path, tiny):
    (tmp_path / "file").touch()
    for output in ("file", "file/results"):
        result = snakemake(tmp_path, tiny(output=output), "--dry-run")
        assert result.returncode != 0
        message = f"output = {output}: file is a file, where a folder is to be written"
        assert message in result.stdout + result.stderr


def test_each_further_round_adds_its_own_jobs(snakemake, tmp_path, tiny):
    one = dry_run(snakemake, tmp_path, tiny(rounds=1))
    three = dry_run(snakemake, tmp_path, tiny(rounds=3))
    assert three["select_round1"] == three["select_round2"] == 1
    assert three["anneal"] == 2 * one["anneal"]
    assert three["train"] - one["train"] == 2  # the last round's alone for both splits


def test_a_run_without_other_loadings_has_no_table_2(snakemake, tmp_path, tiny):
    found = dry_run(snakemake, tmp_path, tiny(loadings=[]))
    assert "table_2" not in found
    assert "figure_8" not in found
    assert found["table_summary"] == 1


def test_a_wrong_key_stops_before_anything_runs(snakemake, tmp_path, tiny):
    result = snakemake(tmp_path, tiny(rouds=2), "--cores", "1")
    assert result.returncode != 0
    assert "rouds: no such key; is rounds meant?" in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_run_that_cannot_work_stops_before_anything_runs(snakemake, tmp_path, tiny):
    result = snakemake(tmp_path, tiny(analysis={"max_distance": 40}), "--dry-run")
    assert result.returncode != 0
    assert "analysis.max_distance = 40" in result.stderr + result.stdout


@pytest.mark.parametrize("target", ["results/tiny/dataset/round0.zarr"])
def test_a_single_target_needs_only_what_leads_to_it(snakemake, tmp_path, tiny, target):
    found = dry_run(snakemake, tmp_path, tiny(), target)
    assert set(found) == {"structures", "label", "verdict", "judge", "dataset", "total"}


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({"verdict": {"structures_per_shard": 0}}, set()),
        ({"labels": {"method": "exact"}}, {"verdict", "judge", "table_verdict"}),
        ({}, {"verdict", "judge", "table_verdict", "figure_verdict"}),
    ],
)
def test_a_run_judges_the_labels_it_is_asked_to(snakemake, tmp_path, tiny, keys, shown):
    found = dry_run(snakemake, tmp_path, tiny(**keys))
    assert {name for name in found if "verdict" in name or name == "judge"} == shown


def test_walks_beside_exact_labels_add_a_set_that_every_network_predicts(snakemake, tmp_path, tiny):
    exact = {"labels": {"method": "exact", "lattice": 30}}
    plain = dry_run(snakemake, tmp_path, tiny(**exact))
    found = dry_run(snakemake, tmp_path, tiny(**exact, walked={"structures": 4}))
    more = {name: count - plain.get(name, 0) for name, count in found.items()}
    del more["total"]
    assert {name: count for name, count in more.items() if count} == {
        "walked": 1,
        "label": 1,
        "verdict": 1,
        "judge": 1,
        "dataset": 1,
        "predict": 3,
        "table_walked": 1,
        "figure_verdict": 1,
    }


@pytest.mark.parametrize(
    ("driver", "threads"), [("resistor", ("2", "1", "1")), ("rdf", ("8", "4", "8"))]
)
def test_a_job_asks_for_no_more_threads_than_its_network_can_use(
    snakemake, tmp_path, tiny, driver, threads
):
    """Two of torch's threads would keep other jobs waiting, and pairs have no use for them."""
    surrogates = yaml.safe_load(TINY.read_text())["surrogates"] | {"driver": driver}
    surrogates["networks"][driver]["training"]["ranks"] = 2
    config = tiny(surrogates=surrogates)
    result = snakemake(tmp_path, config, "--dry-run", "--cores", "8", "-p")
    assert result.returncode == 0, result.stderr
    commands = re.findall(r"morphion (train|evaluate|anneal) (.*)", result.stdout + result.stderr)
    asked = {
        stage: {
            re.search(r"--threads (\d+)", options)[1]
            for name, options in commands
            if name == stage and driver in options
        }
        for stage in ("train", "evaluate", "anneal")
    }
    assert asked == {stage: {count} for stage, count in zip(asked, threads, strict=True)}


def test_a_packed_data_set_needs_no_structures_and_no_labels(snakemake, tmp_path, tiny):
    (tmp_path / "packed.zarr.zip").touch()
    target = "results/tiny/dataset/round0.zarr"
    found = dry_run(snakemake, tmp_path, tiny(labelled=str(tmp_path / "packed.zarr.zip")), target)
    assert set(found) == {"unpack", "total"}


def test_a_run_on_a_packed_data_set_labels_and_judges_only_what_it_made(snakemake, tmp_path, tiny):
    (tmp_path / "packed.zarr.zip").touch()
    plain = dry_run(snakemake, tmp_path, tiny())
    found = dry_run(snakemake, tmp_path, tiny(labelled=str(tmp_path / "packed.zarr.zip")))
    assert "structures" not in found
    assert found["label"] == plain["label"] - plain["structures"]
    assert found["verdict"] == plain["verdict"] - plain["structures"]


def test_no_other_configuration_leaks_into_a_run(snakemake, tmp_path, tiny):
    """Snakemake merges a default configuration file into the one that is asked for."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/demo.yaml").write_text((CONFIGS / "demo.yaml").read_text())
    config = tiny()
    result = snakemake(
        tmp_path,
        config,
        "--cores",
        "1",
        "--until",
        "structures",
        "results/tiny/structures/round0/shard-0000.zarr",
    )
    assert result.returncode == 0, result.stderr
    assert load_config(tmp_path / "results/tiny/config.yaml") == load_config(config)


def test_many_runs_and_close_loadings_have_jobs_of_their_own(snakemake, tmp_path, tiny):
    anneal = {
        "maximise": {"runs": 120, "cycles": 1, "select": 4},
        "minimise": {"runs": 1, "cycles": 1, "select": 2},
        "runs_per_job": 1,
    }
    found = dry_run(snakemake, tmp_path, tiny(anneal=anneal, loadings=[0.15, 0.1502]))
    assert found["anneal"] == 2 * 121
    assert found["loading_1"] == found["loading_2"] == 1


def test_the_study_labels_nothing_of_its_packed_data_and_trains_every_size(snakemake, tmp_path):
    found = dry_run(snakemake, tmp_path, CONFIGS / "study.yaml", "--config", "engine=cpu")
    assert "structures" not in found
    assert found["unpack"] == 1
    # Selected twice, evaluation, both loadings, and walks beside exact labels.
    assert found["label"] == 2 * 8 + 2 + 2 * 7 + 1
    networks, sizes = 9, 4
    # All but the paper's whole network; six curves without it, and its smallest size; two
    # retrainings, the last on both splits.
    assert found["train"] == (networks - 1) + 6 * sizes + 1 + 1 + 2
    assert found["table_left_out"] == found["figure_learning_curves"] == found["results"] == 1


@pytest.mark.parametrize("name", ["paper", "study", "demo"])
def test_on_slurm_trainings_ask_for_a_gpu_a_rank_and_times_are_taken_on_one(
    snakemake, tmp_path, name
):
    config = CONFIGS / f"{name}.yaml"
    profile = CONFIGS.parent / "profiles/slurm"
    result = snakemake(tmp_path, config, "--dry-run", "--workflow-profile", str(profile))
    assert result.returncode == 0, result.stderr
    described, gpus = (result.stdout + result.stderr).split("\n\n"), {}
    for job in described:
        if "rule train:" in job:
            network = re.search(r"network=(\w+)", job)[1]
            gpus[network] = int(re.search(r"\bgpu=(\d+)", job)[1])
            assert re.search(r"\bnodes=1\b", job)  # or its GPUs might be of several
    networks = load_config(config).surrogates.networks
    assert gpus == {name: network.training.ranks for name, network in networks.items()}
    (timed,) = (job for job in described if "rule table_speed:" in job)
    assert re.search(r"\bgpu=1\b", timed)


def test_no_shell_stands_between_a_signal_and_a_command():
    """At a time limit SLURM ends a job once its first process has ended: a shell would do so while
    the command still saves."""
    rules = sorted((CONFIGS.parent / "workflow/rules").glob("*.smk"))
    commands = [line.strip() for rule in rules for line in rule.read_text().splitlines()]
    commands = [line for line in commands if re.match(r'"(\w+ )?morphion ', line)]
    assert len(commands) > 15
    assert [line for line in commands if not line.startswith('"exec morphion ')] == []
