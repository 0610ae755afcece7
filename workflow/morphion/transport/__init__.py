"""From particle positions to the lattice on which cations hop."""

from morphion.transport.files import (
    load_transport,
    transport_differences,
    transport_record,
)
from morphion.transport.lattice import Lattice
from morphion.transport.raster import rasterise

__all__ = [
    "Lattice",
    "load_transport",
    "rasterise",
    "transport_differences",
    "transport_record",
]
