"""The table model: its file format, its errors and its agreement with the coverage model."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphion.config.geometry import Geometry
from morphion.config.transport import CoverageShell, DistanceTable
from morphion.errors import ConfigError, TransportError
from morphion.exact import solve
from morphion.transport import load_transport, rasterise
from morphion.transport.distances import interpolate
from morphion.transport.example import write_coverage_table
from morphion.transport.table import read_table

CONFIG = Path(__file__).parents[3] / "config" / "transport"
UNITS = """# d1_unit: sigma
# d2_unit: sigma
# diffusivity_unit: solvent
# free_energy_unit: kT
"""
HEADER = UNITS + "d1,d2,diffusivity,free_energy\n"
NODES = """0.5,0.5,0.1,-8
0.5,1.0,0.2,-6
1.0,1.0,1.0,0
"""


@pytest.fixture
def write(tmp_path):
    def write_table(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    return write_table


def grid_of(path: Path, diameter: float = 10.0):
    return read_table(path).grid(diameter)


def test_interpolation_is_bilinear_in_u_and_log_d_and_mirrors_missing_nodes(write):
    grid = grid_of(write(HEADER + NODES))  # (1.0, 0.5) is not in the file
    first, second, log_d, u = grid.arrays
    assert interpolate(first, second, u, 7.5, 10.0) == pytest.approx(-3)
    assert interpolate(first, second, u, 7.5, 7.5) == pytest.approx((-8 - 6 - 6 + 0) / 4)
    middle = np.exp(interpolate(first, second, log_d, 5.0, 7.5))
    assert middle == pytest.approx(np.sqrt(0.1 * 0.2))


def test_beyond_the_last_node_its_value_holds(write):
    first, second, _, u = grid_of(write(HEADER + NODES)).arrays
    assert interpolate(first, second, u, 5.0, 99.0) == -6
    assert interpolate(first, second, u, 99.0, 99.0) == 0


def test_order_of_lines_and_columns_and_comments_do_not_matter(write):
    reference = grid_of(write(HEADER + NODES))
    rows = [line.split(",") for line in NODES.split()]
    text = UNITS + "# made by hand\n\nfree_energy, d2,d1,note,diffusivity\n"
    text += "\n".join(f"{u},{d2},{d1},x,{d}" for d1, d2, d, u in reversed(rows)) + "\n\n# end\n"
    shuffled = grid_of(write(text))
    for one, other in zip(reference.arrays, shuffled.arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_voxel_table_equals_the_sigma_table_of_its_diameter(write):
    sigma = grid_of(write(HEADER + NODES), 8.0)
    scaled = HEADER.replace(": sigma", ": voxel") + "4,4,0.1,-8\n4,8,0.2,-6\n8,8,1.0,0\n"
    voxel = grid_of(write(scaled), 8.0)
    for one, other in zip(sigma.arrays, voxel.arrays, strict=True):
        np.testing.assert_allclose(one, other)
    with pytest.raises(TransportError, match=r"d1 begins at 4 voxel; .* sigma/2 = 3.5"):
        read_table(write(scaled)).grid(7.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NODES, r"no unit of d1; a line '# d1_unit: sigma'"),
        (HEADER.replace("sigma", "nm") + NODES, r"line 1: d1_unit = nm; known: sigma, voxel"),
        ("# temperature_unit: K\n" + HEADER + NODES, r"line 1: unknown key temperature_unit"),
        (HEADER.replace("diffusivity,f", "D,f") + NODES, r"line 5: column diffusivity is missing"),
        (HEADER.replace("d2,d", "d2,d2,d") + NODES, r"line 5: column d2 is repeated"),
        (UNITS, r"no line of column names"),
        (HEADER + NODES + "0.5,0.5,0.3,1\n", r"line 9: d1 = 0.5, d2 = 0.5 was given in line 6"),
        (HEADER + NODES.replace("0.2,-6", "nan,-6"), r"line 7: diffusivity = nan must be finite"),
        (HEADER + NODES.replace("-6", ""), r"line 7: free_energy must be a number, found ''"),
        (HEADER + "0.5,0.5,0.1\n", r"line 6: free_energy must be a number, found nothing"),
        (HEADER + NODES.replace("0.5,1.0", "-0.5,1.0"), r"line 7: d1 = -0.5 must be .*negative"),
        (HEADER + NODES.replace("0.2,", "0,"), r"line 7: diffusivity = 0 at d1 = 0.5, d2 = 1"),
        (HEADER + NODES.replace("0.5,1.0,0.2,-6\n", ""), r"no line for d1 = 0.5, d2 = 1: .*hole"),
        (HEADER + "0.5,0.5,1,0\n", r"d1 has 1 values; a grid needs at least 2"),
        (HEADER + "0.6,0.6,1,0\n0.6,1,1,0\n1,1,1,0\n", r"d1 begins at 0.6 sigma; .* 0.5 sigma"),
        (
            (HEADER + NODES).replace("d1_unit: sigma", "d1_unit: voxel"),
            r"d1 ends at 1 voxel, within the particles; .* d1_unit may be another",
        ),
    ],
)
def test_unusable_tables_are_refused_naming_file_and_line(write, text, message):
    path = write(text)
    with pytest.raises(TransportError, match=message) as caught:
        grid_of(path)
    assert str(path) in str(caught.value)


def test_nodes_inside_the_spheres_may_be_missing_or_zero(write):
    text = HEADER + "0,0,0,0\n0,0.5,0,0\n0,1,0,0\n" + NODES
    grid = grid_of(write(text))
    assert np.isnan(grid.log_diffusivity[0, 0])
    assert np.isfinite(grid.log_diffusivity[1:, 1:]).all()


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="d12,.#-e:\n _unitsgma05", max_size=80))
def test_any_text_is_a_table_or_a_clear_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    path.write_text(HEADER + text)
    message = str(path)
    try:
        read_table(path).grid(1.0)
    except TransportError as error:
        message = str(error)
    assert str(path) in message


def pair_lattices(tmp_path, spacing: float, n: int):
    """A chain of particles of which at most two shells overlap, by model and by its table."""
    geometry = Geometry()
    model = CoverageShell()
    path = tmp_path / f"table-{spacing}.csv"
    write_coverage_table(path, model, spacing)
    positions = np.array([[10.0 + 13.0 * i, 30.0, 40.0] for i in range(5)])
    arguments = (positions, geometry.box_length, geometry.diameter)
    table = DistanceTable(model="table", path=path)
    return rasterise(*arguments, model, n), rasterise(*arguments, table, n)


def test_table_of_the_coverage_model_reproduces_its_labels(tmp_path):
    model, table = pair_lattices(tmp_path, 0.01, 56)
    np.testing.assert_array_equal(model.b > 0, table.b > 0)
    exact, tabulated = solve(model), solve(table)
    assert tabulated.diffusivity == pytest.approx(exact.diffusivity, rel=5e-3)
    coarse = solve(pair_lattices(tmp_path, 0.04, 56)[1])
    assert abs(tabulated.diffusivity - exact.diffusivity) < abs(
        coarse.diffusivity - exact.diffusivity
    )


def test_nearest_two_centres_are_found_through_the_boundary(tmp_path, write):
    # U = d1 and D = exp(d2): the lattice then shows the distances themselves
    axis = np.linspace(0.0, 12.0, 25)
    rows = "".join(f"{a},{b},{np.exp(b)},{a}\n" for a in axis for b in axis)
    path = write(HEADER.replace(": sigma", ": voxel") + rows)
    random = np.random.default_rng(5)
    positions, n, box = random.uniform(0, 10, (6, 3)), 20, 10.0
    lattice = rasterise(positions, box, 1e-3, DistanceTable(model="table", path=path), n)
    x = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1) + 0.5) * box / n
    shift = np.stack(np.meshgrid(*[[-box, 0, box]] * 3), -1).reshape(-1, 3)
    images = (positions[:, None] + shift).reshape(-1, 3)
    distance = np.sqrt(((x[:, :, :, None] - images) ** 2).sum(-1))
    distance.partition(1, axis=-1)
    d1, d2 = distance[..., 0], distance[..., 1]
    u = -np.log(lattice.weight)
    np.testing.assert_allclose(u - u.min(), d1 - d1.min(), atol=1e-5)
    np.testing.assert_allclose(2 * np.log(lattice.a) - u, d2, atol=1e-4)


def test_shipped_transport_files_load():
    assert load_transport(CONFIG / "coverage-shell.yaml") == CoverageShell()
    table = load_transport(CONFIG / "example-table.yaml")
    assert table.path == (CONFIG / "example-table.csv").resolve()
    read_table(table.path).grid(9.6)


def test_shipped_example_table_is_what_the_writer_writes(tmp_path):
    write_coverage_table(tmp_path / "table.csv", CoverageShell())
    assert (tmp_path / "table.csv").read_text() == (CONFIG / "example-table.csv").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shell_radius: 0.8\n", "model is missing"),
        ("model: coverage-shell\nshell_radios: 0.8\n", "shell_radios"),
        ("model: coverage-shell\nshell_diffusivity: -1\n", "shell_diffusivity"),
        ("model: soup\n", "soup"),
        ("model: table\npath: nowhere.csv\n", "path: no file"),
        ("model: table\npath: table.txt\n", "csv"),
        ("- 1\n", "mapping"),
        ("model: [\n", "not valid YAML"),
    ],
)
def test_unusable_transport_files_are_refused(tmp_path, text, message):
    path = tmp_path / "transport.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_transport(path)
