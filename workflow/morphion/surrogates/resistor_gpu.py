"""Predictions of the resistor network on a device, from positions to power: its kernels are in
``kernels``, and compute what :mod:`morphion.surrogates.resistor_cpu` does.

Each kernel goes over all particles or pairs of a batch at once, so that a single structure occupies
the device as well; a block has a structure to itself in Kirchhoff's equations alone. How many pairs
there are the device does not tell: memory is there for all that N particles can form, of which
those that do not meet are never touched, and kernels end where the pairs do. Sums run in an order
that depends on the structure alone.
"""

from typing import Any

import numpy as np

from morphion.errors import SurrogateError
from morphion.gpu import CudaDevice
from morphion.surrogates.resistor_weights import Constants, Sums, Weights

KERNELS = tuple(
    f"surrogates/kernels/{name}.cu"
    for name in ("network", "facets", "pairs", "layers", "resistor", "kirchhoff")
)
# As THREADS, ROWS and WIDTH in layers.cu, SOLVERS and SHARED in kirchhoff.cu.
_THREADS, _ROWS, _WIDTH = 64, 4, 384
_SOLVERS, _SHARED = 512, 6000
_LISTERS = 256  # threads of a block that lists pairs
_BLOCKS_PER_MULTIPROCESSOR = 32
_ROOM = 2**30  # bytes for the structures of a chunk: hundreds, more than occupy a device
_PAIR = np.dtype(
    [("first", "i4"), ("second", "i4"), ("separation", "f4", 3), ("facet", "f4"), ("beside", "f4")]
)
_ALONG = 4 * 8  # bytes of struct Along in network.cu


class OnDevice:
    """A network on a device: its weights are uploaded once.

    Parameters
    ----------
    device : CudaDevice
    weights : Weights
    constants : Constants
        As :func:`morphion.surrogates.resistor_cpu.sums` takes them.
    far : float
        Distance beyond which particles do not meet, sphere diameters.

    Raises SurrogateError if a layer has more inputs than the kernels have room for.
    """

    def __init__(self, device: CudaDevice, weights: Weights, constants: Constants, far: float):
        if not fits(weights):
            raise SurrogateError(
                f"a layer of the resistor network has {_widest(weights)} inputs; kernels have room "
                f"for {_WIDTH}"
            )
        self.device = device
        self._channels, self._neurons = weights.from_pair.shape[2], weights.from_pair.shape[1]
        self._rounds, self._radial = len(weights.out), len(weights.centres)
        parts = [np.ascontiguousarray(part, np.float32).ravel() for part in weights]
        self._weights = device.array(np.concatenate(parts))
        starts = np.cumsum([0, *map(len, parts[:-1])])
        addresses = device.address(self._weights) + 4 * starts
        numbers = np.array([*constants, far], np.float64).view(np.int64)
        sizes = (
            len(weights.centres),
            self._channels,
            self._neurons,
            len(weights.far_bias),
            self._rounds,
            weights.to_wedge.shape[1],
        )
        words = [addresses, numbers, sizes]
        self._network = device.array(np.concatenate([np.asarray(w, np.int64) for w in words]))
        self._room: _Room | None = None

    def holds(self, particles: int) -> bool:
        """Whether the device has memory for a structure of N particles and all pairs they form."""
        if self._room is not None and self._room.particles == particles:
            return True
        self._room = None  # its memory counts as well
        sizes = (self._channels, self._neurons, self._rounds)
        return _bytes_each(particles, sizes) <= _usable(self.device)

    def sums(self, positions: np.ndarray, box: float) -> Sums:
        """What predictions of structures are made of.

        ``positions`` [B, N, 3] and the edge ``box`` are in sphere diameters; the box has room for
        twice the far cutoff. K_ab is nan where conductances are not sound.
        """
        structures, particles = positions.shape[:2]
        room = self._room_for(structures, particles)
        columns = np.cumsum([9, 1, self._radial, self._neurons + 1])
        found = self.device.empty((structures, columns[-1]), np.float64)
        chunk = room.fitting(structures)
        for start in range(0, structures, chunk):
            part = positions[start : start + chunk]
            self._list_pairs(room, part, box)
            self._conduct(room, len(part))
            self._launch(
                "kirchhoff", min(len(part), room.solvers), _SOLVERS, room,
                np.int32(len(part)), found, np.int32(start),
            )  # fmt: skip
        parts = np.split(self.device.host(found), columns[:-1], axis=1)
        return Sums(parts[0].reshape(-1, 3, 3), parts[1][:, 0], *parts[2:])

    def meeting_pairs(self, positions: np.ndarray, box: float) -> tuple[np.ndarray, ...]:
        """Structure, first and second particle int64 [E], ``facet`` and ``beside`` float32 [E], as
        of :func:`morphion.surrogates.facets.meeting_pairs` with facets."""
        structures, particles = positions.shape[:2]
        room = self._room_for(structures, particles)
        found, chunk = [], room.fitting(structures)
        for start in range(0, structures, chunk):
            self._list_pairs(room, positions[start : start + chunk], box)
            size = int(self.device.host(room.arrays["total"])[0]) * _PAIR.itemsize
            pairs = self.device.host(room.arrays["pairs"][:size]).view(_PAIR)
            ends = (pairs[end].astype(np.int64) + start * particles for end in ("first", "second"))
            found.append((*ends, pairs["facet"], pairs["beside"]))
        first, *rest = (np.concatenate(column) for column in zip(*found, strict=True))
        return first // particles, first, *rest

    def _list_pairs(self, room: "_Room", positions: np.ndarray, box: float) -> None:
        """Find the facets of structures [B, N, 3], and list who meets."""
        count = np.int32(len(positions))
        centres = self.device.array(np.ascontiguousarray(positions, np.float64))
        blocks = min(len(positions) * room.particles, room.finders)
        self._launch("find_pairs", blocks, _THREADS, room, centres, np.float64(box), count)
        self._launch("list_pairs", len(positions), _LISTERS, room, count)

    def _conduct(self, room: "_Room", structures: int) -> None:
        """Find the conductances of the pairs, and the occupancies of the particles."""
        count = np.int32(structures)
        most = _BLOCKS_PER_MULTIPROCESSOR * self.device.multiprocessors
        rows = structures * room.particles
        over_pairs = min(-(-structures * room.pairs // _ROWS), most)
        over_particles = min(-(-rows * self._channels // _THREADS), most)
        self._launch("first_messages", over_pairs, _THREADS, room)
        self._launch("gather", over_particles, _THREADS, room, count, np.int32(0))
        self._launch("far_conductances", over_pairs, _THREADS, room)
        for k in range(self._rounds):
            if k > 0:
                self._launch("gather", over_particles, _THREADS, room, count, np.int32(k))
            self._launch("learn", over_pairs, _THREADS, room, count, np.int32(k))
        self._launch("occupancies", min(-(-rows // _ROWS), most), _THREADS, room, count)

    def _launch(self, kernel: str, blocks: int, threads: int, room: "_Room", *arguments) -> None:
        # No blocks at all, as for structures without particles, are an error to CUDA.
        blocks = max(blocks, 1)
        self.device.launch(
            KERNELS, kernel, blocks, threads, self._network, room.addresses, *arguments
        )

    def _room_for(self, structures: int, particles: int) -> "_Room":
        """Memory for structures of N particles, that of the last ones if it does."""
        room = self._room
        if (
            room is None
            or room.particles != particles
            or room.structures < room.fitting(structures)
        ):
            room = self._room = None  # given back before more is asked for
            sizes = (self._channels, self._neurons, self._rounds)
            self._room = _Room(self.device, structures, particles, sizes)
        return self._room


class _Room:
    """Memory for a chunk of a batch, as struct Room in network.cu.

    Attributes
    ----------
    structures, particles, pairs : int
        The structures of a chunk, the particles of each, and the pairs they can form.
    finders, solvers : int
        Blocks of ``find_pairs`` and ``kirchhoff`` that there is memory for.
    arrays : dict
    addresses : int64 on the device
        Those of the arrays, and the number of particles.
    """

    def __init__(
        self, device: CudaDevice, structures: int, particles: int, sizes: tuple[int, int, int]
    ):
        self.particles, self.pairs = particles, _most_pairs(particles)
        self._bytes_each = _bytes_each(particles, sizes)
        self._usable = _usable(device)
        self.structures = self.fitting(structures)
        # A block to each particle, or to as many as there is memory for.
        each = 8 * _doubles_around_one(particles)
        self.finders = max(min(self.structures * particles, _ROOM // 4 // each), 1)
        equations = _doubles_of_equations(particles)
        in_shared = equations <= _SHARED
        self.solvers = self.structures
        if not in_shared:
            self.solvers = max(min(self.structures, _ROOM // 4 // (8 * equations)), 1)
        rows = self.structures * particles
        layout = _layout(self.structures, particles, sizes)
        layout["around_one"] = (self.finders * each, np.uint8)
        layout["matrices"] = (1 if in_shared else self.solvers * equations, np.float64)
        assert rows < 2**31
        self.arrays: dict[str, Any] = {
            name: device.empty(int(length), dtype) for name, (length, dtype) in layout.items()
        }
        words = [device.address(self.arrays[name]) for name in layout]
        self.addresses = device.array(np.array([*words, particles], np.int64))

    def fitting(self, structures: int) -> int:
        """How many of some structures a chunk takes, of as few as memory allows, all alike: a short
        one would leave much of the device idle."""
        most = max(min(_ROOM, self._usable) // self._bytes_each, 1)
        chunks = max(-(-structures // most), 1)
        return max(-(-structures // chunks), 1)


def _usable(device: CudaDevice) -> int:
    """Bytes for the structures of a chunk: blocks of kernels take memory besides."""
    return device.usable_memory() // 2


def _most_pairs(particles: int) -> int:
    """Pairs that particles can form, 1 at least."""
    return max(particles * (particles - 1) // 2, 1)


def _layout(
    structures: int, particles: int, sizes: tuple[int, int, int]
) -> dict[str, tuple[int, Any]]:
    """Length and type of each array in the order of struct Room."""
    channels, neurons, rounds = sizes
    rows, pairs = structures * particles, structures * _most_pairs(particles)
    table = (rows * particles, np.int32)
    return {
        "around_one": (0, np.uint8),
        "of_particle": (rows * particles * _PAIR.itemsize, np.uint8),
        "count": (rows, np.int64),
        "start": (structures + 1, np.int32),
        "total": (2, np.int32),
        "pairs": (pairs * _PAIR.itemsize, np.uint8),
        "along": (pairs * _ALONG, np.uint8),
        "near": (pairs, np.int32),
        "met": table,
        "near_met": table,
        "degree": (rows, np.int32),
        "near_degree": (rows, np.int32),
        "message": (pairs * channels, np.float32),
        "sources": (pairs * channels, np.float32),
        "sources_2": (pairs * channels, np.float32),
        "known": (pairs * neurons, np.float32),
        "around": ((rounds + 1) * rows * channels, np.float32),
        "conductance": (pairs, np.float64),
        "solvent": (pairs, np.float64),
        "occupancy": (rows, np.float64),
        "seen": (rows * neurons, np.float32),
        "matrices": (0, np.float64),
    }


def _bytes_each(particles: int, sizes: tuple[int, int, int]) -> int:
    """Memory that a structure takes."""
    layout = _layout(1, particles, sizes).values()
    return sum(length * np.dtype(dtype).itemsize for length, dtype in layout)


def fits(weights: Weights) -> bool:
    """Whether the kernels have room for every layer."""
    return _widest(weights) <= _WIDTH


def _widest(weights: Weights) -> int:
    """Inputs of the widest layer, or what a pair knows and sees together."""
    known = max(weights.hidden_known.shape[1], weights.out.shape[1])
    return max(
        len(weights.far_hidden), len(weights.around_mean), known + weights.hidden_seen.shape[1]
    )


def _doubles_around_one(particles: int) -> int:
    """As in pairs.cu."""
    return 14 * particles + 120


def _doubles_of_equations(particles: int) -> int:
    """As in network.cu."""
    return particles * (particles + 7) // 2
