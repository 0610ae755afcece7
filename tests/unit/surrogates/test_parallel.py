"""Ranks of a training agree, and whoever ends them learns why."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from surrogate_cases import make_config

from morphion.errors import SurrogateError
from morphion.surrogates import parallel, precision, train
from morphion.surrogates.parallel import Ranks


def test_what_failed_is_told_before_that_someone_stopped_the_training(tmp_path):
    """A rank that could not save, while the others did as they were told."""
    (tmp_path / "error.txt").write_text("model: cannot be written (No space left on device)")
    (tmp_path / "stopped").write_text("143")
    with pytest.raises(SurrogateError, match="No space left"):
        parallel._conclude(tmp_path, 1, signal.SIGTERM)
    (tmp_path / "error.txt").unlink()
    with pytest.raises(SystemExit) as left:
        parallel._conclude(tmp_path, 0, None)
    assert left.value.code == 143


def test_containers_that_name_a_rank_start_none(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert not parallel.inside_torchrun()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert parallel.inside_torchrun()


def test_ranks_that_compute_in_different_types_are_refused(tmp_path, dataset, monkeypatch):
    """As on a machine with a V100 beside an A100."""

    class Second(Ranks):
        def share(self, content):
            return "float16" if content == "bfloat16" else content

    monkeypatch.setattr(precision, "half_precision", lambda _: torch.bfloat16)
    monkeypatch.setattr(parallel, "Ranks", Second)
    config = make_config(tmp_path, precision="mixed")
    with pytest.raises(SurrogateError, match=r"rank 0 computes in bfloat16, rank 0 in float16: "):
        train(config, dataset, "untiled", "random", 0, tmp_path / "model")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can do that")
def test_a_process_ends_with_the_one_that_started_it():
    child = "from morphion.stopping import end_with_parent; end_with_parent(); print(1, flush=True)"
    program = (
        "import subprocess, sys, time\n"
        "one = subprocess.Popen([sys.executable, '-c', sys.argv[1] + '; import time; "
        "time.sleep(60)'], stdout=subprocess.PIPE)\n"
        "one.stdout.readline(); print(one.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
