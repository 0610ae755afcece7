"""The lattice that a walk's lags are planned on."""

from pathlib import Path

import pytest

from morphion.config.transport import CoverageShell, DistanceTable
from morphion.labels.lags import planning_sites

TABLE = DistanceTable(model="table", path=Path("table.csv"))


@pytest.mark.parametrize("voxels", [30.0, 75.0, 150.0])
def test_a_table_is_planned_at_sites_to_a_sphere_whatever_the_voxels(voxels):
    assert planning_sites(voxels, 9.6 * voxels / 75, TABLE, 375) == 75


@pytest.mark.parametrize("transport", [TABLE, CoverageShell()])
def test_no_lattice_is_finer_than_the_labels(transport):
    assert planning_sites(75.0, 9.6, transport, 40) == 40
    assert planning_sites(5.0, 9.6, transport, 40) >= 16
