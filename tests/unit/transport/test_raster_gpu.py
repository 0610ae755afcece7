"""The rasteriser's kernels, executed on the host, against the one on CPU cores: bit for bit."""

import numpy as np
import pytest
from host_device import HostDevice

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell, DistanceTable
from morphion.errors import DeviceMemoryError, MorphionWarning, TransportError
from morphion.structures.families import generate
from morphion.transport import rasterise
from morphion.transport.example import write_coverage_table

SMALL = Geometry(voxels=30, particles=6)


def structure(geometry, family="rsa", seed=3):
    mix = Structures(rsa=1, chain=1, gapped=1, chain_windows=[(9.7, 12.0)], slab_width=(10, 12))
    return generate(geometry, mix, seed, family, 0)


def assert_same(geometry, positions, model, n):
    arguments = (positions, geometry.box_length, geometry.diameter, model, n)
    expected = rasterise(*arguments)
    found = rasterise(*arguments, HostDevice())
    np.testing.assert_array_equal(found.b, expected.b)
    np.testing.assert_array_equal(found.weight, expected.weight)
    assert found.spacing == expected.spacing


@pytest.mark.parametrize("n", [24, 31])
@pytest.mark.parametrize("family", ["rsa", "chain"])
def test_lattice_is_that_of_the_cpu_bit_for_bit(family, n):
    assert_same(SMALL, structure(SMALL, family), CoverageShell(), n)


def test_overlapping_layers_that_repel_are_the_same():
    model = CoverageShell(shell_radius=0.95, interdigitation_affinity=-3.0, affinity=4.0)
    assert_same(SMALL, structure(SMALL, "chain"), model, 28)


def test_a_reach_beyond_the_box_counts_all_images():
    tiny = Geometry(voxels=16, particles=2)
    assert_same(
        tiny, np.array([[1.0, 6.0, 15.5], [9.0, 8.0, 5.0]]), CoverageShell(shell_width=0.2), 24
    )


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_a_table_model_is_put_on_the_device(tmp_path):
    path = tmp_path / "table.csv"
    write_coverage_table(path, CoverageShell())
    assert_same(SMALL, structure(SMALL), DistanceTable(model="table", path=path), 24)


def test_what_the_cpu_refuses_the_device_refuses():
    positions = structure(SMALL)
    arguments = (positions, SMALL.box_length, SMALL.diameter)
    with pytest.raises(TransportError, match="no open site lies in a ligand shell"):
        rasterise(*arguments, CoverageShell(shell_radius=0.5001), 16, HostDevice())
    with pytest.raises(TransportError, match="keep affinity differences below"):
        rasterise(*arguments, CoverageShell(affinity=95.0), 24, HostDevice())
    with pytest.warns(MorphionWarning, match="fewer than two sites"):
        rasterise(*arguments, CoverageShell(), 16, HostDevice())


def test_a_lattice_that_does_not_fit_says_what_would():
    with pytest.raises(DeviceMemoryError, match=r"needs 0\.0 GiB on the GPU.* has 23 sites"):
        rasterise(
            structure(SMALL), SMALL.box_length, SMALL.diameter, CoverageShell(), 32,
            HostDevice(memory=100_000),
        )  # fmt: skip
