"""From particle positions to the lattice on which cations hop."""

from morphion.transport.files import load_transport
from morphion.transport.lattice import Lattice
from morphion.transport.raster import rasterise

__all__ = ["Lattice", "load_transport", "rasterise"]
