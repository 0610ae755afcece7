"""What a label takes from where."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from host_device import HostDevice
from numba import get_num_threads, set_num_threads

from morphion.config.geometry import Geometry, Structures
from morphion.config.labels import Labels
from morphion.config.transport import CoverageShell
from morphion.errors import DeviceMemoryError, TransportError
from morphion.kmc.plan import shortest_lag
from morphion.kmc.tables import walk_tables
from morphion.kmc.transient import on_finer, transient
from morphion.labels import Task, label_structures
from morphion.labels import label as label_module
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import rasterise


@pytest.fixture(scope="module")
def tasks():
    """Three structures in small boxes, which CPU cores walk in no time."""
    geometry = Geometry(voxels=24, particles=3)
    structures = Structures(rsa=3, chain=0, gapped=0)
    box = (geometry.box_length, geometry.diameter)
    return [
        Task(generate(geometry, structures, 1, "rsa", i), *box, stream_key(1, i), f"rsa {i}")
        for i in range(3)
    ]


LABELS = Labels(method="kmc", lattice=24, target_relative_error=0.3)


def test_a_gpu_labels_all_before_a_structure_that_cannot_be_labelled(tasks):
    wrong = replace(tasks[0], positions=np.full((3, 3), np.nan), what="the wrong one")
    labels = label_structures([*tasks[:2], wrong, tasks[2]], CoverageShell(), LABELS, HostDevice())
    next(labels), next(labels)
    with pytest.raises(TransportError, match=r"^the wrong one: position of particle 0"):
        next(labels)


def test_a_gpu_that_fills_up_walks_half_of_the_structures(tasks, monkeypatch):
    expected = [one.diffusivity for one in label_structures(tasks, CoverageShell(), LABELS)]
    walked, whole = [], label_module.estimate_all

    def full(prepared, *arguments, **options):
        walked.append(len(prepared))
        if len(prepared) > 1:
            raise DeviceMemoryError("the GPU is out of memory")
        return whole(prepared, *arguments, **options)

    monkeypatch.setattr(label_module, "estimate_all", full)
    found = label_structures(tasks, CoverageShell(), LABELS, HostDevice())
    assert [one.diffusivity for one in found] == expected
    assert walked == [3, 1, 2, 1, 1]


def test_plans_made_ahead_use_as_many_threads_as_the_job_and_stop_with_it():
    started, before = [], get_num_threads()

    def interrupted():
        with label_module._planner(True) as submit:
            assert submit(get_num_threads).result() == 1
            for i in range(20):
                submit(lambda i=i: started.append(i) or time.sleep(0.05))
            raise KeyboardInterrupt

    set_num_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        set_num_threads(before)
    assert len(started) < 5


@pytest.mark.slow
def test_labels_do_not_need_threads_that_several_may_use():
    """Numba's workqueue, where there is no OpenMP, ends a process that uses it from two threads."""
    code = (
        "import numba; from morphion.__main__ import main; numba.get_num_threads(); "
        "assert numba.threading_layer() == 'workqueue'; main()"
    )
    structure = Path(__file__).parents[2] / "data/annealed.xyz"
    command = f"label {structure} --method kmc --lattice 75 --relative-error 0.3 --engine cpu"
    result = subprocess.run(
        [sys.executable, "-c", code, *command.split(), "--threads", "2"],
        env={**os.environ, "NUMBA_THREADING_LAYER": "workqueue"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_lags_come_from_the_coarsest_lattice_that_resolves_the_shells():
    geometry, model = Geometry(), CoverageShell()
    box = (geometry.box_length, geometry.diameter)
    positions = generate(geometry, Structures(), 1, "chain", 4)
    labels = Labels(method="kmc", lattice=60, target_relative_error=0.3)
    task = Task(positions, *box, stream_key(1, "test"), "a chain")
    (label,) = label_structures([task], model, labels)
    summary = walk_tables(rasterise(positions, *box, model, 60)).summary
    known = transient(rasterise(positions, *box, model, 56))
    known = on_finer(known, 56, rasterise(positions, *box, model, 60), 60)
    assert label.time[7] == pytest.approx(shortest_lag(summary, known, 0.3), rel=1e-12)
