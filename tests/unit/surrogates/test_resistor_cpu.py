"""Predictions of the resistor network by compiled loops: torch's, structure by structure."""

import numba
import numpy as np
import pytest
import torch
from resistor_cases import SIZES, Case, make_positions

from morphion.surrogates.leverage import leverage
from morphion.surrogates.networks import mean_diagonal
from morphion.surrogates.resistor_cpu import _silu


@pytest.fixture(scope="module", params=SIZES)
def case(request):
    return Case(request.param)


def compiled(case, positions):
    with torch.inference_mode():
        return case.model(case.graph(positions)).tensor.numpy()


def by_torch(case, positions):
    with torch.inference_mode():
        return case.model.flow(case.graph(positions)).tensor.numpy()


@pytest.mark.parametrize("count", [1, 6])
def test_they_are_those_of_torch(case, count):
    positions = make_positions(count)
    expected = by_torch(case, positions)
    size = np.abs(expected).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(compiled(case, positions) / size, expected / size, rtol=0, atol=1e-5)


def test_sums_and_novelty_are_those_of_torch(case):
    graph = case.graph(make_positions(6))
    with torch.inference_mode():
        found, expected = case.model(graph), case.model.flow(graph)
        flowing = case.model._sensitivities(graph, expected)
    looped = case.by_cores(make_positions(6)).sensitivities(graph.volume, case.model._k_0())
    size = np.abs(flowing).max()
    np.testing.assert_allclose(looped / size, flowing / size, rtol=0, atol=1e-5)
    of_torch = leverage(flowing, case.model.familiar.numpy())
    np.testing.assert_allclose(found.novelty, of_torch, rtol=1e-4)


def test_distances_that_no_training_structure_has_leave_novelty_as_it_is():
    """Of Gaussians far away loops keep nothing, and torch a tail of 1e-35."""
    case, rng = Case("default", 0), np.random.default_rng(5)
    edge = 5.0
    crystal = np.indices((4, 4, 4)).reshape(3, -1).T * edge / 4
    positions = crystal + rng.uniform(-0.05, 0.05, (24, 64, 3))
    graphs = [case.graph(positions, edge), case.graph(positions[:1, 1:], edge)]
    case.model.remember(graphs[:1])
    for graph in graphs:
        with torch.inference_mode():
            found = case.model(graph).novelty
            case.model.by_torch_alone = True
            expected = case.model(graph).novelty
            case.model.by_torch_alone = False
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_sensitivities_are_derivatives_of_the_logarithm_of_d(case):
    graph, model = case.graph(make_positions(3)), case.model
    found = model._sensitivities(graph, model.flow(graph))
    weights = (model.pair.weight, model.occupancy.weight, model.occupancy.bias)
    for b, logarithm in enumerate(torch.log(mean_diagonal(model.flow(graph).tensor))):
        parts = torch.autograd.grad(logarithm, weights, retain_graph=True)
        expected = torch.cat([part.flatten() for part in parts]).numpy()
        np.testing.assert_allclose(
            found[b], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
        )


def test_each_structure_alone_is_as_in_a_batch_and_on_any_number_of_threads(case):
    positions = make_positions(5)
    together = compiled(case, positions)
    alone = [compiled(case, positions[b : b + 1])[0] for b in range(5)]
    np.testing.assert_array_equal(together, alone)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(compiled(case, positions), together)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize(
    "positions", [[[[0.4, 0.4, 0.4], [2.8, 2.8, 2.8]]], [[[0.4, 0.4, 0.4], [1.2, 1.0, 0.9]]]]
)
def test_structures_of_no_pair_or_one_are_those_of_torch(case, positions):
    expected = by_torch(case, positions)
    np.testing.assert_allclose(compiled(case, positions), expected, rtol=1e-5, atol=1e-7)


def test_weights_may_change_between_evaluations():
    case, positions = Case("small"), make_positions(2)
    before = compiled(case, positions)
    case.model.train()
    with torch.no_grad():
        case.model.conductance.bias += 1
    case.model.eval()
    after = compiled(case, positions)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()
    np.testing.assert_allclose(after, by_torch(case, positions), rtol=1e-4, atol=1e-6)


def test_a_network_of_broken_weights_predicts_no_number():
    case = Case("small")
    with torch.no_grad():
        case.model.train().far.bias.fill_(np.nan)
    case.model.eval()
    assert np.isnan(compiled(case, make_positions(2))).all()


def test_silu_is_exact_to_the_last_digits():
    x = np.concatenate([np.linspace(-30, 30, 100_001), [-700, -88, 88, 1e4]]).astype(np.float32)
    found = x[None].copy()
    _silu(found)
    exact = x.astype(np.float64) / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(found[0], exact, rtol=1e-6, atol=1e-30)
