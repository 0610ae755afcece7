"""The graph network: invariances by construction, what it sees, and its training."""

import numpy as np
import pytest
import torch
from surrogate_cases import BOX, DIAMETER, make_config, make_positions, networks

from morphion.errors import SurrogateError
from morphion.surrogates import Surrogate, train
from morphion.surrogates.build import build, representation
from morphion.surrogates.images import SYMMETRIES

CPU = torch.device("cpu")
BLOCK = networks()["graph"]


def graph_of(positions, box=BOX, diameter=DIAMETER):
    return representation(BLOCK, 25).of(np.asarray(positions), box, diameter, CPU)


@pytest.fixture(scope="module")
def network():
    """A network whose every layer acts: no weight is left at 0."""
    model = build(BLOCK, 0)
    model.initialise(torch.Generator().manual_seed(3))
    model.calibrate([(np.arange(8), lambda: graph_of(make_positions(8)))], np.full(8, 0.4))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def axes(network, positions, **lengths):
    """D* along each axis, [B, 3]."""
    with torch.inference_mode():
        return network(graph_of(positions, **lengths)).double().numpy()


def test_translations_do_not_matter(network):
    positions = make_positions(6).astype(np.float64)
    shifts = np.random.default_rng(1).uniform(0, BOX, (6, 1, 3))
    shifted = axes(network, np.mod(positions + shifts, BOX))
    np.testing.assert_allclose(shifted, axes(network, positions), rtol=1e-5)


def test_the_axes_follow_all_48_symmetries_of_the_cube(network):
    positions = make_positions(4).astype(np.float64)
    before = axes(network, positions)
    assert np.ptp(before, axis=1).min() > 1e-3 * before.max()
    for order, signs in SYMMETRIES:
        turned = np.mod(positions[:, :, order] * signs, BOX)
        np.testing.assert_allclose(axes(network, turned), before[:, order], rtol=1e-5)


def test_numberings_do_not_matter(network):
    positions = make_positions(3)
    order = np.random.default_rng(2).permutation(positions.shape[1])
    after = axes(network, positions[:, order])
    np.testing.assert_allclose(after, axes(network, positions), rtol=1e-5)


def test_a_repeated_box_and_another_unit_of_length_do_not_matter(network):
    positions = make_positions(2).astype(np.float64)
    before = axes(network, positions)
    images = BOX * np.indices((2, 2, 2)).reshape(3, -1).T
    repeated = (positions[:, :, None] + images).reshape(2, -1, 3)
    np.testing.assert_allclose(axes(network, repeated, box=2 * BOX), before, rtol=1e-5)
    scaled = axes(network, 3 * positions, box=3 * BOX, diameter=3 * DIAMETER)
    np.testing.assert_allclose(scaled, before, rtol=1e-5)


def test_a_particle_hears_of_the_whole_structure(network):
    far = np.array([[[2.0, 2, 2], [6, 2, 2], [14, 14, 14], [18, 14, 14]]])
    moved = far.copy()
    moved[0, 3, 0] += 1
    assert np.abs(axes(network, moved) / axes(network, far) - 1).max() > 1e-5


def test_a_lonely_particle_is_no_obstacle(network):
    assert np.isfinite(axes(network, [[[2.0, 2, 2], [14, 14, 14]]])).all()


def test_a_box_too_small_for_the_cutoff_is_taken_several_times(network):
    positions = np.random.default_rng(5).uniform(0, 9, (2, 6, 3))
    images = 9.0 * np.indices((3, 3, 3)).reshape(3, -1).T
    as_given = axes(network, positions, box=9.0)
    by_hand = axes(network, (positions[:, :, None] + images).reshape(2, -1, 3), box=27.0)
    np.testing.assert_allclose(as_given, by_hand, rtol=1e-5)


def test_the_loss_vanishes_at_the_labels_alone(network):
    label = torch.diag(torch.tensor([0.2, 0.3, 0.4]))[None]
    along = label.diagonal(dim1=1, dim2=2)
    assert network.errors(along, along.mean(1), label).item() == 0
    assert network.errors(along.flip(1), along.mean(1), label).item() > 0


def test_training_lowers_the_error_and_knows_no_tensor(tmp_path, dataset, positions):
    config = make_config(tmp_path, max_epochs=8)
    train(config, dataset, "graph", "random", 0, tmp_path / "model")
    history = (tmp_path / "model" / "history.csv").read_text().splitlines()
    losses = [float(row.split(",")[1]) for row in history[1:]]
    assert losses[-1] < 0.7 * losses[0]
    surrogate = Surrogate.load(tmp_path / "model", "cpu")
    prediction, spread = surrogate.predict(positions, BOX, DIAMETER)
    assert (prediction > 0).all()
    assert (spread > 0).all()
    assert surrogate.any_box
    with pytest.raises(SurrogateError, match="'graph', which predicts no tensor"):
        surrogate.predict_with_tensor(positions, BOX, DIAMETER)
