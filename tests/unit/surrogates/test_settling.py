"""Last layers fitted to D* alone: steps of Gauss and Newton, kept where validation gains."""

import numpy as np
import pytest
import torch
from resistor_cases import Case, make_positions

from morphion.surrogates.settling import Examples, Told, settle

WEIGHTS = 12


def examples(count: int, noise: float, seed: int) -> Examples:
    """Structures whose ln D* is linear in twelve weights, of which the true ones are 1 ... 12."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, WEIGHTS)) * np.geomspace(0.1, 3, WEIGHTS)
    logarithm = features @ np.arange(1, WEIGHTS + 1) / 10 + noise * rng.normal(size=count)
    return Examples(lambda: [features], np.exp(logarithm))


def linear(weights: np.ndarray, found: Examples) -> Told:
    (features,) = found.batches()
    return Told(np.log(found.diffusivity) - features @ weights / 10, features / 10)


def error(weights: np.ndarray, found: Examples) -> float:
    return float(np.sqrt(np.mean(linear(weights, found).error ** 2)))


def test_linear_weights_become_those_of_least_squares():
    training, validation = examples(500, 0.05, 1), examples(200, 0.05, 2)
    weights = settle(np.zeros(WEIGHTS), linear, training, validation)
    (features,) = training.batches()
    best = np.linalg.lstsq(features / 10, np.log(training.diffusivity), rcond=None)[0]
    assert error(weights, validation) == pytest.approx(error(best, validation), rel=0.02)
    assert error(weights, validation) < 0.06 < 0.5 * error(np.zeros(WEIGHTS), validation)


def test_weights_that_chance_alone_would_better_stay():
    training, validation = examples(15, 0.05, 1), examples(200, 0.05, 2)
    true = np.arange(1.0, WEIGHTS + 1)
    assert settle(true, linear, training, validation) is true


def test_nothing_is_left_to_gain_where_there_are_no_errors():
    without = examples(50, 0.0, 1)
    true = np.arange(1.0, WEIGHTS + 1)
    exact = Examples(without.batches, np.exp(without.batches()[0] @ true / 10))
    np.testing.assert_array_equal(settle(true, linear, exact, exact), true)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_step_to_errors_that_are_no_numbers_does_not_count(broken):
    def told_with(weights, found):
        told = linear(weights, found)
        return told if not weights.any() else told._replace(error=told.error * broken)

    given = np.zeros(WEIGHTS)
    assert settle(given, told_with, examples(50, 0.1, 1), examples(50, 0.1, 2)) is given


def test_a_network_finds_the_layers_that_its_labels_were_made_with():
    case = Case("small")
    sets, labels = [make_positions(48), make_positions(24)], []
    for positions in sets:
        with torch.inference_mode():
            labels.append(case.model.diffusivity(case.model(case.graph(positions))).double())
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        case.model.train()
        for layer in (case.model.pair, case.model.occupancy):
            layer.weight += 0.1 * torch.randn(layer.weight.shape, generator=rng)
    case.model.eval()

    def of(positions, diffusivity):
        return Examples(
            lambda: [case.graph(part) for part in np.array_split(positions, 3)], diffusivity.numpy()
        )

    def errors():
        with torch.inference_mode():
            found = case.model.diffusivity(case.model(case.graph(sets[1]))).double()
        return float((found / labels[1] - 1).square().mean().sqrt())

    before = errors()
    assert case.model.settle(*map(of, sets, labels))
    assert errors() < 0.1 * before


def test_what_gains_too_little_leaves_a_network_as_it_is():
    case, sets = Case("odd"), []
    for count in (12, 24):
        graph = case.graph(make_positions(count))
        with torch.inference_mode():
            told = case.model.diffusivity(case.model(graph)).double().numpy()
        noisy = told * np.exp(0.01 * np.random.default_rng(count).normal(size=count))
        sets.append(Examples(lambda graph=graph: [graph], noisy))
    before = {name: part.clone() for name, part in case.model.state_dict().items()}
    assert not case.model.settle(*sets)
    for name, part in case.model.state_dict().items():
        torch.testing.assert_close(part, before[name], rtol=0, atol=0)
