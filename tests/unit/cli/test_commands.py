"""Commands work on files written by hand, and say in one line what is wrong with others."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from morphion import cli, stopping
from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.structures.families import generate
from morphion.structures.files import read_structure, write_structure
from morphion.transport.example import write_coverage_table
from morphion.transport.raster import rasterise

KEYS = {
    "structure",
    "method",
    "lattice",
    "control_variate",
    "diffusivity",
    "stderr",
    "tensor",
    "tensor_stderr",
    "converged",
    "hops",
    "seconds",
}

BY_HAND = """3
Lattice="2.0 0.0 0.0 0.0 2.0 0.0 0.0 0.0 2.0" Properties=species:S:1:pos:R:3:radius:R:1 pbc="T T T"
Si  0.1 0.2 0.3   0.40
Si  1.1 1.2 1.3   0.40
Si  0.1 1.2 0.3   0.40
"""


@pytest.fixture
def by_hand(tmp_path):
    path = tmp_path / "film.xyz"
    path.write_text(BY_HAND)
    return path


@pytest.mark.parametrize("method", ["kmc", "exact"])
def test_label_prints_the_promised_json(morphion, by_hand, method):
    precision = ("--relative-error", 0.1) if method == "kmc" else ("--relative-residual", 1e-5)
    code, out, _ = morphion(
        "label", by_hand, "--method", method, "--lattice", 20, *precision, "--json"
    )
    (found,) = json.loads(out)
    assert code == 0
    assert set(found) == KEYS
    assert np.shape(found["tensor"]) == np.shape(found["tensor_stderr"]) == (3, 3)
    assert found["diffusivity"] == pytest.approx(np.trace(found["tensor"]) / 3)
    assert (found["stderr"] > 0) == (method == "kmc")
    assert found["converged"]


def test_a_path_is_not_read_as_markup(monkeypatch, morphion, by_hand):
    monkeypatch.chdir(by_hand.parent)  # so short that it stands on one line
    path = Path("[b]a[/b].xyz")
    path.parent.mkdir()
    by_hand.rename(path)
    code, out, error = morphion("label", path, "--method", "exact", "--lattice", 20)
    assert code == 0, error
    assert "│ [b]a[/b].xyz │" in out


def test_an_import_that_a_signal_broke_is_no_error_of_the_program(monkeypatch, morphion):
    def broken():
        with suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
        raise ImportError("initialization failed")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(stopping, "_leaver", stopping._Leaver())
    monkeypatch.setattr(cli, "app", broken)
    code, *_ = morphion("predict")
    signal.signal(signal.SIGTERM, before)
    assert code == 143


def test_label_takes_a_control_variate(morphion, by_hand):
    options = ("label", by_hand, "--method", "kmc", "--lattice", 32, "--relative-error", 0.1)
    found = [
        json.loads(morphion(*options, *more, "--json")[1])[0]
        for more in ((), ("--control-variate", 16))
    ]
    assert [entry["control_variate"] for entry in found] == [None, 16]
    error = np.hypot(*(entry["stderr"] for entry in found))
    assert abs(found[0]["diffusivity"] - found[1]["diffusivity"]) < 3 * error
    assert found[1]["stderr"] < 0.3 * found[0]["stderr"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lattice", 32, "--control-variate", 32), "must be below lattice = 32"),
        (("--method", "exact", "--lattice", 32, "--control-variate", 16), "is for --method kmc"),
        (("--lattice", 64, "--control-variate", 16, "--transport", "thin.yaml"), "use at least 25"),
    ],
)
def test_a_control_variate_that_cannot_be_of_use_is_an_error(
    morphion, by_hand, monkeypatch, tmp_path, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thin.yaml").write_text("model: coverage-shell\nshell_radius: 0.6\n")
    method = () if "--method" in options else ("--method", "kmc")
    code, _, errors = morphion("label", by_hand, *method, *options)
    assert code == 2
    assert message in " ".join(errors.split())


def test_labels_do_not_depend_on_the_unit_of_length_or_the_format(morphion, tmp_path):
    geometry = Geometry(voxels=24, particles=3)
    positions = generate(geometry, Structures(), 1, "rsa", 0)
    files = [tmp_path / name for name in ("a.xyz", "a.gsd", "nm.xyz")]
    for path, scale in zip(files, (1, 1, 0.1), strict=True):
        write_structure(path, positions * scale, 24.0 * scale, geometry.diameter * scale)
    code, out, _ = morphion("label", *files, "--method", "exact", "--lattice", 24, "--json")
    found = [entry["diffusivity"] for entry in json.loads(out)]
    assert code == 0
    np.testing.assert_allclose(found, found[0], rtol=1e-5)


def test_a_table_in_voxels_takes_the_unit_of_the_file_for_one(morphion, tmp_path):
    geometry = Geometry(voxels=24, particles=2, volume_fraction=0.2)
    assert geometry.diameter > 1.2 * Geometry().diameter
    positions = generate(geometry, Structures(), 1, "rsa", 0)
    write_structure(tmp_path / "a.xyz", positions, 24.0, geometry.diameter)
    write_coverage_table(tmp_path / "sigma.csv", CoverageShell())
    table = (tmp_path / "sigma.csv").read_text().splitlines()
    start = table.index("d1,d2,diffusivity,free_energy") + 1
    rows = [line.split(",") for line in table[start:]]
    for row in rows:
        row[:2] = [f"{geometry.diameter * float(value):.12g}" for value in row[:2]]
    lines = [line.replace("sigma", "voxel") for line in table[:start]] + [",".join(r) for r in rows]
    (tmp_path / "voxel.csv").write_text("\n".join(lines))
    found = []
    for unit in ("sigma", "voxel"):
        (tmp_path / f"{unit}.yaml").write_text(f"{{model: table, path: {unit}.csv}}")
        options = ("--method", "exact", "--lattice", 24, "--transport", tmp_path / f"{unit}.yaml")
        code, out, _ = morphion("label", tmp_path / "a.xyz", *options, "--json")
        assert code == 0
        found.append(json.loads(out)[0]["diffusivity"])
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.parametrize("table", [False, True])
def test_walks_cost_as_much_in_any_unit_of_length(morphion, tmp_path, table):
    geometry = Geometry(voxels=24, particles=3)
    positions = generate(geometry, Structures(), 1, "rsa", 0)
    files = [tmp_path / f"{name}.xyz" for name in ("voxels", "metres", "sigma")]
    for path, scale in zip(files, (1, 1e-9, 1 / geometry.diameter), strict=True):
        write_structure(path, positions * scale, 24.0 * scale, geometry.diameter * scale)
    options = ["--method", "kmc", "--lattice", 24, "--relative-error", 0.1]
    if table:
        write_coverage_table(tmp_path / "table.csv", CoverageShell())
        (tmp_path / "table.yaml").write_text("{model: table, path: table.csv}")
        options += ["--transport", tmp_path / "table.yaml"]
    code, out, _ = morphion("label", *files, *options, "--json")
    found = [(entry["hops"], entry["stderr"]) for entry in json.loads(out)]
    assert code == 0
    np.testing.assert_allclose(found, [found[0]] * 3, rtol=1e-2)


def test_a_table_without_json_is_for_people(morphion, by_hand):
    code, out, _ = morphion("label", by_hand, "--method", "exact", "--lattice", 16)
    assert code == 0
    assert "exact" in out
    assert "yes" in out


def test_a_seed_gives_the_same_walk_and_another_a_different_one(morphion, by_hand):
    def walk(seed):
        options = ("--method", "kmc", "--lattice", 16, "--relative-error", 0.2, "--seed", seed)
        return json.loads(morphion("label", by_hand, *options, "--json")[1])[0]["diffusivity"]

    assert walk(1) == walk(1) != walk(2)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (("1.1 1.2 1.3", "0.1 0.2 0.9"), (), "overlap"),
        (("1.1 1.2 1.3", "0.1 0.2 1.9"), (), "overlap"),  # through the periodic boundary
        (("1.1 1.2 1.3", "1.1 nan 1.3"), (), "line 4"),
        (("1.3   0.40", "1.3   0.30"), (), "radius"),
        (('0.0 2.0"', '0.0 3.0"'), (), "cub"),
        (("3\n", "5\n"), (), "5"),
        (("", ""), ("--lattice", 8), "--lattice: Input should be greater than or equal to 16"),
        (("", ""), ("--relative-residual", -1), "--relative-residual: Input should be greater"),
        (("", ""), ("--relative-error", 0.1), "--relative-error is for --method kmc: leave it out"),
        (("", ""), ("--lattice", 2000), "the largest lattice that fits has"),
        (("", ""), ("--transport", "none.yaml"), "none.yaml: cannot be read"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(morphion, by_hand, change, options, message):
    by_hand.write_text(BY_HAND.replace(*change, 1) if change[0] else BY_HAND)
    given = {"--method": "exact", "--lattice": 16} | dict([options] if options else [])
    code, out, err = morphion("label", by_hand, *(part for pair in given.items() for part in pair))
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line


def test_outputs_are_named_by_what_they_are(morphion, by_hand, tmp_path):
    """Or one that was meant to be read is overwritten."""
    model = tmp_path / "model.json"
    model.write_text("{}")
    for arguments, message in (
        (("evaluate", model, "--model", tmp_path, "--dataset", tmp_path), r"named *.csv"),
        (("judge", by_hand, by_hand, "--config", model, "--set", "round0"), r"named *.json"),
        (("table", "table1", by_hand, "--config", model), r"named *.csv"),
        (("figure", "figure9", by_hand, "--config", model), r"named *.png"),
        (("results", by_hand, "--config", model), r"named *.md"),
        (("export", by_hand, tmp_path / "x.foo"), "expected one of .gsd, .xyz, .vti"),
        (("export", by_hand, tmp_path / "x.gsd", "--lattice", 20), "are of fields"),
    ):
        code, _, err = morphion(*arguments)
        assert code == 2
        assert message in err
    assert model.read_text() == "{}"


def test_one_wrong_file_among_many_stops_before_any_work(morphion, by_hand, tmp_path):
    code, out, err = morphion(
        "label", by_hand, tmp_path / "no.gsd", "--method", "exact", "--lattice", 16
    )
    assert (code, out) == (2, "")
    assert "no.gsd: no such file" in err


def test_all_files_that_are_no_structures_are_told_at_once(morphion, by_hand, tmp_path):
    empty = tmp_path / "empty.xyz"
    empty.write_text("")
    code, out, err = morphion("predict", tmp_path / "no.gsd", by_hand, empty)
    assert (code, out) == (2, "")
    assert "2 of 3 files are no legal structures:" in err
    assert "no.gsd: no such file" in err
    assert "empty.xyz is empty" in err


def test_a_generated_shard_is_inspected_and_exported(morphion, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("output: out\nstructures: {rsa: 2, chain: 1, gapped: 1, shard_size: 4}\n")
    shard = tmp_path / "shard.zarr"
    assert morphion("structures", shard, "--config", config, "--shard", 0)[0] == 0
    code, out, _ = morphion("inspect", shard)
    assert code == 0
    assert "integrity: every array agrees" in out
    assert "positions" in out
    for name in ("all.gsd", "one.xyz"):
        assert morphion("export", shard, tmp_path / name, "--count", 1)[0] == 0
    exported = read_structure(tmp_path / "one.xyz")
    expected = xr.open_zarr(shard).positions.values[0]
    np.testing.assert_allclose(exported.positions, expected, atol=1e-5)


def test_an_altered_store_is_reported(morphion, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("output: out\nstructures: {rsa: 1, chain: 0, gapped: 0}\n")
    shard = tmp_path / "shard.zarr"
    morphion("structures", shard, "--config", config, "--shard", 0)
    chunk = next(path for path in (shard / "positions/c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-7])
    code, _, err = morphion("inspect", shard)
    assert code == 2
    assert "error: " in err
    assert "positions" in err


def test_lattice_fields_open_as_a_vtk_image(morphion, by_hand, tmp_path):
    output = tmp_path / "film.vti"
    assert morphion("export", by_hand, output, "--lattice", 20)[0] == 0
    header, _, payload = output.read_bytes().partition(b'encoding="raw">\n_')
    assert b'WholeExtent="0 20 0 20 0 20"' in header
    size = int(np.frombuffer(payload[:8], "<u8")[0])
    values = np.frombuffer(payload[8 : 8 + size], "<f4").reshape(20, 20, 20)
    structure = read_structure(by_hand)
    lattice = rasterise(
        structure.positions, structure.box_length, structure.diameter, CoverageShell(), 20
    )
    np.testing.assert_allclose(values.transpose(2, 1, 0), lattice.a * lattice.b, rtol=1e-6)


def test_config_check_prints_every_default(morphion, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("output: out\n")
    code, out, _ = morphion("config", "check", config)
    assert code == 0
    assert "steps_per_cycle: 2500" in out


def test_every_command_explains_itself(morphion):
    code, out, _ = morphion("--help")
    assert code == 0
    for command in (
        "label",
        "predict",
        "publish",
        "inspect",
        "export",
        "verdict",
        "anneal",
        "select",
        "train",
    ):
        assert command in out
        assert morphion(command, "--help")[0] == 0


def test_networks_keep_to_their_threads_however_early_those_are_set():
    code = (
        "from morphion.cli.options import use_threads; use_threads(1, networks=True); "
        "import morphion.surrogates, torch; print(torch.get_num_threads())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"
