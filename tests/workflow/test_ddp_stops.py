"""How a training on several ranks is stopped: no rank is lost, and nothing that it did."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from surrogate_cases import make_config, make_positions, write_dataset

from morphion.config import dump_config

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    """Starts a training of two ranks that would take hours; whatever is left over is killed."""
    dataset = write_dataset(tmp_path / "round0.zarr", make_positions())
    config = make_config(tmp_path, max_epochs=1_000_000, patience=1_000_000, ranks=2)
    dump_config(config, tmp_path / "config.yaml")
    command = [sys.executable, "-m", "morphion", "train", str(tmp_path / "model")]
    command += ["--config", str(tmp_path / "config.yaml"), "--dataset", str(dataset)]
    command += ["--network", "rdf", "--round", "0"]
    seen = []

    def started(epochs=True):
        with (tmp_path / "stderr").open("w") as file:
            process = subprocess.Popen(command, stderr=file)
        checkpoint = tmp_path / "model.partial" / "checkpoint.npz"
        wait_for(lambda: checkpoint.exists() or not epochs)
        seen.extend(tree := [psutil.Process(process.pid), *children(process)])
        return process, tree

    yield started
    for process in filter(psutil.Process.is_running, seen):
        process.kill()


def children(process):
    return psutil.Process(process.pid).children(recursive=True)


def ranks(tree):
    # torchrun itself names what its ranks are to run as well.
    told = [(process, process.cmdline()) for process in tree]
    return [
        process
        for process, words in told
        if "morphion.surrogates.worker" in words and "--standalone" not in words
    ]


def wait_for(what, seconds=90):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_saved(tmp_path, tree):
    """All are gone, after a step or an epoch; and no one was alarmed."""
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive
    with np.load(tmp_path / "model.partial" / "checkpoint.npz") as checkpoint:
        assert len(checkpoint["history"]) > 0
    assert not (tmp_path / "model").exists()
    said = (tmp_path / "stderr").read_text()
    assert "the same command continues it" in said
    assert "Traceback" not in said


def test_all_processes_told_several_times_while_a_step_takes_long(tmp_path, start):
    # As SLURM's scancel does, to each process of a job; a rank that is halted is a long step.
    process, tree = start()
    slow = ranks(tree)[-1]
    slow.suspend()
    for _ in range(3):
        for one in tree:
            one.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    time.sleep(3)
    assert process.poll() is None
    assert all(one.is_running() for one in tree)
    slow.resume()
    assert process.wait(60) == 143
    assert_saved(tmp_path, tree)


@pytest.mark.parametrize(
    ("number", "of", "status"),
    [(signal.SIGINT, "command", 130), (signal.SIGTERM, "rank", 143)],
)
def test_one_process_is_told(tmp_path, start, number, of, status):
    process, tree = start()
    (tree[0] if of == "command" else ranks(tree)[-1]).send_signal(number)
    assert process.wait(60) == status
    assert_saved(tmp_path, tree)


def test_told_before_there_are_ranks(tmp_path, start):
    process, _ = start(epochs=False)
    wait_for(lambda: children(process))
    tree = [psutil.Process(process.pid), *children(process)]
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(90) == 143
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive


def test_ctrl_c_pressed_again_waits_for_no_rank(tmp_path, start):
    process, tree = start()
    for one in ranks(tree):
        one.suspend()
    for _ in range(2):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive
