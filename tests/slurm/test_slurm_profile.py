"""The SLURM profile carries a run to its end on the cluster that sbatch reaches."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "profiles" / "slurm"
CONFIG = ROOT / "tests" / "workflow" / "tiny.yaml"

# Short jobs: the profile's pace would make the test wait for status queries most of the time.
QUICK = [
    "--slurm-init-seconds-before-status-checks=1",
    "--seconds-between-status-checks=1",
    "--latency-wait=10",
]


def slurm_is_missing() -> str:
    """Why there is no SLURM to test with; empty if there is one."""
    for command in ("sbatch", "squeue"):
        if shutil.which(command) is None:
            return f"{command} not found"
    try:
        subprocess.run(["squeue", "--noheader"], check=True, capture_output=True, timeout=20)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return "squeue does not reach a SLURM controller"
    return ""


@pytest.fixture
def cluster():
    reason = slurm_is_missing()
    if reason:
        pytest.skip(reason)


def snakemake(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    return subprocess.run(
        [*command, "--directory", str(cwd), "--workflow-profile", str(PROFILE), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


def submitted_partitions(log: str) -> dict[str, str]:
    """Partition of each submitted rule, from what Snakemake printed of its jobs."""
    partitions, rule = {}, None
    for line in log.splitlines():
        if line.startswith("rule "):
            rule = line.removeprefix("rule ").rstrip(":")
        elif rule and line.strip().startswith("resources:"):
            resources = dict(
                item.split("=", 1) for item in line.split(":", 1)[1].strip().split(", ")
            )
            partitions[rule] = resources["slurm_partition"]
            rule = None
    return partitions


@pytest.mark.slurm
@pytest.mark.slow
def test_small_run_reaches_its_end_with_gpu_rules_on_the_gpu_partition(cluster, tmp_path):
    run = snakemake(f"--configfile={CONFIG}", *QUICK, cwd=tmp_path)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log[-10_000:]

    partitions = submitted_partitions(log)
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    asked = profile["set-resources"]
    del asked["table_left_out"]  # everything is trained
    for rule, resources in asked.items():
        assert partitions[rule] == resources["slurm_partition"]

    assert "table_networks" not in partitions  # done where Snakemake runs

    again = snakemake(f"--configfile={CONFIG}", *QUICK, cwd=tmp_path)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_profile_asks_for_what_jobs_inside_slurm_need():
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    blocks = [profile["default-resources"], *profile["set-resources"].values()]
    assert all(block["mem_mb"] >= 500 for block in blocks)  # Snakemake's own 300 MB, twice loaded
    assert all(block["runtime"] > 0 for block in blocks)
    assert "gpu" not in profile["set-resources"]["train"]  # the rule asks for one to each rank
    on_gpus = {
        rule: block
        for rule, block in profile["set-resources"].items()
        if block["slurm_partition"] == "gpu"
    }
    assert set(on_gpus) == {"label", "train", "predict", "anneal", "table_speed"}
    for block in on_gpus.values():
        assert "gres" not in block  # never together with gpu
        assert block["tasks_per_gpu"] == 0
