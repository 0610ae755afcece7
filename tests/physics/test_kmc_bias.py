"""The bias that the chosen lags leave, without noise, for structures whose transients last."""

import numpy as np
import pytest

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact.bonds import Bonds
from morphion.kmc.plan import relative_intercept, shortest_lag
from morphion.kmc.tables import walk_tables
from morphion.kmc.transient import joined, on_finer, relaxation, transient
from morphion.kmc.weights import LAGS_PER_WINDOW_START, slope_weights
from morphion.structures.families import generate
from morphion.transport import rasterise

GEOMETRY = Geometry()
SAMPLES = 24 * LAGS_PER_WINDOW_START


def lattice_of(seed, family, index, model, n):
    positions = generate(GEOMETRY, Structures(), seed, family, index)
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, model, n)


# Chain structures of the widest window, and one gapped along one axis: clusters and slabs that
# exchange cations slowly. Where cations bind strongly the coarse lattice conducts too well: by its
# own lags the last one would be biased by 0.22 of an error of 0.3 %.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "family", "index", "changes", "n"),
    [
        (23, "chain", 7, {}, 64),
        (23, "gapped", 3, {}, 64),
        (2021, "chain", 14, {"affinity": 12.0}, 75),
    ],
)
def test_bias_is_below_a_fifth_of_the_error_asked_for(seed, family, index, changes, n):
    model = CoverageShell(**changes)
    lattice = lattice_of(seed, family, index, model, n)
    summary = walk_tables(lattice).summary
    coarse = transient(lattice_of(seed, family, index, model, 56))
    known = on_finer(coarse, 56, lattice, n)
    bonds = Bonds(lattice)
    chi = [bonds.solve(bonds.drift(axis)) for axis in range(3)]
    exact = np.array([bonds.energy(chi[axis], axis) for axis in range(3)])
    truth = joined(exact, [relaxation(bonds, x, 8, 1e-5) for x in chi])
    for target in (0.03, 0.01, 0.003):
        interval = shortest_lag(summary, known, target) / LAGS_PER_WINDOW_START
        intercept = relative_intercept(known, interval)
        weights = slope_weights(SAMPLES, intercept, LAGS_PER_WINDOW_START).weights
        bias = truth.bias(weights, interval)
        assert 0 < bias.mean() < 0.2 * target * exact.mean()
        assert (bias < np.sqrt(3) * target * exact).all()
