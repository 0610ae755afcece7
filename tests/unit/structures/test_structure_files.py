"""Structure files: what is written is read back, and other programs can read it."""

import re

import gsd.fl
import gsd.hoomd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morphion.config.geometry import Geometry, Structures
from morphion.errors import StructureError
from morphion.structures.families import generate
from morphion.structures.files import Frame, read_structure, write_structure, write_trajectory
from morphion.structures.geometry import separations

DIAMETER = Geometry().diameter


def structure(seed=1, family="chain", index=0):
    return generate(Geometry(), Structures(), seed, family, index)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    particles=st.integers(1, 40),
    box_length=st.sampled_from([1.0, 7.3, 75.0, 500.0]),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.parametrize("suffix", [".gsd", ".xyz"])
def test_a_structure_is_read_as_it_was_written(tmp_path, suffix, particles, box_length, seed):
    unit = Geometry(voxels=16, particles=max(particles, 2), volume_fraction=0.2)
    positions = generate(unit, Structures(), seed, "rsa", 0)[:particles] / 16.0 * box_length
    diameter = unit.diameter / 16 * box_length * 0.999
    path = tmp_path / f"structure{suffix}"
    write_structure(path, positions, box_length, diameter)
    found = read_structure(path)
    tolerance = 1e-7 if suffix == ".gsd" else 0
    difference = separations(found.positions, positions, found.box_length)
    assert np.abs(difference).max() <= tolerance * box_length
    assert found.positions.dtype == np.float64
    assert (found.positions >= 0).all()
    assert (found.positions < found.box_length).all()
    assert found.box_length == pytest.approx(box_length, rel=1e-7)
    assert found.diameter == pytest.approx(diameter, rel=1e-7)


def test_extended_xyz_keeps_every_digit(tmp_path):
    positions = structure()
    write_structure(tmp_path / "a.xyz", positions, 75.0, DIAMETER)
    found = read_structure(tmp_path / "a.xyz")
    assert np.array_equal(found.positions, positions.astype(float))
    assert found.diameter == DIAMETER


def test_gsd_is_centred_in_its_box_and_extended_xyz_is_not(tmp_path):
    positions = np.array([[1.0, 2, 3], [40, 50, 60]])
    write_structure(tmp_path / "a.gsd", positions, 75.0, DIAMETER)
    with gsd.hoomd.open(tmp_path / "a.gsd") as trajectory:
        frame = trajectory[0]
    assert np.allclose(frame.particles.position, positions - 37.5)
    assert frame.particles.types == ["X"]
    assert np.allclose(frame.particles.diameter, DIAMETER)
    assert np.allclose(frame.configuration.box, [75, 75, 75, 0, 0, 0])
    write_structure(tmp_path / "a.xyz", positions, 75.0, DIAMETER)
    lines = (tmp_path / "a.xyz").read_text().splitlines()
    assert lines[0] == "2"
    assert "Properties=species:S:1:pos:R:3:radius:R:1" in lines[1]
    assert 'Lattice="75.0 0.0 0.0 0.0 75.0 0.0 0.0 0.0 75.0"' in lines[1]
    assert lines[2].split()[:4] == ["X", "1.0", "2.0", "3.0"]


def test_a_trajectory_carries_quantities_of_structures_and_particles(tmp_path):
    quantities = {
        "diffusivity": np.array([0.1, 0.2, 0.3]),
        "tensor": np.arange(27.0).reshape(3, 3, 3),
        "family": np.array(["chain", "chain", 'odd "name"'], dtype=object),
        "converged": np.array([True, False, True]),
    }
    frames = [
        Frame(
            structure(index=i),
            75.0,
            DIAMETER,
            {name: values[i] for name, values in quantities.items()},
            {"cluster": np.arange(91)},
        )
        for i in range(3)
    ]
    for suffix in ("gsd", "xyz"):
        write_trajectory(tmp_path / f"a.{suffix}", frames)
    with gsd.hoomd.open(tmp_path / "a.gsd") as trajectory:
        assert len(trajectory) == 3
        log = trajectory[1].log
        assert log["diffusivity"] == 0.2
        assert np.array_equal(log["tensor"], quantities["tensor"][1])
        assert log["converged"] == 0
        assert np.array_equal(log["particles/cluster"], np.arange(91))
        assert bytes(trajectory[2].log["family"].astype(np.uint8)).rstrip(b"\0") == b'odd "name"'
        # GSD holds the last frame's structure for read_structure.
        last = trajectory[2].particles.position
    assert np.allclose(read_structure(tmp_path / "a.gsd").positions, last + 37.5, atol=1e-4)
    comments = re.findall("^Lattice.*$", (tmp_path / "a.xyz").read_text(), re.MULTILINE)
    assert len(comments) == 3
    assert "diffusivity=0.2 " in comments[1]
    assert 'tensor="9.0 10.0 11.0 12.0 13.0 14.0 15.0 16.0 17.0"' in comments[1]
    assert "converged=F" in comments[1]
    assert r'family="odd \"name\""' in comments[2]
    assert "radius:R:1:cluster:I:1" in comments[0]


def test_of_several_frames_the_last_is_read_and_that_is_said(tmp_path, capsys):
    frames = [Frame(structure() + shift, 75.0, DIAMETER) for shift in (0, 1, 2)]
    write_trajectory(tmp_path / "a.gsd", frames)
    write_trajectory(tmp_path / "b.gsd", frames[2:])
    several, alone = (read_structure(tmp_path / name) for name in ("a.gsd", "b.gsd"))
    assert np.array_equal(several.positions, alone.positions)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "a.gsd, frame 2: the last of 3, the only one that is read" in said[0]


def test_a_single_frame_with_quantities_is_read_back(tmp_path):
    quantities = {"diffusivity": 0.03, "family": 'a "b" = c', "tensor": np.eye(3)}
    for suffix in ("gsd", "xyz"):
        path = tmp_path / f"a.{suffix}"
        write_structure(path, structure(), 75.0, DIAMETER, quantities=quantities)
        assert len(read_structure(path).positions) == 91


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.xyz"
    write_structure(path, structure(), 75.0, DIAMETER)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be a key"):
        write_structure(path, structure(), 75.0, DIAMETER, quantities={"no key": 1})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.xyz"]


def test_nothing_to_write_and_unknown_suffixes_are_errors(tmp_path):
    with pytest.raises(StructureError, match="no structures to write"):
        write_trajectory(tmp_path / "a.gsd", [])
    with pytest.raises(StructureError, match=r"a\.pdb: unknown suffix; expected one of \.gsd"):
        write_structure(tmp_path / "a.pdb", structure(), 75.0, DIAMETER)
    with pytest.raises(StructureError, match=r"a\.pdb: unknown suffix"):
        read_structure(tmp_path / "a.pdb")


def test_a_missing_file_is_named(tmp_path):
    for name in ("absent.gsd", "absent.xyz"):
        with pytest.raises(StructureError, match=f"{name}: no such file"):
            read_structure(tmp_path / name)
    (tmp_path / "folder.xyz").mkdir()
    with pytest.raises(StructureError, match=r"folder\.xyz: is a folder"):
        read_structure(tmp_path / "folder.xyz")


def gsd_file(path, positions, box, diameter, dimensions=3):
    frame = gsd.hoomd.Frame()
    frame.configuration.box = box
    frame.configuration.dimensions = dimensions
    frame.particles.N = len(positions)
    frame.particles.position = positions
    frame.particles.diameter = diameter
    with gsd.hoomd.open(path, "w") as trajectory:
        trajectory.append(frame)
    return path


CUBE = [20, 20, 20, 0, 0, 0]
APART = [[0, 0, 0], [5, 5, 5]]


@pytest.mark.parametrize(
    ("positions", "box", "diameter", "dimensions", "message"),
    [
        (APART, [20, 21, 20, 0, 0, 0], [2, 2], 3, r"frame 0: configuration/box .* is not a cube"),
        (APART, [20, 20, 20, 0.1, 0, 0], [2, 2], 3, "is not a cube"),
        (APART, [20, 20, 0, 0, 0, 0], [2, 2], 2, "in 2 dimensions"),
        (APART, CUBE, [2, 3], 3, "radius 1.5 of particle 1 .*differs from 1 of particle 0"),
        (APART, CUBE, [2, -2], 3, "radius -1 of particle 1 .*must be finite and positive"),
        (APART, CUBE, [2, np.nan], 3, "radius nan of particle 1"),
        ([[0, 0, 0], [5, np.nan, 5]], CUBE, [2, 2], 3, "of particle 1 .*is not finite"),
        ([[-9.5, 0, 0], [9.5, 0, 0]], CUBE, [2, 2], 3, "particles 0 and 1 .*overlap.* 1 apart"),
        (np.empty((0, 3)), CUBE, [], 3, "holds no particles"),
    ],
)
def test_bad_gsd_content_is_named(tmp_path, positions, box, diameter, dimensions, message):
    path = gsd_file(tmp_path / "bad.gsd", positions, box, diameter, dimensions)
    with pytest.raises(StructureError, match=r"bad\.gsd.*" + message):
        read_structure(path)


def test_gsd_without_diameters_means_the_formats_default_and_says_so(tmp_path, capfd):
    path = gsd_file(tmp_path / "unit.gsd", APART, CUBE, None)
    assert read_structure(path).diameter == 1
    assert "no particles/diameter; taking the default of the GSD format, 1" in (
        capfd.readouterr().err
    )


def test_gsd_positions_outside_the_box_are_wrapped(tmp_path):
    path = gsd_file(tmp_path / "out.gsd", [[-25, 0, 31], [5, 5, 5]], CUBE, [2, 2])
    assert np.allclose(read_structure(path).positions[0], [5, 10, 1])


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_truncated_gsd_file_is_refused(tmp_path, keep):
    path = gsd_file(tmp_path / "cut.gsd", APART, CUBE, [2, 2])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StructureError, match=r"cut\.gsd: not a whole GSD file"):
        read_structure(path)


def test_gsd_of_another_schema_or_without_frames_is_refused(tmp_path):
    other = tmp_path / "other.gsd"
    with gsd.fl.open(other, "w", application="a", schema="other", schema_version=[1, 0]):
        pass
    with pytest.raises(StructureError, match=r"other\.gsd: not a whole GSD file of schema hoomd"):
        read_structure(other)
    empty = tmp_path / "empty.gsd"
    gsd.hoomd.open(empty, "w").close()
    with pytest.raises(StructureError, match="holds no frame"):
        read_structure(empty)
