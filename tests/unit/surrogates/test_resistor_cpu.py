"""Predictions of the resistor network by compiled loops: torch's, structure by structure."""

import numba
import numpy as np
import pytest
import torch
from surrogate_cases import BOX, DIAMETER, networks

from morphion.surrogates.build import build, representation
from morphion.surrogates.resistor_cpu import _silu

CPU = torch.device("cpu")
# The second has sizes that are no multiples of four, and more neurons than features; the third is
# the default one but for its reach.
SIZES = {
    "small": {},
    "odd": {"radial": 5, "channels": 5, "neurons": 11, "rounds": 1, "solvent": False},
    "default": {"radial": 44, "channels": 16, "neurons": 64, "rounds": 3},
}


def make_positions(count, particles=50):
    """Spheres without overlaps [count, particles, 3], close enough for a way through."""
    rng = np.random.default_rng(count)
    positions = np.empty((count, particles, 3))
    for structure in positions:
        placed = 0
        while placed < particles:
            away = structure[:placed] - (centre := rng.uniform(0, BOX, 3))
            away -= BOX * np.rint(away / BOX)
            if (np.square(away).sum(1) >= DIAMETER**2).all():
                structure[placed] = centre
                placed += 1
    return positions


@pytest.fixture(scope="module", params=SIZES)
def network(request):
    """A network whose every layer acts, and what it sees of structures."""
    block = networks()["resistor"].model_copy(update=SIZES[request.param])
    model, sees = build(block, 25), representation(block, 25)
    model.initialise(torch.Generator().manual_seed(3))
    seen = sees.of(make_positions(8), BOX, DIAMETER, CPU)
    model.calibrate([(np.arange(8), lambda: seen)], np.full(8, 0.4))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval(), sees


def compiled(model, sees, positions):
    with torch.inference_mode():
        return model(sees.of(np.asarray(positions), BOX, DIAMETER, CPU)).numpy()


def by_torch(model, sees, positions):
    with torch.inference_mode():
        return model.flow(sees.of(np.asarray(positions), BOX, DIAMETER, CPU)).tensor.numpy()


@pytest.mark.parametrize("count", [1, 6])
def test_they_are_those_of_torch(network, count):
    positions = make_positions(count)
    expected = by_torch(*network, positions)
    size = np.abs(expected).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(
        compiled(*network, positions) / size, expected / size, rtol=0, atol=1e-5
    )


def test_each_structure_alone_is_as_in_a_batch_and_on_any_number_of_threads(network):
    positions = make_positions(5)
    together = compiled(*network, positions)
    alone = [compiled(*network, positions[b : b + 1])[0] for b in range(5)]
    np.testing.assert_array_equal(together, alone)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(compiled(*network, positions), together)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("positions", [[[[2.0, 2, 2], [14, 14, 14]]], [[[2.0, 2, 2], [6, 4, 3]]]])
def test_structures_of_no_pair_or_one_are_those_of_torch(network, positions):
    expected = by_torch(*network, positions)
    np.testing.assert_allclose(compiled(*network, positions), expected, rtol=1e-5, atol=1e-7)


def test_weights_may_change_between_evaluations():
    block = networks()["resistor"]
    model, sees = build(block, 25), representation(block, 25)
    model.initialise(torch.Generator().manual_seed(3))
    positions = make_positions(2)
    before = compiled(model.eval(), sees, positions)
    model.train()
    with torch.no_grad():
        model.conductance.bias += 1
    after = compiled(model.eval(), sees, positions)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()
    np.testing.assert_allclose(after, by_torch(model, sees, positions), rtol=1e-4, atol=1e-6)


def test_a_network_of_broken_weights_predicts_no_number():
    block = networks()["resistor"]
    model, sees = build(block, 25), representation(block, 25)
    model.initialise(torch.Generator().manual_seed(3))
    with torch.no_grad():
        model.far.bias.fill_(np.nan)
    assert np.isnan(compiled(model.eval(), sees, make_positions(2))).all()


def test_silu_is_exact_to_the_last_digits():
    x = np.concatenate([np.linspace(-30, 30, 100_001), [-700, -88, 88, 1e4]]).astype(np.float32)
    found = x[None].copy()
    _silu(found)
    exact = x.astype(np.float64) / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(found[0], exact, rtol=1e-6, atol=1e-30)
