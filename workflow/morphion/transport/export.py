"""Lattice fields of a structure as a VTK image, for ParaView."""

import struct
from pathlib import Path

import numpy as np

from morphion.errors import TransportError
from morphion.files import atomic_file
from morphion.structures.files import read_structure
from morphion.transport.files import load_transport
from morphion.transport.lattice import Lattice
from morphion.transport.raster import rasterise


def export_fields(source: Path, output: Path, n: int, transport: Path | None) -> None:
    """Rasterise a structure file on n^3 sites and write D, pi and b as VTK ImageData (.vti).

    The equilibrium weight pi is normalised to a maximum of 1; D is in units of the solvent's.
    """
    if output.suffix != ".vti":
        raise TransportError(f"{output}: lattice fields are written as .vti")
    structure = read_structure(source)
    lattice = rasterise(
        structure.positions, structure.box_length, structure.diameter, load_transport(transport), n
    )
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
