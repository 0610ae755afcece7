"""What a training reads: the structures of a data set, their D* and their split."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morphion import store
from morphion.currents import PairCurrents, read_currents
from morphion.errors import SurrogateError
from morphion.philox import generator
from morphion.store.checksum import checksum
from morphion.surrogates.ahead import one_ahead
from morphion.surrogates.pairs import Graph

SETS = ("train", "validation", "test")


@dataclass(frozen=True)
class Labelled:
    """Structures, labels and one split of a data set.

    ``positions`` [S, N, 3] in voxels, ``diffusivity`` float64 [S] and ``tensor`` [S, 3, 3] in D*,
    ``split`` text [S], ``attrs`` of the store, ``digest`` of what a training depends on,
    ``currents`` of some of them in units of D* if a network is to learn them, and with them what a
    cubic sphere diameter of ``solvent`` conducts: its D* times its occupancy.
    """

    path: Path
    positions: np.ndarray
    diffusivity: np.ndarray
    tensor: np.ndarray
    split: np.ndarray
    attrs: dict[str, Any]
    digest: str
    currents: PairCurrents | None = None
    solvent: float | None = None

    @property
    def lengths(self) -> tuple[float, float]:
        """Edge of the box and diameter of the spheres, in voxels."""
        return self.attrs["box_length"], self.attrs["diameter"]

    @property
    def known_currents(self) -> int:
        """How many structures to train on there are currents of."""
        if self.currents is None:
            return 0
        return int((self.currents.row[self.rows("train")] >= 0).sum())

    def rows(self, name: str) -> np.ndarray:
        """Indices of the structures in ``train``, ``validation`` or ``test``; int64.

        Raises SurrogateError if there is none.
        """
        rows = np.flatnonzero(self.split == name)
        if len(rows) == 0:
            raise SurrogateError(
                f"{self.path}: no structure of {len(self.split)} is in the set {name!r} of this "
                "split; label more structures or change split"
            )
        return rows


def read_labelled(path: Path | str, split: str) -> Labelled:
    """The data set at ``path`` with its split ``random`` or ``by_run``.

    Raises StoreError if it is no sound data set, SurrogateError if a label of the split is not
    positive.
    """
    path, column = Path(path), f"split_{split}"
    data = store.load(path, kind="dataset", names=("positions", "diffusivity", "tensor", column))
    diffusivity = data.diffusivity.values / data.attrs["reference_diffusivity"]
    tensor = data.tensor.values / data.attrs["reference_diffusivity"]
    membership = data[column].values.astype(str)
    used = np.isin(membership, SETS)
    if not (diffusivity[used] > 0).all():
        index = int(np.flatnonzero(used & ~(diffusivity > 0))[0])
        raise SurrogateError(
            f"{path}: diffusivity[{index}] = {data.diffusivity.values[index]:g} is in the set "
            f"{membership[index]!r}; a network learns positive, converged labels only"
        )
    digest = "-".join(checksum(data[name].values)[:16] for name in data.data_vars)
    return Labelled(
        path, data.positions.values, diffusivity, tensor, membership, dict(data.attrs), digest
    )


def with_currents(
    data: Labelled, paths: Sequence[Path | str], transport: dict[str, Any]
) -> Labelled:
    """The data with the currents of these stores, made with the transport model of this record.

    In units of D* they are kept as float16: 0.05 % of a value, where conductances between pairs
    leave a tenth. Occupancies have mean 1. Raises what ``read_currents`` raises.
    """
    found = read_currents(paths, data.positions, transport)
    reference = data.attrs["reference_diffusivity"]
    mean = float(found.occupancy.mean()) if found.occupancy.size else 1.0
    currents = replace(
        found,
        current=(found.current / reference).astype(np.float16),
        occupancy=(found.occupancy / mean).astype(np.float32),
    )
    digest = f"{data.digest}-{found.digest}"
    return replace(data, currents=currents, solvent=1 / (reference * mean), digest=digest)


def training_part(
    membership: np.ndarray, structures: int, seed: int, round_: int, split: str
) -> np.ndarray:
    """A split, text [S], in which only ``structures`` of the training set remain in it.

    They are the first in a random order that run seed, round and name of the split draw: the same
    for every network, and a larger number holds a smaller one. The others become ``unused``.
    """
    rows = np.flatnonzero(membership == "train")
    order = generator(seed, "training-part", round_, split).permutation(rows)
    remaining = membership.astype(object)
    remaining[order[structures:]] = "unused"
    return remaining


def limited(data: Labelled, structures: int | None, seed: int, round_: int, split: str) -> Labelled:
    """The data with as many training structures as a network is to have; None leaves all.

    Raises SurrogateError if there are fewer.
    """
    if structures is None:
        return data
    if (found := len(data.rows("train"))) < structures:
        raise SurrogateError(
            f"{data.path}: training.structures = {structures}, but the training set of the split "
            f"{split!r} holds {found}; ask for at most that many"
        )
    return replace(data, split=training_part(data.split, structures, seed, round_, split))


class Inputs(ABC):
    """Inputs of every structure of a data set, ready for a training."""

    @abstractmethod
    def normalisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and standard deviation of each input over ``rows``; None: they need no scale."""

    @abstractmethod
    def plan(self, rows: np.ndarray, epoch: int | None) -> Any:
        """What CPU cores find out for a batch of the structures ``rows``, augmented by ``epoch``
        or as they are (None). A thread may do so while the batch before is worked on."""

    @abstractmethod
    def place(self, plan: Any) -> torch.Tensor | Graph:
        """The planned batch on the device, which is not waited for."""

    def batch(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor | Graph:
        """Both in turn."""
        return self.place(self.plan(rows, epoch))

    @contextmanager
    def batches(
        self, parts: Sequence[np.ndarray], epoch: int, beside: bool
    ) -> Iterator[Iterator[torch.Tensor | Graph]]:
        """Those of an epoch, each when it is asked for; planned by a thread if ``beside``."""
        with one_ahead((self.plan(rows, epoch) for rows in parts), beside) as planned:
            yield (self.place(plan) for plan in planned)
