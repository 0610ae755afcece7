"""The network of a configuration block."""

from morphion.config.surrogates import Network, PaperNetwork, PeriodicNetwork, ResistorNetwork
from morphion.surrogates.ensemble import Ensemble
from morphion.surrogates.networks import DenseOnDescriptor, PaperCNN, PeriodicCNN, Surrogate3D
from morphion.surrogates.resistor import Resistors


def build(block: Network, size: int) -> Surrogate3D:
    """Network of a configuration block, on the CPU, weights not drawn.

    ``size`` is the voxels along an image's edge, or the entries of a descriptor. Raises
    SurrogateError if the pyramid of a periodic network does not fit the image.
    """
    if isinstance(block, PaperNetwork):
        return PaperCNN(block, size)
    if isinstance(block, PeriodicNetwork):
        return PeriodicCNN(block, size)
    if isinstance(block, ResistorNetwork):
        if block.members > 1:
            return Ensemble(lambda: Resistors(block), block.members)
        return Resistors(block)
    return DenseOnDescriptor(block, size)
