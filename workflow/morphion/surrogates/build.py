"""Kinds of networks: of each, what it sees of a structure and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from morphion.config.surrogates import (
    DenseNetwork,
    GraphNetwork,
    Network,
    PaperNetwork,
    PeriodicNetwork,
    ResistorNetwork,
    TreesNetwork,
)
from morphion.surrogates.boosting import Boosting
from morphion.surrogates.cells import Cells
from morphion.surrogates.ensemble import Ensemble
from morphion.surrogates.graph import Messages
from morphion.surrogates.loop import Loop
from morphion.surrogates.networks import DenseOnDescriptor, Surrogate3D
from morphion.surrogates.paper import PaperCNN
from morphion.surrogates.periodic import PeriodicCNN
from morphion.surrogates.representations import (
    PairGraphs,
    Representation,
    VoxelImages,
    dense_descriptor,
)
from morphion.surrogates.resistor import Resistors
from morphion.surrogates.trees import Trees, descriptor_of


@dataclass(frozen=True)
class Kind:
    """``sees`` takes a block and the voxels along an image's edge, ``make`` a block and the size of
    an input; ``trainer`` fits what was made."""

    sees: Callable[[Any, int], Representation]
    make: Callable[[Any, int], Surrogate3D]
    trainer: type[Loop] | type[Boosting] = Loop


_KINDS: dict[type, Kind] = {
    PaperNetwork: Kind(lambda b, voxels: VoxelImages(voxels, 27 if b.tiled else 1), PaperCNN),
    PeriodicNetwork: Kind(
        lambda b, voxels: Cells(voxels, b.cell, b.radii, soft=b.image == "soft"), PeriodicCNN
    ),
    DenseNetwork: Kind(lambda b, _: dense_descriptor(b), DenseOnDescriptor),
    ResistorNetwork: Kind(
        lambda b, _: PairGraphs(b.near, b.cutoff, facets=True), lambda b, _: Resistors(b)
    ),
    GraphNetwork: Kind(
        lambda b, _: PairGraphs(b.near, b.cutoff, facets=False), lambda b, _: Messages(b)
    ),
    TreesNetwork: Kind(lambda b, _: descriptor_of(b), Trees, Boosting),
}


def representation(block: Network, voxels: int) -> Representation:
    """What the network of a block sees; ``voxels`` along the edge of an image."""
    return _KINDS[type(block)].sees(block, voxels)


def build(block: Network, size: int) -> Surrogate3D:
    """Network of a configuration block, on the CPU, weights not drawn; an ensemble of them if the
    block has several members.

    ``size`` is that of its representation: the voxels along an image's edge, or the entries of a
    descriptor. Raises SurrogateError if the cells of a periodic network do not divide the image.
    """
    make = _KINDS[type(block)].make
    if block.members > 1:
        return Ensemble(lambda: make(block, size), block.members)
    return make(block, size)


def trainer(block: Network) -> type[Loop] | type[Boosting]:
    """What trains the network of a block."""
    return _KINDS[type(block)].trainer
