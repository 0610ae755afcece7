"""A transport model brought by the user: D and U on a grid of the two nearest distances.

The file is a CSV with the columns ``d1, d2, diffusivity, free_energy`` in any order, one node of
the grid a line in any order, and the units in comment lines before the column names:

    # d1_unit: sigma            (sigma, the sphere diameter, or voxel)
    # d2_unit: sigma
    # diffusivity_unit: solvent (the solvent's cation diffusivity)
    # free_energy_unit: kT
    d1,d2,diffusivity,free_energy
    0.50,0.50,0.01494,-10.0
    ...

d1 and d2 are the distances to the nearest and second-nearest centre, periodic images included, so
that d2 >= d1. The nodes form the full product of the d1 and d2 values; a node with d2 < d1 may be
left out where no point with d2 >= d1 lies in a cell it bounds, or where (d2, d1) is in the file,
whose values it then takes. Both axes must begin at or below sigma / 2, the closest a cation comes.
Beyond the last node of an axis the value of that node holds. Between nodes U and log D are
interpolated bilinearly: D spans decades and must stay positive, and log D is, like U, the
additive quantity.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from morphion.errors import TransportError

COLUMNS = ("d1", "d2", "diffusivity", "free_energy")
UNITS = {
    "d1_unit": ("sigma", "voxel"),
    "d2_unit": ("sigma", "voxel"),
    "diffusivity_unit": ("solvent",),
    "free_energy_unit": ("kT",),
}


@dataclass(frozen=True)
class DistanceGrid:
    """A table in voxels, ready for interpolation.

    first, second : float64 [p], [q]
        Ascending d1 and d2 of the nodes, voxels.
    log_diffusivity, free_energy : float64 [p, q]
        NaN at nodes that no point outside the spheres with d2 >= d1 needs.
    """

    first: np.ndarray
    second: np.ndarray
    log_diffusivity: np.ndarray
    free_energy: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """first, second, log D, U: what the kernels take."""
        return self.first, self.second, self.log_diffusivity, self.free_energy


@dataclass(frozen=True)
class Table:
    """A table file as read: nodes in the file's units, NaN and line 0 where it has none."""

    path: Path
    first: np.ndarray
    second: np.ndarray
    diffusivity: np.ndarray
    free_energy: np.ndarray
    line: np.ndarray
    units: dict[str, str]

    @property
    def in_voxels(self) -> bool:
        """Whether its distances know an absolute unit of length."""
        return "voxel" in (self.units["d1_unit"], self.units["d2_unit"])

    def grid(self, diameter: float) -> DistanceGrid:
        """The table for spheres of this diameter (voxels).

        Raises TransportError naming file and line, if an axis begins beyond contact or ends
        before it, or a node that is needed is missing or has a diffusivity that is not positive.
        """
        first = self.first * (diameter if self.units["d1_unit"] == "sigma" else 1.0)
        second = self.second * (diameter if self.units["d2_unit"] == "sigma" else 1.0)
        contact = diameter / 2
        self._require_contact("d1", self.first, diameter)
        self._require_contact("d2", self.second, diameter)
        diffusivity, energy, line = self._mirrored(first, second)
        needed = _needed(first, second, contact)
        for i, j in np.argwhere(needed):
            if line[i, j] == 0:
                raise TransportError(
                    f"{self.path}: no line for d1 = {self.first[i]:g}, d2 = {self.second[j]:g}: "
                    "the grid has a hole; every d1 needs every d2 >= d1"
                )
            if not diffusivity[i, j] > 0:
                raise TransportError(
                    f"{self.path}, line {line[i, j]}: diffusivity = {diffusivity[i, j]:g} at "
                    f"d1 = {self.first[i]:g}, d2 = {self.second[j]:g} must be positive; "
                    "spheres are blocked without the table's help"
                )
        log_d = np.log(diffusivity, out=np.full_like(diffusivity, np.nan), where=needed)
        return DistanceGrid(first, second, log_d, np.where(needed, energy, np.nan))

    def _require_contact(self, name: str, axis: np.ndarray, diameter: float) -> None:
        """Raise TransportError unless an axis, as it is in the file, reaches across contact."""
        unit = self.units[f"{name}_unit"]
        contact = 0.5 if unit == "sigma" else diameter / 2
        where = f"sigma/2 = {contact:.6g} {unit}"
        if axis[0] > contact * (1 + 1e-9):
            raise TransportError(
                f"{self.path}: {name} begins at {axis[0]:.6g} {unit}; a cation comes as close as "
                f"{where}, so the table must begin at or below that"
            )
        if axis[-1] < contact * (1 - 1e-9):
            raise TransportError(
                f"{self.path}: {name} ends at {axis[-1]:.6g} {unit}, within the particles; no "
                f"cation comes closer than {where}: {name}_unit may be another one"
            )

    def _mirrored(self, first, second):
        """Fields with nodes of d2 < d1 that the file leaves out taken from (d2, d1)."""
        diffusivity, energy, line = (
            self.diffusivity.copy(),
            self.free_energy.copy(),
            self.line.copy(),
        )
        row = {value: i for i, value in enumerate(first)}
        column = {value: j for j, value in enumerate(second)}
        for i, j in np.argwhere(line == 0):
            source = row.get(second[j]), column.get(first[i])
            if None not in source and self.line[source] > 0:
                diffusivity[i, j], energy[i, j] = self.diffusivity[source], self.free_energy[source]
                line[i, j] = self.line[source]
        return diffusivity, energy, line


def _needed(first: np.ndarray, second: np.ndarray, contact: float) -> np.ndarray:
    """Nodes that bound a cell with a point of d1 >= contact and d2 >= d1 (bool [p, q])."""
    needed = np.zeros((len(first), len(second)), bool)
    lowest_d1 = np.maximum(first[:-1], contact)
    highest_d2 = np.append(second[1:-1], np.inf)  # clamped beyond the last node
    highest_d1 = np.append(first[1:-1], np.inf)
    for i in range(len(first) - 1):
        cells = (highest_d2 > lowest_d1[i]) & (highest_d1[i] > contact)
        needed[i, :-1] |= cells
        needed[i + 1, :-1] |= cells
        needed[i, 1:] |= cells
        needed[i + 1, 1:] |= cells
    return needed


def read_table(path: Path | str) -> Table:
    """The table in a CSV file, in the file's units.

    Raises TransportError naming file and line for a missing or unknown unit, a missing column, a
    value that is not a finite number, a repeated node, or fewer than two values on an axis.
    """
    path = Path(path)
    try:
        status = path.stat()
    except OSError as error:
        raise TransportError(f"{path}: cannot be read ({error.strerror})") from error
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _modified: int, _size: int) -> Table:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(f"{path}: cannot be read as text ({error})") from error
    units, header_at = _read_units(path, lines)
    nodes: dict[tuple[float, float], tuple[float, float, int]] = {}
    columns = _read_columns(path, lines, header_at)
    for number, text in enumerate(lines[header_at + 1 :], start=header_at + 2):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        d1, d2, diffusivity, energy = _read_numbers(path, number, text, columns)
        if (d1, d2) in nodes:
            raise TransportError(
                f"{path}, line {number}: d1 = {d1:g}, d2 = {d2:g} was given in line "
                f"{nodes[d1, d2][2]} already"
            )
        nodes[d1, d2] = (diffusivity, energy, number)
    return _as_table(path, nodes, units)


def _read_units(path: Path, lines: list[str]) -> tuple[dict[str, str], int]:
    """Units from the comment lines, and the index of the line of column names."""
    units: dict[str, str] = {}
    for at, text in enumerate(lines):
        stripped = text.strip()
        if stripped and not stripped.startswith("#"):
            break
        key, colon, value = stripped.lstrip("#").partition(":")
        key, value = key.strip(), value.strip()
        if not colon or not key.endswith("_unit"):
            continue
        if key not in UNITS:
            raise TransportError(
                f"{path}, line {at + 1}: unknown key {key}; units are {', '.join(UNITS)}"
            )
        if value not in UNITS[key]:
            raise TransportError(
                f"{path}, line {at + 1}: {key} = {value}; known: {', '.join(UNITS[key])}"
            )
        units[key] = value
    else:
        raise TransportError(f"{path}: no line of column names; needed: {', '.join(COLUMNS)}")
    for key, known in UNITS.items():
        if key not in units:
            raise TransportError(
                f"{path}: no unit of {key.removesuffix('_unit')}; a line '# {key}: {known[0]}' "
                f"before the column names says it (known: {', '.join(known)})"
            )
    return units, at


def _read_columns(path: Path, lines: list[str], at: int) -> dict[str, int]:
    names = [name.strip() for name in next(csv.reader([lines[at]]))]
    for name in COLUMNS:
        if names.count(name) != 1:
            found = "missing" if name not in names else "repeated"
            raise TransportError(
                f"{path}, line {at + 1}: column {name} is {found}; needed: {', '.join(COLUMNS)}"
            )
    return {name: names.index(name) for name in COLUMNS}


def _read_numbers(path: Path, number: int, text: str, columns: dict[str, int]) -> list[float]:
    fields = next(csv.reader([text]))
    values = []
    for name, index in columns.items():
        try:
            value = float(fields[index])
        except (IndexError, ValueError):
            found = repr(fields[index]) if index < len(fields) else "nothing"
            raise TransportError(
                f"{path}, line {number}: {name} must be a number, found {found}"
            ) from None
        if not np.isfinite(value) or (name in ("d1", "d2") and value < 0):
            rule = "finite" if name not in ("d1", "d2") else "finite and not negative"
            raise TransportError(f"{path}, line {number}: {name} = {value:g} must be {rule}")
        values.append(value)
    return values


def _as_table(path: Path, nodes: dict, units: dict[str, str]) -> Table:
    first = np.array(sorted({d1 for d1, _ in nodes}))
    second = np.array(sorted({d2 for _, d2 in nodes}))
    for name, axis in (("d1", first), ("d2", second)):
        if len(axis) < 2:
            raise TransportError(f"{path}: {name} has {len(axis)} values; a grid needs at least 2")
    shape = (len(first), len(second))
    diffusivity, energy, line = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, int)
    for (d1, d2), (diffusivity_here, energy_here, number) in nodes.items():
        at = np.searchsorted(first, d1), np.searchsorted(second, d2)
        diffusivity[at], energy[at], line[at] = diffusivity_here, energy_here, number
    return Table(path, first, second, diffusivity, energy, line, units)
