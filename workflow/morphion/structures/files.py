"""Structure files: GSD (last frame) and extended XYZ, for people and for OVITO."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gsd.hoomd
import numpy as np

from morphion.errors import StructureError
from morphion.files import atomic_file
from morphion.progress import log
from morphion.structures import extxyz
from morphion.structures.geometry import validate_structure, wrap

XYZ_SUFFIXES = (".xyz", ".extxyz")
STRUCTURE_SUFFIXES = (".gsd", *XYZ_SUFFIXES)
_WRONG_SHOWN = 20  # of many files that are no structures
_EQUAL = 1e-6  # relative; radii and box edges are float32 in a GSD file


@dataclass(frozen=True)
class StructureFile:
    """A legal structure read from a file; lengths are in the file's own unit.

    ``positions`` float64 [N, 3] in [0, L), ``box_length`` L, ``diameter`` of all spheres; ``row``
    is its place in a store of several.
    """

    path: Path
    positions: np.ndarray
    box_length: float
    diameter: float
    row: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.row is None else f"{self.path}[{self.row}]"


@dataclass(frozen=True)
class Frame:
    """One structure to be written, positions [N, 3].

    ``quantities`` are numbers, strings or small arrays of the whole structure
    (``{"diffusivity": 0.03}``), ``particle_quantities`` arrays [N].
    """

    positions: np.ndarray
    box_length: float
    diameter: float
    quantities: Mapping[str, object] = field(default_factory=dict)
    particle_quantities: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_structure(path: str | os.PathLike) -> StructureFile:
    """The structure in a ``.gsd`` file or the only frame of an extended ``.xyz`` file.

    Of several frames of a GSD file it is the last, which is said on standard error.

    GSD coordinates are centred in the box, so L/2 is added; those of extended XYZ count as
    written. Both are then wrapped into [0, L). A GSD file that stores no ``particles/diameter``
    means the format's default, 1, which is said on standard error.

    Raises StructureError for a missing, unreadable or truncated file, another suffix, a box that
    is not a periodic cube, diameters that differ or are not positive, coordinates that are not
    finite, and overlapping spheres.
    """
    path = Path(path)
    if path.suffix.lower() not in STRUCTURE_SUFFIXES:
        raise StructureError(
            f"{path}: unknown suffix; expected one of {', '.join(STRUCTURE_SUFFIXES)}"
        )
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise StructureError(f"{path}: {what}; expected a structure file")
    if path.suffix.lower() == ".gsd":
        positions, box_length, diameters = _read_gsd(path)
    else:
        positions, box_length, diameters = _read_xyz(path)
    diameter = _common_diameter(diameters, path)
    validate_structure(positions, box_length, diameter, where=str(path))
    return StructureFile(path, wrap(positions, box_length), box_length, diameter)


def read_structure_files(paths: Sequence[str | os.PathLike]) -> list[StructureFile]:
    """The structures of several files; see ``read_structure``.

    All are read before any is refused: StructureError then tells what is wrong with each of them.
    """
    found, wrong = [], []
    for path in paths:
        try:
            found.append(read_structure(path))
        except StructureError as error:
            wrong.append(str(error))
    if wrong:
        few = wrong[:_WRONG_SHOWN]
        if len(wrong) > len(few):
            few.append(f"and {len(wrong) - len(few)} more")
        if len(paths) > 1:
            few.insert(0, f"{len(wrong)} of {len(paths)} files are no legal structures:")
        raise StructureError("\n".join(few))
    return found


def write_structure(
    path: str | os.PathLike,
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    *,
    quantities: Mapping[str, object] | None = None,
    particle_quantities: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write one structure, positions [N, 3], as ``.gsd`` or extended ``.xyz``.

    See ``Frame`` for the arguments and ``write_trajectory`` for how they are stored.
    """
    frame = Frame(positions, box_length, diameter, quantities or {}, particle_quantities or {})
    write_trajectory(path, [frame])


def write_trajectory(path: str | os.PathLike, frames: Iterable[Frame]) -> None:
    """Write structures as the frames of a ``.gsd`` or extended ``.xyz`` file, whole or not at all.

    GSD holds x - L/2 in float32 (within 4e-6 voxels at L = 75) and quantities as the chunks
    ``log/NAME`` and ``log/particles/NAME``, strings as int8 characters. Extended XYZ keeps all
    digits, and quantities as ``NAME=value`` in the comment line and as columns.

    Raises StructureError for another suffix or no frames.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in STRUCTURE_SUFFIXES:
        raise StructureError(
            f"{path}: unknown suffix; expected one of {', '.join(STRUCTURE_SUFFIXES)}"
        )
    written = 0
    with atomic_file(path) as scratch:
        if suffix == ".gsd":
            with gsd.hoomd.open(str(scratch), "w") as trajectory:
                for frame in frames:
                    trajectory.append(_gsd_frame(frame, step=written))
                    written += 1
        else:
            with open(scratch, "w", encoding="utf-8", newline="\n") as file:
                for frame in frames:
                    file.write(
                        extxyz.frame_text(
                            _wrapped(frame),
                            frame.quantities,
                            frame.particle_quantities,
                            frame.box_length,
                            frame.diameter,
                        )
                    )
                    written += 1
        if written == 0:
            raise StructureError(f"{path}: there are no structures to write")


def _wrapped(frame: Frame) -> np.ndarray:
    return wrap(np.asarray(frame.positions, dtype=np.float64), float(frame.box_length))


def _read_xyz(path: Path) -> tuple[np.ndarray, float, np.ndarray]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StructureError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    positions, box_length, radii = extxyz.parse(text, str(path))
    return positions, box_length, 2 * radii


def _read_gsd(path: Path) -> tuple[np.ndarray, float, np.ndarray]:
    try:
        with gsd.hoomd.open(str(path), "r") as trajectory:
            if len(trajectory) == 0:
                raise StructureError(f"{path}: the GSD file holds no frame")
            last = len(trajectory) - 1
            frame = trajectory[last]
            stored = any(
                trajectory.file.chunk_exists(frame=i, name="particles/diameter") for i in (0, last)
            )
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise StructureError(f"{path}: not a whole GSD file of schema hoomd: {error}") from error
    where = f"{path}, frame {last}"
    if last:
        log(f"{where}: the last of {last + 1}, the only one that is read")
    if not stored:
        log(f"{where}: no particles/diameter; taking the default of the GSD format, 1")
    box = np.asarray(frame.configuration.box, dtype=np.float64)
    edge = float(box[0])
    cubic = np.abs(box[:3] - edge).max() <= _EQUAL * edge and not box[3:].any()
    if frame.configuration.dimensions != 3 or not edge > 0 or not cubic:
        raise StructureError(
            f"{where}: configuration/box {box.tolist()} in {frame.configuration.dimensions} "
            "dimensions is not a cube; expected [L, L, L, 0, 0, 0] with L > 0"
        )
    positions = np.asarray(frame.particles.position, dtype=np.float64).reshape(-1, 3) + edge / 2
    return positions, edge, np.asarray(frame.particles.diameter, dtype=np.float64)


def _common_diameter(diameters: np.ndarray, path: Path) -> float:
    if len(diameters) == 0:
        raise StructureError(f"{path}: holds no particles; at least one is needed")
    legal = np.isfinite(diameters) & (diameters > 0)
    if not legal.all():
        index = int(np.argmin(legal))
        raise StructureError(
            f"{path}: radius {diameters[index] / 2:g} of particle {index} (counted from 0) "
            "must be finite and positive"
        )
    different = np.abs(diameters - diameters[0]) > _EQUAL * diameters[0]
    if different.any():
        index = int(np.argmax(different))
        raise StructureError(
            f"{path}: radius {diameters[index] / 2:g} of particle {index} (counted from 0) differs "
            f"from {diameters[0] / 2:g} of particle 0; all spheres must be equal"
        )
    return float(diameters[0])


def _gsd_frame(frame: Frame, step: int) -> gsd.hoomd.Frame:
    edge, count = float(frame.box_length), len(frame.positions)
    result = gsd.hoomd.Frame()
    result.configuration.step = step
    result.configuration.dimensions = 3
    result.configuration.box = [edge, edge, edge, 0, 0, 0]
    result.particles.N = count
    result.particles.types = [extxyz.SPECIES]
    result.particles.typeid = np.zeros(count, dtype=np.uint32)
    result.particles.position = (_wrapped(frame) - edge / 2).astype(np.float32)
    result.particles.diameter = np.full(count, frame.diameter, dtype=np.float32)
    for name, value in frame.quantities.items():
        result.log[name] = _chunk(value)
    for name, data in frame.particle_quantities.items():
        result.log[f"particles/{name}"] = _chunk(data)
    return result


def _chunk(value: object) -> np.ndarray:
    """A value as an array that GSD can hold: at most two dimensions, no strings, no booleans."""
    data = np.atleast_1d(np.asarray(value))
    if data.dtype.kind == "U":
        characters = np.char.encode(data.ravel(), "utf-8")
        width = characters.dtype.itemsize + 1
        return characters.astype(f"S{width}").view(np.int8).reshape(len(characters), width)
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    return data
