"""The network of a configuration block."""

from morphion.config.surrogates import Network, PaperNetwork, PeriodicNetwork, ResistorNetwork
from morphion.surrogates.ensemble import Ensemble
from morphion.surrogates.networks import DenseOnDescriptor, Surrogate3D
from morphion.surrogates.paper import PaperCNN
from morphion.surrogates.periodic import PeriodicCNN
from morphion.surrogates.resistor import Resistors


def build(block: Network, size: int) -> Surrogate3D:
    """Network of a configuration block, on the CPU, weights not drawn; an ensemble of them if the
    block has several members.

    ``size`` is the voxels along an image's edge, or the entries of a descriptor. Raises
    SurrogateError if the stages of a periodic network do not divide the image.
    """
    if block.members > 1:
        return Ensemble(lambda: _single(block, size), block.members)
    return _single(block, size)


def _single(block: Network, size: int) -> Surrogate3D:
    if isinstance(block, PaperNetwork):
        return PaperCNN(block, size)
    if isinstance(block, PeriodicNetwork):
        return PeriodicCNN(block, size)
    if isinstance(block, ResistorNetwork):
        return Resistors(block)
    return DenseOnDescriptor(block, size)
