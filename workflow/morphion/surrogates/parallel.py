"""Several ranks training one network (DDP), and the one process that starts them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import distributed

from morphion.errors import SurrogateError
from morphion.progress import log
from morphion.stopping import Listener, held_back

# Ranks wait for rank 0 while it reads a data set and publishes the model.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Ranks:
    """This process among the ranks of a training; rank 0 of 1 without DDP."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes files."""
        return self.rank == 0

    def sum(self, values: np.ndarray | Sequence[float]) -> np.ndarray:
        """Sum over the ranks of float64 values, the same on each."""
        if self.count == 1:
            return np.asarray(values, dtype=np.float64)
        total = torch.as_tensor(np.asarray(values, dtype=np.float64), device=self.device)
        distributed.all_reduce(total)
        return total.cpu().numpy()

    def share(self, content: Any) -> Any:
        """What rank 0 passed, on every rank."""
        if self.count == 1:
            return content
        held = [content]
        distributed.broadcast_object_list(held, src=0, device=self.device)
        return held[0]


def inside_torchrun() -> bool:
    """Whether torchrun started this process."""
    # Some clusters, and containers on them, set RANK and the like for purposes of their own.
    return distributed.is_torchelastic_launched()


def choose_device(name: str = "auto") -> torch.device:
    """``auto``: the first CUDA device if it works, else the CPU; or the device named.

    Raises SurrogateError for a device that is not there or does not work.
    """
    if name == "auto":
        reason = _trouble(torch.device("cuda"))
        if reason is not None and torch.cuda.is_available():
            log(f"networks run on CPU cores: {reason}")
        return torch.device("cuda" if reason is None else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SurrogateError(
            f"device = {name!r} is unknown; use auto, cpu, cuda or cuda:0"
        ) from error
    reason = _trouble(device)
    if reason is not None:
        raise SurrogateError(f"device = {name!r}: {reason}; use auto or cpu")
    return device


def _trouble(device: torch.device) -> str | None:
    """Why a device cannot compute, None if it can: PyTorch may hold no code for a GPU it sees."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return "no CUDA device here"
    try:
        torch.ones(1, device=device).add_(1)
    except RuntimeError as error:
        return f"PyTorch {torch.__version__} cannot use {device} ({str(error).splitlines()[0]})"
    return None


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """A number of CPU threads for torch's operators, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def ranks(alone: str = "auto") -> Iterator[Ranks]:
    """Join the ranks torchrun started (NCCL on GPUs, gloo on CPUs), or be the only one, on the
    device ``alone``."""
    if not inside_torchrun():
        yield Ranks(0, 1, choose_device(alone))
        return
    local, count = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    if torch.cuda.is_available():
        local_count = int(os.environ.get("LOCAL_WORLD_SIZE", count))
        if local_count > torch.cuda.device_count():
            raise SurrogateError(
                f"{local_count} ranks on a machine with {torch.cuda.device_count()} CUDA devices; "
                "set surrogates.networks.*.training.ranks to at most their number"
            )
        torch.cuda.set_device(local)
        device, backend = choose_device(f"cuda:{local}"), "nccl"
    else:
        device, backend = torch.device("cpu"), "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), count, device)
    except Exception:  # whatever failed here, the others may wait for this rank in a sum ...
        raise  # ... and leaving properly would wait for them: torchrun ends them instead
    except BaseException:
        distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


def launch(module: str, job: Mapping[str, Any], count: int) -> None:
    """Run ``python -m module FOLDER`` in ``count`` ranks under torchrun and wait.

    ``job`` is JSON-like; the ranks find it in the folder as ``job.json``. A rank that fails writes
    its message to ``error.txt``, one that was stopped its exit status to ``stopped``. Whoever is
    told to stop, this process or a rank, all ranks finish their step and save, however long it
    takes; pressing Ctrl-C again ends them at once. The exit status is that of a single training,
    143 or 130. Raises SurrogateError with the message of the rank that failed.
    """
    with tempfile.TemporaryDirectory(prefix="morphion-ranks-") as folder:
        Path(folder, "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "morphion.surrogates.torchrun", "--standalone"]
        # By the name of the machine, which not all can resolve, ranks would not find each other.
        command += ["--local-addr", "127.0.0.1"]
        command += ["--nproc-per-node", str(count), "-m", module, folder]
        # torchrun gives each rank one thread unless told otherwise.
        threads = str(max(1, torch.get_num_threads() // count))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}

        process: subprocess.Popen | None = None

        def pass_on(number: int, again: bool) -> None:
            hurry = again and number == signal.SIGINT
            if process is not None:  # or else it is told once it runs
                _tell_ranks(process, signal.SIGKILL if hurry else signal.SIGTERM)

        with Listener(pass_on) as listener:
            # torchrun would kill ranks that take long to save, and at the second signal, as SLURM's
            # and ours are two, leave without waiting for them: none reaches it.
            with held_back():
                process = subprocess.Popen(command, env=environment)
            status = _wait(process, listener)
        _conclude(Path(folder), status, listener.received)


def _wait(process: subprocess.Popen, listener: Listener) -> int:
    """Exit status of torchrun."""
    try:
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                if listener.received:  # perhaps before there were ranks
                    _tell_ranks(process, signal.SIGTERM)
    finally:
        if process.poll() is None:
            _tell_ranks(process, signal.SIGKILL)
            process.wait()


def _tell_ranks(process: subprocess.Popen, number: signal.Signals) -> None:
    """Send a signal to all that torchrun started, and SIGKILL to itself as well."""
    with suppress(psutil.NoSuchProcess):
        torchrun = psutil.Process(process.pid)
        ranks = torchrun.children(recursive=True)
        for told in [torchrun, *ranks] if number == signal.SIGKILL else ranks:
            with suppress(psutil.NoSuchProcess):
                told.send_signal(number)


def _conclude(folder: Path, status: int, received: signal.Signals | None) -> None:
    """Leave as a single training would; returns if the ranks have finished theirs."""
    stopped, error = folder / "stopped", folder / "error.txt"
    if error.exists():  # whatever else came: what failed may have been to save
        raise SurrogateError(error.read_text())
    if stopped.exists():
        raise SystemExit(128 + received if received else int(stopped.read_text()))
    if status and received:
        log(f"training ended by {received.name}; the same command continues it")
        raise SystemExit(128 + received)
    if status:
        raise SurrogateError(
            f"a training rank exited with status {status}; its output stands above"
        )
