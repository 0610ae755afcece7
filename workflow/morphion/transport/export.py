"""Lattice fields of a structure as a VTK image, for ParaView."""

import struct
from pathlib import Path

import numpy as np

from morphion.config.transport import Transport
from morphion.errors import TransportError
from morphion.files import atomic_file
from morphion.transport.lattice import Lattice
from morphion.transport.raster import rasterise


def export_fields(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    transport: Transport,
    n: int,
    output: Path,
) -> None:
    """Rasterise a structure on n^3 sites and write D, pi and b as VTK ImageData (.vti).

    ``positions`` [N, 3], box edge and sphere diameter are in one unit of length.

    The equilibrium weight pi is normalised to a maximum of 1; D is in units of the solvent's.
    """
    if output.suffix.lower() != ".vti":
        raise TransportError(f"{output}: lattice fields are written as .vti")
    lattice = rasterise(positions, box_length, diameter, transport, n)
    with atomic_file(output) as scratch:
        scratch.write_bytes(_vti(lattice))


def _vti(lattice: Lattice) -> bytes:
    fields = {
        "diffusivity": lattice.a * lattice.b,
        "weight": lattice.weight,
        "b": lattice.b,
    }
    arrays, payload = [], b""
    for name, field in fields.items():
        arrays.append(
            f'<DataArray type="Float32" Name="{name}" format="appended" offset="{len(payload)}"/>'
        )
        # VTK runs x fastest.
        data = np.ascontiguousarray(field.transpose(2, 1, 0), dtype="<f4").tobytes()
        payload += struct.pack("<Q", len(data)) + data
    n, h = lattice.n, lattice.spacing
    extent = f"0 {n} 0 {n} 0 {n}"
    header = (
        '<?xml version="1.0"?>\n'
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
        f'<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{h} {h} {h}">\n'
        f'<Piece Extent="{extent}"><CellData Scalars="diffusivity">\n'
        + "\n".join(arrays)
        + '\n</CellData></Piece></ImageData>\n<AppendedData encoding="raw">\n_'
    )
    return header.encode() + payload + b"\n</AppendedData></VTKFile>\n"
