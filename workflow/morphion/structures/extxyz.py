"""Extended XYZ: one frame as text, read strictly.

Format: a line with the number of particles, a line of key=value pairs, a line for each particle
whose columns ``Properties=name:type:count:...`` describes (https://github.com/libAtoms/extxyz).
"""

import re
from collections.abc import Mapping

import numpy as np

from morphion.errors import StructureError

SPECIES = "X"  # no element: programs that know only elements read X as a dummy atom
_CUBIC_TOLERANCE = 1e-6

_PAIR = re.compile(
    r"""\s*(?P<key>[^\s="'{}]+)"""
    r"""(?:\s*=\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'"""
    r"""|\{(?P<brace>[^{}]*)\}|(?P<bare>[^\s"'{}]+)))?(?=\s|$)"""
)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eEdD][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_TRUE, _FALSE = {"t", "true", "1"}, {"f", "false", "0"}


def parse(text: str, where: str) -> tuple[np.ndarray, float, np.ndarray]:
    """Positions [N, 3] as written, box edge, and radii [N] of the single frame in ``text``.

    ``Lattice`` must be a cube along the axes, and ``Properties`` must name ``pos:R:3`` and
    ``radius:R:1``; other columns and keys are skipped. Raises StructureError, whose message starts
    with ``where`` and names the line and key.
    """
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    if not text.strip():
        raise StructureError(f"{where} is empty; expected an extended XYZ frame")
    count = _particle_count(lines[0], where)
    if len(lines) < 2 or not lines[1].strip():
        raise StructureError(
            f'{where}, line 2: missing or empty; expected Lattice="..." and Properties=...'
        )
    keys = _pairs(lines[1], f"{where}, line 2")
    box_length = _box_length(keys, f"{where}, line 2")
    columns, width = _columns(keys, f"{where}, line 2")
    _check_periodic(keys, f"{where}, line 2")
    rows = lines[2 : 2 + count]
    present = next((i for i, row in enumerate(rows) if not row.strip()), len(rows))
    if present < count:
        raise StructureError(
            f"{where}: line 1 announces {count} particles, but only {present} follow "
            f"(line {3 + present} is missing or empty); the file may be truncated"
        )
    for number, line in enumerate(lines[2 + count :], 3 + count):
        if line.strip():
            raise StructureError(
                f"{where}, line {number}: text after the {count} particles announced in line 1; "
                "the number must match and the file must hold exactly one frame"
            )
    values = np.empty((count, 4))
    for i, row in enumerate(rows):
        values[i] = _row(row, columns, width, f"{where}, line {3 + i}")
    return values[:, :3], box_length, values[:, 3]


def frame_text(
    positions: np.ndarray,
    quantities: Mapping[str, object],
    particle_quantities: Mapping[str, np.ndarray],
    box_length: float,
    diameter: float,
) -> str:
    """One frame; numbers are written so that reading them gives the same float64.

    ``quantities`` become key=value pairs of the second line, ``particle_quantities`` ([N]) columns.
    """
    edge = repr(float(box_length))
    properties = ["species:S:1:pos:R:3:radius:R:1"]
    columns = [[repr(float(diameter) / 2)] * len(positions)]
    for name, data in particle_quantities.items():
        data = np.asarray(data)
        properties.append(f"{_checked_key(name)}:{_type_letter(data)}:1")
        columns.append([_scalar(value) for value in data.tolist()])
    comment = [
        f'Lattice="{edge} 0.0 0.0 0.0 {edge} 0.0 0.0 0.0 {edge}"',
        f"Properties={':'.join(properties)}",
        'pbc="T T T"',
        *(f"{_checked_key(key)}={_value(value)}" for key, value in quantities.items()),
    ]
    lines = [str(len(positions)), " ".join(comment)]
    for (x, y, z), *rest in zip(np.asarray(positions, float).tolist(), *columns, strict=True):
        lines.append(" ".join([SPECIES, repr(x), repr(y), repr(z), *rest]))
    return "\n".join(lines) + "\n"


def _particle_count(line: str, where: str) -> int:
    if not re.fullmatch(r"\s*\+?[0-9]{1,9}\s*", line) or int(line) == 0:
        raise StructureError(
            f"{where}, line 1: {line.strip()[:40]!r} is not a number of particles >= 1"
        )
    return int(line)


def _pairs(line: str, where: str) -> dict[str, str]:
    """key -> text of the comment line, keys in lower case; a key without a value reads T."""
    pairs: dict[str, str] = {}
    at, end = 0, len(line.rstrip())
    while at < end:
        match = _PAIR.match(line, at)
        if match is None:
            raise StructureError(
                f"{where}: cannot read key=value from {line[at:].strip()[:40]!r}; "
                "a value with spaces stands in double quotes"
            )
        key = match["key"].lower()
        if key in pairs:
            raise StructureError(f"{where}: key {match['key']!r} appears twice")
        texts = (match["double"], match["single"], match["brace"], match["bare"])
        pairs[key] = next((text for text in texts if text is not None), "T")
        at = match.end()
    return pairs


def _number(text: str, where: str, what: str) -> float:
    if _NUMBER.fullmatch(text):
        value = float(text.lower().replace("d", "e"))
        if np.isfinite(value):
            return value
    problem = "not finite" if _NOT_FINITE.fullmatch(text) else "not a finite number"
    raise StructureError(f"{where}: {what} {text!r} is {problem}")


def _box_length(keys: dict[str, str], where: str) -> float:
    if "lattice" not in keys:
        raise StructureError(f'{where}: key Lattice="L 0 0 0 L 0 0 0 L" is missing')
    words = keys["lattice"].split()
    if len(words) != 9:
        raise StructureError(
            f'{where}: Lattice="{keys["lattice"]}" has {len(words)} numbers; expected 9'
        )
    matrix = np.array([_number(word, where, "Lattice entry") for word in words]).reshape(3, 3)
    edge = matrix[0, 0]
    if edge <= 0 or np.abs(matrix - edge * np.eye(3)).max() > _CUBIC_TOLERANCE * edge:
        raise StructureError(
            f'{where}: Lattice="{keys["lattice"]}" is not a cube along the axes; '
            'expected Lattice="L 0 0 0 L 0 0 0 L" with L > 0'
        )
    return float(edge)


def _columns(keys: dict[str, str], where: str) -> tuple[list[int], int]:
    """The columns of x, y, z and radius, and the number of columns."""
    text = keys.get("properties")
    if text is None:
        raise StructureError(
            f"{where}: key Properties is missing; expected e.g. "
            "Properties=species:S:1:pos:R:3:radius:R:1"
        )
    words = text.split(":")
    triples = list(zip(words[::3], words[1::3], words[2::3], strict=False))
    if len(words) % 3 or not all(
        name and kind in ("R", "I", "S", "L") and re.fullmatch("[1-9][0-9]{0,4}", width)
        for name, kind, width in triples
    ):
        raise StructureError(
            f"{where}: Properties={text} is not a list of name:type:count with types R, I, S, L"
        )
    found: dict[str, tuple[int, str]] = {}
    at = 0
    for name, kind, width in triples:
        if name.lower() in found:
            raise StructureError(f"{where}: Properties={text} names column {name!r} twice")
        found[name.lower()] = (at, f"{kind}:{width}")
        at += int(width)
    for name, count in (("pos", "3"), ("radius", "1")):
        if name not in found or found[name][1] not in (f"R:{count}", f"I:{count}"):
            raise StructureError(f"{where}: Properties={text} lacks the column {name}:R:{count}")
    x = found["pos"][0]
    return [x, x + 1, x + 2, found["radius"][0]], at


def _check_periodic(keys: dict[str, str], where: str) -> None:
    words = keys.get("pbc", "T T T").lower().replace(",", " ").strip("[] ").split()
    if not all(word in _TRUE | _FALSE for word in words) or len(words) not in (1, 3):
        raise StructureError(f'{where}: pbc="{keys["pbc"]}" is unreadable; expected pbc="T T T"')
    if any(word in _FALSE for word in words):
        raise StructureError(
            f'{where}: pbc="{keys["pbc"]}": the box must be periodic along all axes, pbc="T T T"'
        )


def _row(row: str, columns: list[int], width: int, where: str) -> list[float]:
    words = row.split()
    if len(words) != width:
        raise StructureError(
            f"{where}: {len(words)} columns where Properties has {width}: {row.strip()[:50]!r}"
        )
    names = ("x", "y", "z", "radius")
    return [
        _number(words[at], where, f"coordinate {name}" if name != "radius" else name)
        for at, name in zip(columns, names, strict=True)
    ]


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} cannot be a key of an extended XYZ file")
    return key


def _type_letter(data: np.ndarray) -> str:
    return {"b": "L", "i": "I", "u": "I", "f": "R"}.get(data.dtype.kind, "S")


def _scalar(value) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    return repr(value) if isinstance(value, int | float) else str(value)


def _value(value: object) -> str:
    """A value as text: plain, or in quotes if it has several parts or is a string."""
    data = np.asarray(value)
    if data.dtype.kind in "US":
        text = " ".join(str(part) for part in data.ravel().tolist())
        text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        return f'"{text}"'
    parts = [_scalar(part) for part in data.ravel().tolist()]
    return parts[0] if len(parts) == 1 else f'"{" ".join(parts)}"'
