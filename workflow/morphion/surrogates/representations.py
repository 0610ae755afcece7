"""What a network sees of structures: voxel images, a descriptor, or pairs of particles.

A representation turns positions into a network's inputs, for training and prediction alike. Which
network sees what stands in ``morphion.surrogates.build``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch

from morphion.config.surrogates import DenseNetwork, PairsNetwork
from morphion.structures.descriptors import mean_nearest_distances, radial_distributions
from morphion.structures.voxels import iter_voxel_blocks, voxelise
from morphion.surrogates.data import Inputs, Labelled
from morphion.surrogates.images import PackedImages, augmentation, pack, source_indices
from morphion.surrogates.pairs import Graph, Kept, Pairs, build_graph, find_pairs, join, separate
from morphion.surrogates.parallel import torch_threads

# Input voxels that go through the network at once; a few filters times this fit in memory.
_VOXELS_AT_ONCE = {"cpu": 2**23, "cuda": 2**26}


class Representation(ABC):
    """From positions to what a network takes.

    ``size`` is the voxels along an image's edge or the entries of a descriptor, 0 where inputs have
    no fixed size; ``any_box`` tells whether boxes and diameters other than the training's are
    defined; ``memory_format`` is the one in which the network is fastest; ``one_thread`` tells
    that its operators are too small to be shared by CPU cores.
    """

    any_box = False
    one_thread = False
    memory_format = torch.contiguous_format
    size: int

    @abstractmethod
    def of(
        self, positions: np.ndarray, box_length: float, diameter: float, device: torch.device
    ) -> torch.Tensor | Graph:
        """Inputs of structures [B, N, 3], lengths in voxels, on the device."""

    def threads(self) -> AbstractContextManager[None]:
        """Where the network runs: on as many of torch's threads as help."""
        return torch_threads(1) if self.one_thread else nullcontext()

    @abstractmethod
    def at_once(self, device: torch.device) -> int:
        """Structures that go through the network together when it predicts."""

    def copies(self, box_length: float, diameter: float) -> int:
        """How often along an axis a structure is taken: one in a box that is too small for a cutoff
        is the same as several of it side by side."""
        return 1

    @abstractmethod
    def hold(self, data: Labelled, key: tuple | None, device: torch.device) -> Inputs:
        """Inputs of every structure of a data set, for training; ``key`` is the random stream of
        the augmentation, None for none."""


class VoxelImages(Representation):
    """Binary images [B, 1, n, n, n] uint8; the network repeats each ``copies`` times."""

    # Convolutions are 1.3 to 2 times as fast with the channels innermost.
    memory_format = torch.channels_last_3d

    def __init__(self, voxels: int, copies: int = 1):
        self.size, self._copies = voxels, copies

    def of(
        self, positions: np.ndarray, box_length: float, diameter: float, device: torch.device
    ) -> torch.Tensor:
        images = voxelise(positions, box_length, diameter, self.size).view(np.uint8)
        # One channel: innermost or not is a matter of strides, which need no copy.
        return torch.from_numpy(images)[..., None].permute(0, 4, 1, 2, 3).to(device)

    def at_once(self, device: torch.device) -> int:
        limit = _VOXELS_AT_ONCE["cuda" if device.type == "cuda" else "cpu"]
        return max(1, limit // (self._copies * self.size**3))

    def hold(self, data: Labelled, key: tuple | None, device: torch.device) -> Inputs:
        return _ImageInputs(self, data, key, device)


class Descriptor(Representation):
    """A descriptor [B, size] of the whole structure, in lengths of the training's box.

    ``describe`` takes positions [B, N, 3], box length and diameter, all in voxels.
    """

    def __init__(self, size: int, describe: Callable[[np.ndarray, float, float], np.ndarray]):
        self.size, self._describe = size, describe

    def of(
        self, positions: np.ndarray, box_length: float, diameter: float, device: torch.device
    ) -> torch.Tensor:
        values = self._describe(positions, box_length, diameter)
        return torch.from_numpy(values.astype(np.float32)).to(device)

    def at_once(self, device: torch.device) -> int:
        return 65536

    def hold(self, data: Labelled, key: tuple | None, device: torch.device) -> Inputs:
        return _DescriptorInputs(self, data, device)


class PairGraphs(Representation):
    """Pairs and wedges of particles (``morphion.surrogates.pairs``), cutoffs in sphere diameters.

    ``facets`` tells whether the network also sees the facets between particles. Distances come in
    sphere diameters, so that any box is defined; a training's has room for the cutoff.
    """

    any_box = True
    one_thread = PairsNetwork.one_thread
    size = 0

    def __init__(self, near: float, cutoff: float, *, facets: bool):
        self._near, self._cutoff, self.facets = near, cutoff, facets

    def of(
        self, positions: np.ndarray, box_length: float, diameter: float, device: torch.device
    ) -> Graph:
        positions, box_length = self.enlarged(positions, box_length, diameter)
        lengths = (box_length, diameter)
        return self.graph(positions, *lengths, self.pairs(positions, *lengths), device)

    def enlarged(
        self, positions: np.ndarray, box_length: float, diameter: float
    ) -> tuple[np.ndarray, float]:
        """Structures in a box with room for the cutoff, and its edge."""
        copies = self.copies(box_length, diameter)
        if copies == 1:
            return positions, box_length
        return repeated(positions, box_length, copies), copies * box_length

    def copies(self, box_length: float, diameter: float) -> int:
        copies = 1
        # The same numbers as ``find_pairs`` compares.
        while copies * box_length / diameter < 2 * self._cutoff:
            copies += 1
        return copies

    def pairs(self, positions: np.ndarray, box_length: float, diameter: float) -> Pairs:
        """What takes most of the time of ``of`` if there are facets."""
        cutoffs = (self._near, self._cutoff)
        return find_pairs(positions, box_length, diameter, *cutoffs, facets=self.facets)

    def graph(
        self,
        positions: np.ndarray,
        box_length: float,
        diameter: float,
        pairs: Pairs,
        device: torch.device,
    ) -> Graph:
        """As ``of``, from pairs that are known."""
        return build_graph(positions, box_length, diameter, self._near, pairs, device)

    def at_once(self, device: torch.device) -> int:
        return 512 if device.type == "cuda" else 64

    def hold(self, data: Labelled, key: tuple | None, device: torch.device) -> Inputs:
        return _PairInputs(self, data, device)


def repeated(positions: np.ndarray, box_length: float, copies: int) -> np.ndarray:
    """Structures [B, N, 3] in a box ``copies`` times as long: [B, N copies^3, 3]."""
    shifts = box_length * np.indices((copies,) * 3).reshape(3, -1).T
    return (np.asarray(positions)[:, :, None] + shifts).reshape(len(positions), -1, 3)


def dense_descriptor(block: DenseNetwork) -> Descriptor:
    """What a dense network sees: the mean nearest distance, or g(r)."""
    last = block.max_distance
    if block.descriptor == "nearest-distance":
        return Descriptor(1, lambda centres, box, _: mean_nearest_distances(centres, box)[:, None])
    return Descriptor(last + 1, lambda centres, box, _: radial_distributions(centres, box, last))


class _ImageInputs(Inputs):
    """Voxel images as packed bits; augmented when an epoch is given."""

    def __init__(
        self, images: VoxelImages, data: Labelled, key: tuple | None, device: torch.device
    ):
        # Drawing the spheres again is several times faster than decoding the stored images,
        # which the same function made.
        blocks = iter_voxel_blocks(data.positions, *data.lengths, images.size)
        self._bits = np.concatenate([pack(block) for block in blocks])
        self._images = PackedImages(self._bits, images.size, device)
        self._key, self._device, self._format = key, device, images.memory_format

    def normalisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of a voxel over the images of ``rows``."""
        filled = int(np.bitwise_count(self._bits[rows]).sum(dtype=np.int64))
        mean = filled / (len(rows) * self._images.voxels**3)
        return np.float32(mean), np.float32(np.sqrt(mean * (1 - mean)))

    def plan(self, rows: np.ndarray, epoch: int | None) -> tuple[torch.Tensor, np.ndarray | None]:
        """``rows``, and from where augmented images take their voxels."""
        source = None
        if epoch is not None and self._key is not None:
            moves = augmentation(self._key, epoch, rows, self._images.voxels)
            source = source_indices(*moves, self._images.voxels)
        return torch.from_numpy(rows), source

    def place(self, plan: tuple[torch.Tensor, np.ndarray | None]) -> torch.Tensor:
        """Images [B, 1, n, n, n] uint8."""
        rows, source = plan
        images = self._images.batch(rows.to(self._device, non_blocking=True), source)
        return images.to(memory_format=self._format)


class _DescriptorInputs(Inputs):
    """Descriptors of all structures, held on the device."""

    def __init__(self, descriptor: Descriptor, data: Labelled, device: torch.device):
        self._values = descriptor.of(data.positions, *data.lengths, device)
        self._device = device

    def normalisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each entry over ``rows``."""
        values = self._values[torch.from_numpy(rows)].double().cpu().numpy()
        return values.mean(axis=0), values.std(axis=0)

    def plan(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        """``rows``; descriptors are invariant, so that nothing is augmented."""
        return torch.from_numpy(rows)

    def place(self, plan: torch.Tensor) -> torch.Tensor:
        """Descriptors [B, entries] float32."""
        return self._values.index_select(0, plan.to(self._device, non_blocking=True))

    @contextmanager
    def batches(
        self, parts: Sequence[np.ndarray], epoch: int, beside: bool
    ) -> Iterator[Iterator[torch.Tensor]]:
        """Gathered at once: a step takes so little that gathering each batch would show."""
        yield self._parts(parts, epoch)

    def _parts(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[torch.Tensor]:
        if parts:
            yield from self.batch(np.concatenate(parts), epoch).split([len(rows) for rows in parts])


class _PairInputs(Inputs):
    """Pairs and wedges of the particles, found anew for each batch: faster than keeping them.

    Pairs with facets take longer to find: they are kept, some 11 kB for each structure met so far
    at the default particle number.
    """

    def __init__(self, sees: PairGraphs, data: Labelled, device: torch.device):
        self._sees, self._data, self._device = sees, data, device
        self._kept: dict[int, Kept] = {}

    def normalisation(self, rows: np.ndarray) -> None:
        """None: distances come in sphere diameters."""

    def plan(self, rows: np.ndarray, epoch: int | None) -> Graph:
        """Graph of the structures on the CPU; invariant, so that nothing is augmented."""
        positions, lengths = self._data.positions[rows], self._data.lengths
        if not self._sees.facets:
            pairs = self._sees.pairs(positions, *lengths)
        else:
            new = [row for row in rows.tolist() if row not in self._kept]
            if new:
                unseen = self._data.positions[new]
                found = separate(self._sees.pairs(unseen, *lengths), unseen.shape[:2])
                self._kept.update(zip(new, found, strict=True))
            pairs = join([self._kept[row] for row in rows.tolist()], positions.shape[1])
        return self._sees.graph(positions, *lengths, pairs, torch.device("cpu"))

    def place(self, plan: Graph) -> Graph:
        """The graph on the device."""
        return plan.to(self._device)
