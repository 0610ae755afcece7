"""What a label takes from where."""

import pytest

from morphion.config.geometry import Geometry, Structures
from morphion.config.labels import Labels
from morphion.config.transport import CoverageShell
from morphion.kmc.plan import shortest_lag
from morphion.kmc.tables import walk_tables
from morphion.kmc.transient import transient
from morphion.labels import Task, label_structures
from morphion.philox import stream_key
from morphion.structures.families import generate
from morphion.transport import rasterise


def test_lags_come_from_the_coarsest_lattice_that_resolves_the_shells():
    geometry, model = Geometry(), CoverageShell()
    box = (geometry.box_length, geometry.diameter)
    positions = generate(geometry, Structures(), 1, "chain", 4)
    labels = Labels(method="kmc", lattice=60, target_relative_error=0.3)
    task = Task(positions, *box, stream_key(1, "test"), "a chain")
    (label,) = label_structures([task], model, labels)
    summary = walk_tables(rasterise(positions, *box, model, 60)).summary
    known = transient(rasterise(positions, *box, model, 56))
    assert label.time[7] == pytest.approx(shortest_lag(summary, known, 0.3), rel=1e-12)
