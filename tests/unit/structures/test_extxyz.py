"""Extended XYZ as people and programs write it, and one clear message for each mistake."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphion.errors import StructureError
from morphion.structures.extxyz import parse
from morphion.structures.files import read_structure

LATTICE = 'Lattice="20 0 0 0 20 0 0 0 20"'
PROPERTIES = "Properties=species:S:1:pos:R:3:radius:R:1"
ROWS = ("NP 1 2 3 1.5", "NP 11 12 13 1.5")


def text(comment=f"{LATTICE} {PROPERTIES}", rows=ROWS, count="2", end="\n"):
    return end.join([count, comment, *rows]) + end


def positions_of(content):
    positions, box_length, radii = parse(content, "file.xyz")
    assert box_length == 20
    assert (radii == 1.5).all()
    return positions.tolist()


EXPECTED = [[1, 2, 3], [11, 12, 13]]


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text(end="\r\n"),
        text() + "\n\n  \n",
        text().rstrip("\n"),
        "\ufeff" + text(),
        text(count="  2 "),
        text(f"  {PROPERTIES}   {LATTICE}  "),
        text(f'Lattice = "20.0 0 0  0 2e1 0  0 0 +20" {PROPERTIES}'),
        text(
            "lattice='20 0 0 0 20 0 0 0 20' properties=pos:R:3:radius:R:1",
            ("1 2 3 1.5",) * 0 + ("1 2 3 1.5", "11 12 13 1.5"),
        ),
        text(f"Lattice={{20 0 0 0 20 0 0 0 20}} {PROPERTIES}"),
        text(
            f'{LATTICE} {PROPERTIES} comment="made by hand, a=b, x = \\"y\\"" energy=-1.5 checked'
        ),
        text(f'{LATTICE} {PROPERTIES} pbc="T T T"'),
        text(f"{LATTICE} {PROPERTIES} pbc=T"),
        text(rows=("  NP\t1.0   2e0 .3E1 1.5 ", "other 1.1d1 12. 13 15e-1")),
        text(
            f"{LATTICE} Properties=radius:R:1:id:I:1:velo:R:3:pos:R:3:species:S:1:fixed:L:1",
            ("1.5 1 nan 0 0 1 2 3 X T", "1.5 2 0 0 0 11 12 13 Y F"),
        ),
        text(f"{LATTICE} Properties=pos:I:3:Radius:R:1", ("1 2 3 1.5", "11 12 13 1.5")),
    ],
)
def test_every_legal_spelling_is_read(content):
    assert positions_of(content) == EXPECTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("  \n \n", "is empty"),
        (text(count="two"), "line 1: 'two' is not a number of particles"),
        (text(count="0", rows=()), "line 1: '0' is not a number of particles"),
        (text(count="-2"), "line 1: '-2' is not"),
        (text(count="9" * 5000), "line 1: '9+' is not a number of particles"),
        (text(count="2.0"), r"line 1: '2\.0' is not"),
        ("2", "line 2: missing"),
        ("2\n\n1 2 3 4", "line 2: missing or empty"),
        (text(PROPERTIES), "line 2: key Lattice=.* is missing"),
        (text(LATTICE), "line 2: key Properties is missing"),
        (text(f'Lattice="20 20 20" {PROPERTIES}'), "Lattice=.* has 3 numbers; expected 9"),
        (
            text(f'Lattice="20 0 0 0 2o 0 0 0 20" {PROPERTIES}'),
            "Lattice entry '2o' is not a finite",
        ),
        (
            text(f'Lattice="20 0 0 0 nan 0 0 0 20" {PROPERTIES}'),
            "Lattice entry 'nan' is not finite",
        ),
        (text(f'Lattice="20 0 0 0 21 0 0 0 20" {PROPERTIES}'), "is not a cube along the axes"),
        (text(f'Lattice="20 1 0 0 20 0 0 0 20" {PROPERTIES}'), "is not a cube along the axes"),
        (text(f'Lattice="0 0 0 0 0 0 0 0 0" {PROPERTIES}'), "is not a cube .* with L > 0"),
        (text(f'Lattice="-9 0 0 0 -9 0 0 0 -9" {PROPERTIES}'), "is not a cube .* with L > 0"),
        (text(f"{LATTICE} {LATTICE} {PROPERTIES}"), "key 'Lattice' appears twice"),
        (text(f'{PROPERTIES} Lattice="20 0 0 0 20'), "cannot read key=value from 'Lattice=\"20"),
        (text(f"{LATTICE} Properties=species:S:1:pos:R:3"), "lacks the column radius:R:1"),
        (text(f"{LATTICE} Properties=radius:R:1"), "lacks the column pos:R:3"),
        (text(f"{LATTICE} Properties=pos:R:2:radius:R:1"), "lacks the column pos:R:3"),
        (text(f"{LATTICE} Properties=pos:S:3:radius:R:1"), "lacks the column pos:R:3"),
        (text(f"{LATTICE} Properties=pos:R:3:radius"), "is not a list of name:type:count"),
        (text(f"{LATTICE} Properties=pos:Q:3:radius:R:1"), "is not a list of name:type:count"),
        (text(f"{LATTICE} {PROPERTIES}:pos:R:3"), "names column 'pos' twice"),
        (text(f'{LATTICE} {PROPERTIES} pbc="T T F"'), 'pbc="T T F".*must be periodic'),
        (text(f'{LATTICE} {PROPERTIES} pbc="yes"'), 'pbc="yes" is unreadable'),
        (text(count="3"), r"announces 3 particles, but only 2 follow \(line 5"),
        (text(rows=("NP 1 2 3 1.5", "", "NP 11 12 13 1.5")), r"only 1 follow \(line 4 is"),
        (text(count="1"), "line 4: text after the 1 particles"),
        (text() + text(), "line 5: text after the 2 particles.*exactly one frame"),
        (text(rows=("NP 1 2 3 1.5", "NP 11 12 13")), "line 4: 4 columns where Properties has 5"),
        (text(rows=("NP 1 2 3 1.5", "NP 11 12 13 1.5 7")), "line 4: 6 columns where"),
        (text(rows=("NP 1 nan 3 1.5", ROWS[1])), "line 3: coordinate y 'nan' is not finite"),
        (text(rows=(ROWS[0], "NP 1 2 -inf 1.5")), "line 4: coordinate z '-inf' is not finite"),
        (text(rows=(ROWS[0], "NP 1e999 2 3 1.5")), "line 4: coordinate x '1e999' is not a finite"),
        (text(rows=(ROWS[0], "NP 1_0 2 3 1.5")), "line 4: coordinate x '1_0' is not a finite"),
        (text(rows=(ROWS[0], "NP 1 2 3 big")), "line 4: radius 'big' is not a finite number"),
    ],
)
def test_each_mistake_has_its_message_with_the_line(content, message):
    with pytest.raises(StructureError, match=r"^file\.xyz.*" + message):
        parse(content, "file.xyz")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("NP 1 2 3 1.5", "NP 11 12 13 1.6"), "radius 1.6 of particle 1 .*differs from 1.5"),
        (("NP 1 2 3 0", "NP 11 12 13 0"), "radius 0 of particle 0 .*must be finite and positive"),
        (("NP 1 2 3 1.5", "NP 11 12 13 -1.5"), "radius -1.5 of particle 1"),
        (("NP 0.5 2 3 1.5", "NP 19.5 2 3 1.5"), "particles 0 and 1 .*overlap.* 1 apart"),
        (("NP 1 2 3 11", "NP 11 12 13 11"), "overlap their own periodic images"),
    ],
)
def test_spheres_that_are_not_legal_are_refused_with_the_file(tmp_path, rows, message):
    path = tmp_path / "bad.xyz"
    path.write_text(text(rows=rows))
    with pytest.raises(StructureError, match=r"bad\.xyz: .*" + message):
        read_structure(path)


def test_coordinates_count_as_written_and_are_wrapped(tmp_path):
    path = tmp_path / "out.EXTXYZ"
    path.write_text(text(rows=("NP -1 20 45 1.5", "NP 11 12 13 1.5")))
    found = read_structure(path)
    assert found.positions.tolist() == [[19, 0, 5], [11, 12, 13]]
    assert (found.box_length, found.diameter, found.path) == (20, 3, path)


def test_a_binary_file_with_the_wrong_suffix_is_refused(tmp_path):
    path = tmp_path / "binary.xyz"
    path.write_bytes(b"\xff\xfe\x00\x81" * 20)
    with pytest.raises(StructureError, match=r"binary\.xyz: cannot be read as UTF-8 text"):
        read_structure(path)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.integers(0, 200))
def test_any_damage_is_a_structure_error_or_still_a_structure(noise, at):
    content = text()
    damaged = content[:at] + noise + content[at + len(noise) :]
    try:
        positions, box_length, radii = parse(damaged, "file.xyz")
    except StructureError:
        return
    assert np.isfinite(positions).all()
    assert np.isfinite(radii).all()
    assert box_length > 0
