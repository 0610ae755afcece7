"""The resistor network's kernels on a real GPU, against compiled loops on CPU cores."""

import numpy as np
import pytest
from resistor_cases import (
    EDGE,
    LONELY,
    PAIR,
    SIZES,
    Case,
    assert_shipped_is_that_of_cores,
    deviations,
    make_positions,
)

from morphion.surrogates.facets import meeting_pairs

pytestmark = pytest.mark.gpu

# Of a power and of an occupancy; CPU cores lie as far from double precision, as these networks make
# differences of large numbers.
LIMITS = (1e-5, 1e-4)


@pytest.fixture(scope="module", params=SIZES)
def case(request):
    return Case(request.param)


@pytest.mark.parametrize(("particles", "edge"), [(50, EDGE), (91, 7.0), (160, 7.0)])
def test_pairs_and_facets_are_those_of_cores(device, case, particles, edge):
    positions = make_positions(6, particles, edge)
    expected = meeting_pairs(positions, edge, case.block.near, case.block.cutoff, True)
    found = case.on(device).meeting_pairs(positions, edge)
    for column in range(3):
        np.testing.assert_array_equal(found[column], expected[column])
    np.testing.assert_allclose(found[3], expected[3], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[4], expected[4], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 64])
@pytest.mark.parametrize(("particles", "edge"), [(50, EDGE), (160, 7.0)])
def test_sums_are_those_of_cores(device, case, count, particles, edge):
    positions = make_positions(count, particles, edge)
    found = case.on(device).sums(positions, edge)
    assert np.less(deviations(found, case.by_cores(positions, edge)), LIMITS).all()


@pytest.mark.parametrize(
    "positions",
    [[LONELY], [PAIR], [[[1.0, 2.0, 3.0]]]],
    ids=["no pair", "one pair", "one particle"],
)
def test_structures_of_no_pair_or_one_are_those_of_cores(device, case, positions):
    positions = np.array(positions)
    found = case.on(device).sums(positions, EDGE)
    assert np.less(deviations(found, case.by_cores(positions)), LIMITS).all()


@pytest.mark.parametrize("count", [1, 5])
def test_the_shipped_network_is_that_of_cores_in_any_chunks(device, monkeypatch, count):
    assert_shipped_is_that_of_cores(device, monkeypatch, count, LIMITS)


def test_a_structure_does_not_see_the_batch_and_repeats_bit_for_bit(device, case):
    positions, on_device = make_positions(64), case.on(device)
    together = on_device.sums(positions, EDGE)
    again = on_device.sums(positions, EDGE)
    alone = [on_device.sums(positions[b : b + 1], EDGE) for b in range(8)]
    for part in range(4):
        np.testing.assert_array_equal(again[part], together[part])
        np.testing.assert_array_equal([one[part][0] for one in alone], together[part][:8])
