"""The resistor network's kernels, executed on the host, against compiled loops on CPU cores."""

import re

import numpy as np
import pytest
import torch
from host_device import HostDevice
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

from morphion.errors import SurrogateError
from morphion.gpu.source import join
from morphion.surrogates import resistor, resistor_gpu
from morphion.surrogates.ensemble import Ensemble
from morphion.surrogates.facets import meeting_pairs
from morphion.surrogates.resistor_gpu import KERNELS, OnDevice


@pytest.fixture(scope="module", params=SIZES)
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def small():
    return Case("small")


def assert_pairs_are_those_of_cores(small, positions, edge, device=None):
    positions = np.asarray(positions, dtype=float)
    expected = meeting_pairs(positions, edge, small.block.near, small.block.cutoff, True)
    found = small.on(device or HostDevice()).meeting_pairs(positions, edge)
    for column in range(3):
        np.testing.assert_array_equal(found[column], expected[column])
    np.testing.assert_allclose(found[3], expected[3], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[4], expected[4], rtol=1e-6, atol=1e-6)
    assert [part.dtype for part in found] == [part.dtype for part in expected]
    return found


@pytest.mark.parametrize("count", [1, 5])
def test_pairs_and_facets_are_those_of_cores(small, count):
    assert_pairs_are_those_of_cores(small, make_positions(count), EDGE)
    assert_pairs_are_those_of_cores(small, make_positions(count, 91, 7.0), 7.0)


def test_near_pairs_are_kept_without_a_facet_and_far_ones_are_not(small):
    between = [[0, 0, 0], [1.1, 0, 0], [0.55, 0, 0]]
    apart = [[0, 0, 0], [2.0, 0, 0], [1.0, 0, 0]]
    structure, _, _, facet, _ = assert_pairs_are_those_of_cores(small, [between, apart], 20.0)
    np.testing.assert_array_equal(structure, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(facet > 0, [False, True, True, True, True])


def test_a_facet_of_more_corners_than_a_thread_holds_is_whole(small):
    """Overlapping particles, which no file may hold: whatever is given, memory stays whole."""
    angle = 2 * np.pi * np.arange(100) / 100
    ring = np.stack((np.full(100, 0.5), 0.7 * np.cos(angle), 0.7 * np.sin(angle)), 1)
    found = assert_pairs_are_those_of_cores(small, [[[0, 0, 0], [1.0, 0, 0], *ring]], 20.0)
    inner = (0.7**2 - 0.5**2) / (2 * 0.7)  # of the circle that 100 chords touch
    assert found[3][0] == pytest.approx(100 * inner**2 * np.tan(np.pi / 100), rel=1e-6)


@pytest.mark.parametrize("count", [1, 5])
def test_sums_are_those_of_cores(case, count):
    positions = make_positions(count)
    found = case.on(HostDevice()).sums(positions, EDGE)
    assert [part.shape for part in found] == [part.shape for part in case.by_cores(positions)]
    assert found.power.shape == (count, 3, 3)
    assert max(deviations(found, case.by_cores(positions))) < 1e-5


def test_the_shipped_network_is_that_of_cores_in_any_chunks(monkeypatch):
    assert_shipped_is_that_of_cores(HostDevice(), monkeypatch, 3, (1e-5, 1e-5))


@pytest.mark.parametrize(
    "positions", [[LONELY], [PAIR], [LONELY, PAIR, LONELY], [[[1.0, 2, 3]]]], ids=len
)
def test_structures_of_no_pair_or_one_are_those_of_cores(case, positions):
    positions = np.array(positions, dtype=float)
    found = case.on(HostDevice()).sums(positions, EDGE)
    assert max(deviations(found, case.by_cores(positions))) < 1e-5


def test_without_particles_nothing_conducts(small):
    for part in small.on(HostDevice()).sums(np.empty((2, 0, 3)), EDGE):
        assert len(part) == 2
        assert not part.any()


def test_a_structure_does_not_see_the_batch_nor_the_order_of_threads(case):
    positions = make_positions(5)
    together = case.on(HostDevice()).sums(positions, EDGE)
    backwards = case.on(HostDevice(backwards=True)).sums(positions, EDGE)
    on_device = case.on(HostDevice())
    alone = [on_device.sums(positions[b : b + 1], EDGE) for b in range(5)]
    turned = on_device.sums(positions[::-1], EDGE)
    for part in range(4):
        np.testing.assert_array_equal(backwards[part], together[part])
        np.testing.assert_array_equal([one[part][0] for one in alone], together[part])
        np.testing.assert_array_equal(turned[part][::-1], together[part])


def test_chunks_of_a_batch_are_as_the_whole(small, monkeypatch):
    positions = make_positions(5)
    whole = small.on(HostDevice())
    expected = whole.sums(positions, EDGE)
    pairs = whole.meeting_pairs(positions, EDGE)
    monkeypatch.setattr(resistor_gpu, "_ROOM", 2 * whole._room._bytes_each)
    device = HostDevice()
    chunks = small.on(device)
    for found, right in zip(chunks.sums(positions, EDGE), expected, strict=True):
        np.testing.assert_array_equal(found, right)
    assert device.launches.count("kirchhoff") == 3
    for found, right in zip(chunks.meeting_pairs(positions, EDGE), pairs, strict=True):
        np.testing.assert_array_equal(found, right)


def test_more_particles_than_shared_memory_holds_are_those_of_cores(small):
    positions = make_positions(2, 120, 7.0)
    found = small.on(HostDevice()).sums(positions, 7.0)
    assert max(deviations(found, small.by_cores(positions, 7.0))) < 1e-5


def test_a_network_predicts_by_kernels_where_there_is_a_gpu(small, monkeypatch):
    device = HostDevice()
    monkeypatch.setattr(resistor, "device_of_kernels", lambda _: device)
    model, box = small.model, small.block.cutoff  # which is taken twice along each axis
    for positions, edge in ((make_positions(3), EDGE), (make_positions(2, 3, box), box)):
        structures = (small.sees, 5 * positions, 5 * edge, 5.0, torch.device("cpu"))
        with torch.inference_mode():
            found = model.from_structures(*structures)
            assert device.launches.count("kirchhoff") > 0
            expected = model(small.graph(positions, edge))
        limit = 1e-5 * expected.tensor.max()
        np.testing.assert_allclose(found.tensor, expected.tensor, rtol=1e-5, atol=limit)
        np.testing.assert_allclose(found.novelty, expected.novelty, rtol=1e-4)
        device.launches.clear()


def test_members_of_an_ensemble_predict_by_kernels(small, monkeypatch):
    device = HostDevice()
    members = iter([small.model, Case("small").model])
    ensemble = Ensemble(lambda: next(members), 2).eval()
    structures = (small.sees, make_positions(3), EDGE, 1.0, torch.device("cpu"))
    with torch.inference_mode():
        expected = ensemble.from_structures(*structures)
        assert device.launches == []
        monkeypatch.setattr(resistor, "device_of_kernels", lambda _: device)
        found = ensemble.from_structures(*structures)
        assert device.launches.count("kirchhoff") == 2
        for read in (ensemble.diffusivity, ensemble.mean):
            torch.testing.assert_close(read(found), read(expected), rtol=1e-5, atol=1e-6)


def test_a_network_that_does_not_fit_predicts_by_torch(small, monkeypatch):
    device = HostDevice()
    monkeypatch.setattr(resistor, "device_of_kernels", lambda _: device)
    monkeypatch.setattr(resistor, "fits", lambda weights: False)
    with torch.inference_mode():
        found = small.model.from_structures(
            small.sees, make_positions(2), EDGE, 1.0, torch.device("cpu")
        )
        torch.testing.assert_close(found, small.model(small.graph(make_positions(2))))
    assert device.launches == []


def test_structures_for_which_a_device_has_no_memory_are_predicted_by_torch(small, monkeypatch):
    positions, wanted = make_positions(2), small.graph(make_positions(2))
    device = HostDevice()
    monkeypatch.setattr(resistor, "device_of_kernels", lambda _: device)
    structures = (small.sees, positions, EDGE, 1.0, torch.device("cpu"))
    with torch.inference_mode():
        small.model.from_structures(*structures)
        assert device.launches.count("kirchhoff") == 1
        device = HostDevice(memory=1e5)  # another device, for which weights are uploaded again
        found = small.model.from_structures(*structures)
        torch.testing.assert_close(found, small.model(wanted))
    assert device.launches == []


def test_members_for_which_there_is_no_room_left_are_told_beside_the_others(
    small, monkeypatch, simulated
):
    """What kernels find lies on the host, what torch finds where the network is."""
    members = iter([small.model, Case("small").model])
    ensemble = Ensemble(lambda: next(members), 2).eval()
    structures = (small.sees, make_positions(3), EDGE, 1.0)
    device, room = HostDevice(), iter([True, False])
    with torch.inference_mode():
        expected = ensemble.diffusivity(ensemble.from_structures(*structures, torch.device("cpu")))
        monkeypatch.setattr(resistor, "device_of_kernels", lambda _: device)
        monkeypatch.setattr(OnDevice, "holds", lambda *_: next(room))
        found = ensemble.to(simulated).from_structures(*structures, simulated)
        assert device.launches.count("kirchhoff") == 1
        torch.testing.assert_close(ensemble.diffusivity(found), expected, rtol=1e-5, atol=1e-6)
        assert ensemble.novelty(found).device.type == "cpu"
    small.model.to("cpu").eval()


def test_a_network_of_broken_weights_predicts_no_number(small):
    constants = small.constants._replace(far_bias=np.nan)
    on_device = OnDevice(HostDevice(), small.weights, constants, small.block.cutoff)
    power, occupancy, pairs, particles = on_device.sums(make_positions(2), EDGE)
    assert np.isnan(power).all()
    assert not pairs.any()
    assert np.isfinite(occupancy).all()
    assert np.isfinite(particles).all()


def test_launches_are_few_and_memory_is_kept(small):
    device = HostDevice()
    on_device = small.on(device)
    on_device.sums(make_positions(5), EDGE)
    assert len(device.launches) == 6 + 2 * small.block.rounds
    room = on_device._room
    on_device.sums(make_positions(1), EDGE)
    assert on_device._room is room


def test_a_network_too_wide_for_the_kernels_is_refused(small):
    wide = small.weights._replace(hidden_seen=np.zeros((2, 400, 8), np.float32))
    with pytest.raises(SurrogateError, match=r"has 410 inputs; kernels have room for 384"):
        OnDevice(HostDevice(), wide, small.constants, small.block.cutoff)


def test_numbers_stated_twice_agree():
    found = dict(re.findall(r"constexpr int (\w+) = (\d+);", join(KERNELS)))
    for name in ("THREADS", "ROWS", "WIDTH", "SOLVERS", "SHARED"):
        assert int(found[name]) == getattr(resistor_gpu, f"_{name}")
    assert resistor_gpu._SHARED >= 7 * resistor_gpu._SOLVERS  # sums of K_ab and the occupancy
