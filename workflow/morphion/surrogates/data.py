"""What a training reads: structures of a data set as network inputs on the device, and D*."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morphion import store
from morphion.config.surrogates import (
    DenseNetwork,
    Network,
    PaperNetwork,
    PeriodicNetwork,
    ResistorNetwork,
)
from morphion.errors import SurrogateError
from morphion.store.checksum import checksum
from morphion.structures.descriptors import mean_nearest_distances, radial_distributions
from morphion.structures.voxels import iter_voxel_blocks, soft_voxels, voxelise
from morphion.surrogates.images import PackedImages, augmentation, pack, source_indices
from morphion.surrogates.pairs import Graph, build_graph

SETS = ("train", "validation", "test")
_MEASURED_IMAGES = 64  # of the training set, for the mean and deviation of soft voxels


@dataclass(frozen=True)
class Labelled:
    """Structures, labels and one split of a data set.

    ``positions`` [S, N, 3] in voxels, ``diffusivity`` float64 [S] and ``tensor`` [S, 3, 3] in D*,
    ``split`` text [S], ``attrs`` of the store, ``digest`` of what a training depends on.
    """

    path: Path
    positions: np.ndarray
    diffusivity: np.ndarray
    tensor: np.ndarray
    split: np.ndarray
    attrs: dict[str, Any]
    digest: str

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


def takes_images(block: Network) -> bool:
    """Whether a network's input is the voxel image."""
    return not isinstance(block, DenseNetwork | ResistorNetwork)


def input_size(block: Network, voxels: int) -> int:
    """Voxels along an image's edge, or entries of the descriptor; a graph has no size."""
    if not isinstance(block, DenseNetwork):
        return voxels
    return 1 if block.descriptor == "nearest-distance" else block.max_distance + 1


def descriptors(block: DenseNetwork, positions: np.ndarray, box_length: float) -> np.ndarray:
    """Inputs of a dense network, float32 [B, entries], of structures [B, N, 3]."""
    if block.descriptor == "nearest-distance":
        found = mean_nearest_distances(positions, box_length)[:, np.newaxis]
    else:
        found = radial_distributions(positions, box_length, block.max_distance)
    return found.astype(np.float32)


def images(
    block: PaperNetwork | PeriodicNetwork,
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    voxels: int,
) -> torch.Tensor:
    """Images [B, 1, n, n, n] uint8, binary or soft as the network takes them, on the CPU."""
    draw = soft_voxels if _takes_soft(block) else voxelise
    drawn = draw(positions, box_length, diameter, voxels).view(np.uint8)
    # One channel: innermost or not is a matter of strides, which need no copy.
    return torch.from_numpy(drawn)[..., None].permute(0, 4, 1, 2, 3)


def _takes_soft(block: Network) -> bool:
    return isinstance(block, PeriodicNetwork) and block.image == "soft"


class SoftInputs:
    """Soft images, drawn anew for each batch: kept, they would need a byte a voxel."""

    def __init__(self, block: PeriodicNetwork, data: Labelled, device: torch.device):
        self._block, self._positions, self._device = block, data.positions, device
        attrs = data.attrs
        self._geometry = (attrs["box_length"], attrs["diameter"], int(attrs["voxels"]))

    def normalisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of a voxel over images of ``rows``, of some if many."""
        values = self._draw(rows[:_MEASURED_IMAGES]).numpy()
        return np.float32(values.mean(dtype=np.float64)), np.float32(values.std(dtype=np.float64))

    def batch(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        """Images [B, 1, n, n, n] uint8; nothing is augmented: the network is invariant."""
        return self._draw(rows).to(self._device)

    def _draw(self, rows: np.ndarray) -> torch.Tensor:
        return images(self._block, self._positions[rows], *self._geometry)


class ImageInputs:
    """Voxel images as packed bits; augmented when an epoch is given."""

    def __init__(self, data: Labelled, key: tuple | None, device: torch.device):
        geometry = (data.attrs["box_length"], data.attrs["diameter"], int(data.attrs["voxels"]))
        # Drawing the spheres again is several times faster than decoding the stored images,
        # which the same function made.
        bits = [pack(block) for block in iter_voxel_blocks(data.positions, *geometry)]
        self._bits = np.concatenate(bits)
        self._images = PackedImages(self._bits, geometry[2], device)
        self._key, self._device = key, device

    def normalisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of a voxel over the images of ``rows``."""
        filled = int(np.bitwise_count(self._bits[rows]).sum(dtype=np.int64))
        mean = filled / (len(rows) * self._images.voxels**3)
        return np.float32(mean), np.float32(np.sqrt(mean * (1 - mean)))

    def batch(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        """Images [B, 1, n, n, n] uint8, as they are (``epoch`` None) or augmented."""
        source = None
        if epoch is not None and self._key is not None:
            moves = augmentation(self._key, epoch, rows, self._images.voxels)
            source = source_indices(*moves, self._images.voxels)
        images = self._images.batch(torch.from_numpy(rows).to(self._device), source)
        return images.to(memory_format=torch.channels_last_3d)


class DescriptorInputs:
    """Descriptors of all structures, held on the device."""

    def __init__(self, block: DenseNetwork, data: Labelled, device: torch.device):
        values = descriptors(block, data.positions, data.attrs["box_length"])
        self._values = torch.from_numpy(values).to(device)
        self._device = device

    def normalisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each entry over ``rows``."""
        values = self._values[torch.from_numpy(rows)].double().cpu().numpy()
        return values.mean(axis=0), values.std(axis=0)

    def batch(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        """Descriptors [B, entries] float32; invariant, so that nothing is augmented."""
        return self._values[torch.from_numpy(rows).to(self._device)]


class GraphInputs:
    """Pairs and wedges of the particles, found anew for each batch: faster than keeping them."""

    def __init__(self, block: ResistorNetwork, data: Labelled, device: torch.device):
        self._positions, self._device = data.positions, device
        lengths = (data.attrs["box_length"], data.attrs["diameter"])
        self._lengths = (*lengths, block.near, block.cutoff)

    def normalisation(self, rows: np.ndarray) -> None:
        """None: distances come in sphere diameters."""

    def batch(self, rows: np.ndarray, epoch: int | None) -> Graph:
        """Graph of the structures; invariant, so that nothing is augmented."""
        return build_graph(self._positions[rows], *self._lengths, self._device)


Inputs = ImageInputs | SoftInputs | DescriptorInputs | GraphInputs


def make_inputs(block: Network, data: Labelled, key: tuple | None, device: torch.device) -> Inputs:
    """Inputs of a network; ``key`` is the random stream of the augmentation, None for none."""
    if isinstance(block, DenseNetwork):
        return DescriptorInputs(block, data, device)
    if isinstance(block, ResistorNetwork):
        return GraphInputs(block, data, device)
    if _takes_soft(block):
        return SoftInputs(block, data, device)
    return ImageInputs(data, key, device)
