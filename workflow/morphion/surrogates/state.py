"""Everything a killed training needs to continue to the identical result."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from morphion.errors import SurrogateError
from morphion.files import atomic_file
from morphion.store import Partial

HISTORY = (
    "epoch",
    "train_loss",
    "validation_loss",
    "learning_rate",
    "seconds",
    "samples_per_second",
    "loader_share",
)
HISTORY_FILE = "history.csv"
_KEY = "checkpoint"


@dataclass
class Position:
    """Where a training is: ``batch`` batches into ``epoch``, with the best network so far."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    loading: float = 0.0  # seconds of this epoch
    best_loss: float = float("inf")
    best_epoch: int = -1
    history: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def scalars(self) -> np.ndarray:
        """All but the history, float64."""
        counts = (self.epoch, self.batch, self.best_epoch)
        sums = (self.loss_sum, self.seconds, self.loading, self.best_loss)
        return np.array([*counts, *sums], dtype=np.float64)

    @classmethod
    def from_arrays(cls, scalars: np.ndarray, history: np.ndarray) -> "Position":
        """Inverse of ``scalars`` and the history [epochs, 7]."""
        epoch, batch, best_epoch = (int(value) for value in scalars[:3])
        return cls(
            epoch, batch, *map(float, scalars[3:]), best_epoch, [tuple(row) for row in history]
        )


def tensors_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of a network's tensors on the CPU, by name."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().copy()
        for name, tensor in model.state_dict().items()
    }


def load_tensors(model: nn.Module, tensors: dict[str, np.ndarray], *, where: str) -> None:
    """Put tensors into a network; raises SurrogateError naming ``where`` and the first tensor that
    is missing, unknown, or of another shape or dtype."""
    expected = dict(model.state_dict().items())
    for name in sorted(expected.keys() - tensors.keys()):
        raise SurrogateError(f"{where}: no tensor {name!r}; a checkpoint of another network")
    for name in sorted(tensors.keys() - expected.keys()):
        raise SurrogateError(f"{where}: unknown tensor {name!r}; a checkpoint of another network")
    for name, tensor in expected.items():
        found = torch.from_numpy(tensors[name])
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise SurrogateError(
                f"{where}: tensor {name!r} is {_form(found)}, the network has {_form(tensor)}; "
                "a checkpoint of another network"
            )
        if not torch.isfinite(found).all():
            raise SurrogateError(f"{where}: tensor {name!r} holds values that are not finite")
    model.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})


def save_checkpoint(
    partial: Partial,
    position: Position,
    model: nn.Module,
    average: nn.Module | None,
    best: dict[str, np.ndarray],
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Keep a training's state beside its future output; ``average`` is the mean of its weights."""
    arrays = {
        "scalars": position.scalars,
        "history": np.array(position.history, dtype=np.float64).reshape(-1, len(HISTORY)),
    }
    if scaler.is_enabled():
        state = scaler.state_dict()
        arrays["scaler"] = np.array([state["scale"], state["_growth_tracker"]], dtype=np.float64)
    arrays |= {f"weights:{name}": value for name, value in tensors_of(model).items()}
    if average is not None:
        arrays |= {f"average:{name}": value for name, value in tensors_of(average).items()}
    arrays |= {f"best:{name}": value for name, value in best.items()}
    for index, moments in optimiser.state_dict()["state"].items():
        for name, value in moments.items():
            arrays[f"adam:{index}:{name}"] = value.detach().cpu().contiguous().numpy()
    partial.save(_KEY, arrays)
    with atomic_file(partial.folder / HISTORY_FILE) as scratch:
        write_history(scratch, position.history)


def write_history(path: Path, history: Sequence[Sequence[float]]) -> None:
    """What is known of each epoch as CSV, columns ``HISTORY``."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HISTORY)
        writer.writerows((int(row[0]), *row[1:]) for row in history)


def load_checkpoint(
    arrays: dict[str, np.ndarray],
    model: nn.Module,
    average: nn.Module | None,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    where: str,
) -> tuple[Position, dict[str, np.ndarray]]:
    """Restore a training; returns where it was and the tensors of the best network so far.

    Raises SurrogateError, its message beginning with ``where``, for arrays of another network.
    """
    for name in ("scalars", "history"):
        if name not in arrays:
            raise SurrogateError(f"{where}: no array {name!r}; not the checkpoint of a training")
    load_tensors(model, _part(arrays, "weights:"), where=where)
    if average is not None:
        load_tensors(average, _part(arrays, "average:"), where=where)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _part(arrays, "adam:").items():
        index, moment = name.split(":")
        state.setdefault(int(index), {})[moment] = torch.from_numpy(value)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    # Laid out as the weights are, or Adam would go on by another path on a GPU.
    for weights, moments in optimiser.state.items():
        for name, moment in moments.items():
            if moment.dim():  # the count of steps has none, and stays on the host
                moments[name] = torch.empty_like(weights).copy_(moment)
    # A training that began without scaling, on another device, starts with the usual scale.
    if scaler.is_enabled() and "scaler" in arrays:
        scale, tracker = arrays["scaler"]
        scaler.load_state_dict(
            {**scaler.state_dict(), "scale": float(scale), "_growth_tracker": int(tracker)}
        )
    return Position.from_arrays(arrays["scalars"], arrays["history"]), _part(arrays, "best:")


def read_checkpoint(partial: Partial) -> dict[str, np.ndarray] | None:
    """Arrays that ``save_checkpoint`` kept, or None."""
    return partial.load(_KEY)


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def _form(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
