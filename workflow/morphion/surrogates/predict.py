"""Predictions of a trained network, each with its spread."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from morphion import store
from morphion.errors import DeviceMemoryError, SurrogateError
from morphion.surrogates.build import build, representation
from morphion.surrogates.data import training_part
from morphion.surrogates.memory import keep_freed_memory
from morphion.surrogates.model import WEIGHTS, Description, read_description, read_tensors
from morphion.surrogates.networks import Surrogate3D
from morphion.surrogates.origin import compare_labels
from morphion.surrogates.parallel import choose_device
from morphion.surrogates.precision import reproducible, strict_float32
from morphion.surrogates.shipped import verify_checksums
from morphion.surrogates.state import load_tensors

_SAME_LENGTH = 1e-5  # relative; coordinates and boxes are stored in single precision


class Surrogate:
    """A trained network: positions in, D* and its spread out.

    The spread is one standard deviation of label - prediction, fitted to the validation set of the
    training: a share of the prediction, which depends on D* and, for ensembles and the resistor
    network, on how unlike the training set a structure is (``morphion.surrogates.spread``). It
    contains the noise of the labels.
    """

    def __init__(self, description: Description, model: Surrogate3D, device: torch.device):
        self.description = description
        self._device = device
        self._sees = representation(description.block, description.voxels)
        self._batch = self._sees.at_once(device)
        self._model = model.to(device, memory_format=self._sees.memory_format).eval()

    @classmethod
    def load(cls, folder: Path | str, device: str = "auto") -> "Surrogate":
        """Network of a model folder on ``auto``, ``cpu`` or ``cuda``.

        Raises SurrogateError naming the file, and the key or tensor, if the folder is no sound
        model, its weights are those of another network, or a published one was altered.
        """
        keep_freed_memory()
        strict_float32()
        verify_checksums(Path(folder))
        description = read_description(folder)
        sees = representation(description.block, description.voxels)
        model = build(description.block, sees.size)
        load_tensors(model, read_tensors(folder), where=str(Path(folder) / WEIGHTS))
        return cls(description, model, choose_device(device))

    @property
    def reference_diffusivity(self) -> float:
        """D0 in units of the solvent's diffusivity; D = D0 D*."""
        return self.description.reference_diffusivity

    @property
    def network_name(self) -> str:
        """Key of the network in the configuration it was trained with."""
        return self.description.network_name

    def predict(
        self, positions: np.ndarray, box_length: float, diameter: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """D* and its spread, float64 [B], of structures ``positions`` [B, N, 3] in voxels.

        Any number of particles is accepted. Raises SurrogateError for another box or diameter
        than the network was trained on, but for one whose representation has ``any_box``; for
        positions that are not finite, and for a prediction that is not.
        """
        prediction, novelty = self._read((positions, box_length, diameter), self._scalars())
        return self._with_spread(prediction, novelty)

    def predict_with_tensor(
        self, positions: np.ndarray, box_length: float, diameter: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """D* and its spread, float64 [B], and the tensor of D*, float64 [B, 3, 3], a third of whose
        trace D* is; as ``predict``.

        Raises SurrogateError as ``predict`` does, and if the network has no tensor.
        """
        if not self.has_tensor:
            raise SurrogateError(
                f"network {self.network_name!r} is of kind {self.description.block.kind!r}, "
                "which predicts no tensor; a resistor network does"
            )
        reads = {**self._scalars(), self._model.mean: (3, 3)}
        prediction, novelty, tensor = self._read((positions, box_length, diameter), reads)
        return *self._with_spread(prediction, novelty), tensor

    def _scalars(self) -> dict[Callable[[Any], torch.Tensor], tuple[int, ...]]:
        return {self._model.diffusivity: (), self._model.novelty: ()}

    def _with_spread(
        self, prediction: np.ndarray, novelty: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if not np.isfinite(prediction).all():
            structure = int(np.argmin(np.isfinite(prediction)))
            raise SurrogateError(
                f"structure {structure}: network {self.network_name!r} predicts D* = "
                f"{prediction[structure]}; it is too unlike what the network was trained on"
            )
        return prediction, self.description.spread.of(prediction, novelty)

    @contextmanager
    def by_torch_alone(self) -> Iterator[None]:
        """For a while torch's operators do all of the network's work, slowly."""
        parts = [part for part in self._model.modules() if isinstance(part, Surrogate3D)]
        for part in parts:
            part.by_torch_alone = True
        try:
            yield
        finally:
            for part in parts:
                del part.by_torch_alone

    @property
    def any_box(self) -> bool:
        """Whether the network is defined for other boxes and diameters than it was trained on."""
        return self._sees.any_box

    @property
    def has_tensor(self) -> bool:
        """Whether the network predicts the tensor of D*."""
        return self._model.has_tensor

    def _read(
        self,
        structures: tuple[np.ndarray, float, float],
        reads: Mapping[Callable[[Any], torch.Tensor], tuple[int, ...]],
    ) -> list[np.ndarray]:
        """What each of ``reads`` finds in the network's output, float64 [B, ...] of the shape that
        stands beside it; a batch at a time."""
        positions, box_length, diameter = structures
        self._check(positions, box_length, diameter)
        lengths = (box_length, diameter)
        if not self.any_box:
            # Those of the training, which the given ones equal but for their last digits.
            lengths = (self.description.box_length, self.description.diameter)
        # Nothing of a batch may outlive it: kept memory would be torn to pieces between the large
        # arrays of the next one, which then took new memory, up to all there was.
        found = [np.empty((len(positions), *shape)) for shape in reads.values()]
        batch = max(1, self._batch // self._sees.copies(*lengths) ** 3)
        steady = reproducible(self._device)
        try:
            with torch.inference_mode(), self._sees.threads(), steady:
                for start in range(0, len(positions), batch):
                    part = slice(start, start + batch)
                    output = self._model.from_structures(
                        self._sees, positions[part], *lengths, self._device
                    )
                    for values, read in zip(found, reads, strict=True):
                        values[part] = read(output).double().cpu().numpy()
                return found
        except (torch.OutOfMemoryError, DeviceMemoryError) as error:
            raise SurrogateError(
                f"{self._device} has too little memory left for network {self.network_name!r} and "
                f"{min(batch, len(positions))} structures; other programs may hold some, and "
                "on CPU cores (CUDA_VISIBLE_DEVICES set to nothing) it runs as well"
            ) from error

    def _check(self, positions: np.ndarray, box_length: float, diameter: float) -> None:
        shape = np.shape(positions)
        if len(shape) != 3 or shape[2] != 3:
            raise SurrogateError(f"positions have shape {list(shape)}; expected [B, N, 3]")
        if not (math.isfinite(box_length) and 0 < diameter <= box_length):
            raise SurrogateError(
                f"sphere diameter {diameter:g} in a box of edge {box_length:g}: it must be "
                "positive, and fit"
            )
        for what, given, trained in (
            ("box edge", box_length, self.description.box_length),
            ("sphere diameter", diameter, self.description.diameter),
        ):
            if not self.any_box and not math.isclose(given, trained, rel_tol=_SAME_LENGTH):
                raise SurrogateError(
                    f"{what} {given:.7g} voxels: network {self.network_name!r} was trained with "
                    f"{trained:.7g} and is not defined for another"
                )
        if not np.isfinite(positions).all():
            structure, particle = np.argwhere(~np.isfinite(positions))[0, :2]
            raise SurrogateError(
                f"structure {structure}: position of particle {particle} is not finite"
            )


def predict_dataset(surrogate: Surrogate, dataset_path: Path | str) -> pd.DataFrame:
    """Predictions beside the labels of a data set, all in D*, one row to a structure.

    Columns: structure, round, family, group, split, label, label_stderr, prediction, spread,
    converged; ``split`` is the scheme the network was trained on, where structures that a limited
    training left out are ``unused``. D* is that of the data set: its D0 may be another than the
    network's. Raises StoreError for an unsound data set, SurrogateError if its transport model or
    geometry is not the network's; labels of another lattice are a MorphionWarning.
    """
    described = surrogate.description
    column = f"split_{described.split}"
    names = ("positions", "round", "family", "group", column, "diffusivity", "stderr", "converged")
    data = store.load(dataset_path, kind="dataset", names=names)
    compare_labels(str(dataset_path), data.attrs, described)
    reference = float(data.attrs["reference_diffusivity"])
    membership = data[column].values.astype(str)
    structures = described.block.training.structures
    if structures is not None:
        membership = training_part(
            membership, structures, described.seed, described.round, described.split
        )
    found = surrogate.predict(
        data.positions.values, data.attrs["box_length"], data.attrs["diameter"]
    )
    prediction, spread = (
        values * (surrogate.reference_diffusivity / reference) for values in found
    )
    return pd.DataFrame(
        {
            "structure": np.arange(data.sizes["structure"]),
            "round": data["round"].values,
            "family": data.family.values.astype(str),
            "group": data.group.values.astype(str),
            "split": membership,
            "label": data.diffusivity.values / reference,
            "label_stderr": data.stderr.values / reference,
            "prediction": prediction,
            "spread": spread,
            "converged": data.converged.values.astype(bool),
        }
    )
