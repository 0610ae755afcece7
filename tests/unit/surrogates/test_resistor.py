"""The resistor network: Kirchhoff's laws, symmetries by construction, tensor and training."""

import copy
import math

import numpy as np
import pytest
import torch
from surrogate_cases import BOX, DIAMETER, make_positions, networks

from morphion.errors import SurrogateError
from morphion.surrogates.build import build, representation
from morphion.surrogates.data import read_labelled
from morphion.surrogates.images import SYMMETRIES
from morphion.surrogates.kirchhoff import dissipation, fields
from morphion.surrogates.networks import Flows, Targets, mean_diagonal
from morphion.surrogates.pairs import build_graph, find_pairs
from morphion.surrogates.surroundings import cubic_harmonics, gaussian_centres, pair_features

CPU = torch.device("cpu")
NEAR, FAR = 1.6, 2.2


def graph_of(positions, box=BOX, diameter=DIAMETER, near=NEAR, far=FAR):
    lengths = np.asarray(positions), box, diameter, near
    return build_graph(*lengths, find_pairs(*lengths, far, facets=True), CPU)


@pytest.fixture(scope="module")
def network():
    """A network whose every layer acts: no weight is left at 0."""
    model = build(networks()["resistor"], 25)
    model.initialise(torch.Generator().manual_seed(3))
    model.calibrate([(np.arange(8), lambda: graph_of(make_positions(8)))], np.full(8, 0.4))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def tensors(network, positions, **lengths):
    with torch.inference_mode():
        return network(graph_of(positions, **lengths)).tensor.double().numpy()


def power(graph, conductance):
    return dissipation(graph, conductance, fields(graph, conductance))


def line(count, axis, across=0.0):
    """Centres along an axis of a box of edge 5 (sphere diameter 1), evenly spaced."""
    centres = np.full((count, 3), across)
    centres[:, axis] = np.arange(count) * 5 / count
    return centres


def test_resistors_in_series_add_up_around_the_box():
    graph = graph_of(line(4, 0)[None], box=5.0, diameter=1.0, far=1.5)
    conductance = torch.tensor([0.5, 1.0, 2.0, 8.0], dtype=torch.float64)
    found = power(graph, conductance)[0].numpy()
    expected = np.zeros((3, 3))
    expected[0, 0] = 5.0**2 / (1 / conductance).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_resistors_in_parallel_add_up():
    rows = np.concatenate([line(4, 1), line(4, 1, across=2.5)])
    graph = graph_of(rows[None], box=5.0, diameter=1.0, far=1.5)
    conductance = torch.linspace(0.5, 4, len(graph.first), dtype=torch.float64)
    first_row = (graph.first < 4).numpy()
    resistance = 1 / conductance.numpy()
    expected = 5.0**2 * sum(1 / resistance[row].sum() for row in (first_row, ~first_row))
    assert power(graph, conductance)[0, 1, 1].item() == pytest.approx(expected, rel=1e-6)


def test_two_particles_alone_conduct_nothing_through_the_box():
    graph = graph_of([[[1.0, 1, 1], [1.7, 1.9, 1.4]]], box=5.0, diameter=1.0)
    found = power(graph, torch.ones(1, dtype=torch.float64))
    assert found.abs().max() < 1e-8


@pytest.fixture
def conducting():
    """A graph, and a conductance of each pair."""
    graph = graph_of(make_positions(2))
    generator = torch.Generator().manual_seed(0)
    shape = graph.first.shape
    conductance = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    return graph, conductance.requires_grad_()


def test_gradients_of_the_power_need_no_adjoint_solve(conducting):
    graph, conductance = conducting
    assert torch.autograd.gradcheck(lambda g: power(graph, g), (conductance,), rtol=1e-4)


def test_fields_know_how_they_change_with_the_conductances(conducting):
    graph, conductance = conducting
    graph = graph._replace(separation=graph.separation.double())
    assert torch.autograd.gradcheck(lambda g: fields(graph, g), (conductance,), rtol=1e-4)


def test_currents_and_occupancies_of_its_own_cost_a_network_nothing(network):
    graph = graph_of(make_positions(3))
    flow = network.flow(graph)
    tensor = flow.tensor.detach()
    particles = graph.shape[1]
    first, second = np.triu_indices(particles, 1)
    place = torch.zeros((particles, particles), dtype=torch.int64)
    place[first, second] = torch.arange(len(first))
    current = torch.zeros((3, len(first), 3))
    pair = place[graph.first % particles, graph.second % particles]
    current[graph.structure, pair] = flow.current.detach()
    held = flow.occupancy.detach()

    def errors(current, held, known=True, progress=0.0):
        flows = Flows(current, held, torch.full((3,), known))
        targets = Targets(mean_diagonal(tensor), tensor, flows, progress)
        return network.training_errors(graph, targets)

    assert errors(current, held).abs().max() < 1e-6
    # Twice the current is off by half of it, squared.
    torch.testing.assert_close(errors(2 * current, held), torch.full((3,), 0.25))
    assert errors(2 * current, held, progress=0.5).abs().max() < 1e-6
    assert errors(current, held.flip(1), progress=0.5).min() > 0
    # Of all particles as much more: half of what is held, squared.
    torch.testing.assert_close(
        errors(current, 2 * held, progress=0.5),
        network._occupancy_weight * held.square().mean(1) / (2 * held.mean(1)).square(),
    )
    assert errors(0 * current, 0 * held, known=False).abs().max() < 1e-6


def test_occupancies_grow_beyond_their_mean_as_what_is_learned_does(network):
    for learned, expected in ((-1.0, math.exp(-1)), (0.0, 1.0), (0.5, 1.5), (4.0, 5.0)):
        model = copy.deepcopy(network)
        with torch.no_grad():
            model.occupancy.weight.zero_()
            model.occupancy.bias.fill_(learned)
        found = model.flow(graph_of(make_positions(1))).occupancy
        torch.testing.assert_close(found, torch.full_like(found, expected))


def test_wedges_are_all_near_pairs_that_share_a_particle():
    positions = make_positions(2)
    graph = graph_of(positions)
    near = {(int(graph.first[p]), int(graph.second[p])) for p in graph.near}
    centres = positions.reshape(-1, 3).astype(np.float64)
    pairs = [(int(graph.first[p]), int(graph.second[p])) for p in graph.near]
    expected = sum(len(set(one) & set(other)) == 1 for one in near for other in near)
    assert len(graph.target) == expected
    for target, source, cosine in zip(graph.target, graph.source, graph.cosine, strict=True):
        (shared,) = set(pairs[target]) & set(pairs[source])
        arms = []
        for pair in (pairs[target], pairs[source]):
            (end,) = set(pair) - {shared}
            arm = centres[end] - centres[shared]
            arm -= BOX * np.round(arm / BOX)
            arms.append(arm / np.linalg.norm(arm))
        assert float(cosine) == pytest.approx(float(arms[0] @ arms[1]), abs=1e-5)


def test_pairs_that_are_kept_are_those_found_anew(dataset):
    data = read_labelled(dataset, "random")
    inputs = representation(networks()["resistor"], 25).hold(data, None, CPU)
    inputs.batch(np.array([4, 1]), 0)
    inputs.batch(np.array([7]), 0)
    rows = np.array([1, 7, 4])
    kept, found = inputs.batch(rows, 1), graph_of(data.positions[rows])
    for one, other in zip(kept, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cubic_harmonics_average_to_nothing_and_reach_one():
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(400_000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    values = cubic_harmonics(torch.from_numpy(direction)).numpy()
    error = values.std(axis=0) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0)) < 3 * error).all()
    assert abs(np.mean(values[:, 0] * values[:, 1])) < 3 * error.max()
    np.testing.assert_allclose(np.abs(values).max(axis=0), 1, atol=0.02)


def test_gaussians_far_from_a_pair_stay_normal_numbers():
    """Arithmetic below them is several times slower, and nothing shows it but the time."""
    centres = gaussian_centres(3.4, 44)
    features = pair_features(graph_of(make_positions(4)), centres)[:, :44]
    distance = graph_of(make_positions(4)).distance[:, None]
    assert (features >= torch.finfo(torch.float32).tiny).all()
    expected = torch.exp(-0.5 * ((distance - centres) / (centres[1] - centres[0])).square())
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-30)


def test_the_tensor_is_invariant_to_translations(network):
    positions = make_positions(6).astype(np.float64)
    before = tensors(network, positions)
    shifts = np.random.default_rng(1).uniform(0, BOX, (6, 1, 3))
    after = tensors(network, np.mod(positions + shifts, BOX))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5 * np.abs(before).max())


def test_the_tensor_turns_with_all_48_symmetries_of_the_cube(network):
    positions = make_positions(2).astype(np.float64)
    before = tensors(network, positions)
    for axes, signs in SYMMETRIES:
        matrix = np.zeros((3, 3))
        matrix[range(3), axes] = signs
        after = tensors(network, np.mod(positions @ matrix.T, BOX))
        expected = matrix @ before @ matrix.T
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-5 * np.abs(before).max())


def test_the_numbering_of_the_particles_does_not_matter(network):
    positions = make_positions(3)
    order = np.random.default_rng(2).permutation(positions.shape[1])
    before = tensors(network, positions)
    after = tensors(network, positions[:, order])
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5 * np.abs(before).max())


def test_a_box_repeated_along_each_axis_has_the_same_tensor(network):
    positions = make_positions(2).astype(np.float64)
    images = BOX * np.indices((2, 2, 2)).reshape(3, -1).T
    repeated = (positions[:, :, None] + images).reshape(2, -1, 3)
    before, after = tensors(network, positions), tensors(network, repeated, box=2 * BOX)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5 * np.abs(before).max())


def test_the_unit_of_length_does_not_matter(network):
    positions = make_positions(2).astype(np.float64)
    before = tensors(network, positions)
    after = tensors(network, 3 * positions, box=3 * BOX, diameter=3 * DIAMETER)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_a_lonely_particle_is_no_obstacle(network):
    found = tensors(network, [[[2.0, 2, 2], [4, 6, 2], [14, 14, 14]]])
    assert np.isfinite(found).all()
    assert (np.linalg.eigvalsh(found[0]) > 0).all()


def test_particles_that_do_not_meet_leave_the_solvent(network):
    found = tensors(network, [[[2.0, 2, 2], [14, 14, 14]]])[0]
    np.testing.assert_allclose(found, found[0, 0] * np.eye(3))
    assert found[0, 0] > 0
    with torch.inference_mode():
        alone = (
            without_solvent()(graph_of([[[2.0, 2, 2], [14, 14, 14]]])).tensor.double().numpy()[0]
        )
    assert 0 < alone[0, 0] < 1e-8


def test_a_training_in_a_box_without_room_for_the_cutoff_is_refused(network):
    with pytest.raises(SurrogateError, match=r"box edge is 4 sphere diameters.*cutoff = 2\.2"):
        graph_of(make_positions(1), box=20.0)


def test_a_box_too_small_for_the_cutoff_is_taken_several_times(network):
    positions = np.random.default_rng(5).uniform(0, 15, (2, 12, 3))
    images = 15.0 * np.indices((2, 2, 2)).reshape(3, -1).T
    repeated = (positions[:, :, None] + images).reshape(2, -1, 3)
    sees = representation(networks()["resistor"], 25)
    with torch.inference_mode():
        found = network(sees.of(positions, 15.0, DIAMETER, CPU)).tensor.numpy()
    expected = tensors(network, repeated, box=30.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("copies", range(1, 8))
def test_a_box_of_just_the_cutoffs_has_room_for_them(network, copies):
    sees = representation(networks()["resistor"], 25)
    for diameter in np.linspace(0.1, 9, 50):
        sees.of(np.zeros((1, 1, 3)), 4.4 * diameter / copies, diameter, CPU)


def homogeneous(positions, far, box=5.0):
    """Graph of structures in a medium of conductivity 1, and its conductances."""
    graph = graph_of(positions, box=box, diameter=1.0, far=far)
    return graph, (graph.facet / graph.distance).double()


@pytest.mark.parametrize("seed", range(3))
def test_whole_facets_leave_a_homogeneous_medium_no_space_beside_them(seed):
    """So dense that all facets lie within reach; Gauss's theorem, for each cell and for all."""
    lattice = np.stack(np.meshgrid(*(np.arange(5.0),) * 3), axis=-1).reshape(-1, 3)
    moved = lattice + np.random.default_rng(seed).uniform(-0.2, 0.2, lattice.shape)
    graph, conductance = homogeneous(moved[None], far=2.45)
    field = fields(graph, conductance)
    np.testing.assert_allclose(field, graph.separation, atol=1e-5)
    found = dissipation(graph, conductance, field)[0]
    np.testing.assert_allclose(found, graph.volume * np.eye(3), atol=1e-5 * graph.volume)


def with_solvent_alone(graph, k_0):
    """D*_ab of pairs that conduct as a homogeneous medium does, and of the solvent beside them; of
    as many cations in a volume as in any other."""
    model = build(networks()["resistor"].model_copy(update={"solvent": True}), 25).eval()
    conductance = k_0 * (graph.facet / graph.distance)
    around = torch.zeros(math.prod(graph.shape), model.around.mean.numel())
    model._conductance = lambda *_: (conductance, graph.beside, around)
    with torch.no_grad():
        model.conductivity.fill_(math.log(k_0))
        model.occupancy.weight.zero_()
        model.occupancy.bias.fill_(graph.volume / graph.shape[1] - 1)
        return model.flow(graph).tensor


@pytest.mark.parametrize("seed", range(3))
def test_solvent_beside_pairs_leaves_a_homogeneous_medium_nothing_to_fill(seed):
    """Cells are bricks with corners beyond reach, and all facets those of close pairs."""
    gaps = np.random.default_rng(seed).uniform(0.85, 1.15, (3, 5))
    planes = np.cumsum(5 * gaps / gaps.sum(1, keepdims=True), axis=1)
    bricks = np.stack(np.meshgrid(*planes), axis=-1).reshape(-1, 3)
    graph, _ = homogeneous(bricks[None], far=1.35)
    assert float((graph.beside * graph.distance).sum()) > 5
    np.testing.assert_allclose(with_solvent_alone(graph, 0.3)[0], 0.3 * np.eye(3), atol=2e-6)


@pytest.mark.parametrize("far", [1.6, 2.2])
def test_solvent_fills_what_facets_leave(far):
    graph = graph_of(make_positions(6), far=far)
    pairs = graph.facet / graph.distance + graph.beside
    covered = dissipation(graph, pairs, graph.separation)
    space = graph.volume - mean_diagonal(covered)
    assert (space > 0.001 * graph.volume).any()
    assert (space < graph.volume).all()
    # Where farther pairs meet, potentials lower the power.
    lost = mean_diagonal(covered - power(graph, pairs))
    found = with_solvent_alone(graph, 0.3)
    np.testing.assert_allclose(mean_diagonal(found), 0.3 * (1 - lost / graph.volume), rtol=1e-5)


def test_around_particles_far_apart_d_is_that_of_the_solvent():
    found = with_solvent_alone(graph_of([[[2.0, 2, 2], [14, 14, 14]]]), 0.3)
    np.testing.assert_allclose(found[0], 0.3 * np.eye(3), rtol=1e-6, atol=1e-8)


def without_solvent():
    model = build(networks()["resistor"].model_copy(update={"solvent": False}), 25)
    model.initialise(torch.Generator().manual_seed(3))
    return model


def test_a_network_starts_from_the_solvent_that_it_is_told():
    model = build(networks()["resistor"], 25)
    model.initialise(torch.Generator().manual_seed(3))
    model.know_solvent(0.02)
    model.calibrate([(np.arange(8), lambda: graph_of(make_positions(8)))], np.full(8, 0.4))
    assert float(model.unit) != pytest.approx(1.0, abs=0.1)
    assert float(model.unit) * model._k_0() == pytest.approx(0.02, rel=1e-5)


LONELY = np.array([[[2.0, 2, 2], [14, 14, 14]]])


def test_of_a_structure_without_a_way_through_nothing_is_learned():
    conducting = np.random.default_rng(1).uniform(0, BOX, (4, 60, 3))
    few = [(np.arange(4), lambda: graph_of(conducting))] * 30
    units = []
    for batches in (few, [*few, (np.array([4]), lambda: graph_of(LONELY))]):
        model = without_solvent()
        model.calibrate(batches, np.full(5, 0.4))
        units.append(float(model.unit))
    assert units[0] == units[1]
    label = 0.4 * torch.eye(3)[None]
    mean = label.diagonal(dim1=1, dim2=2).mean(1)
    model.errors(model(graph_of(LONELY)).tensor, mean, label).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_many_structures_without_a_way_through_are_refused_with_what_would_help():
    batches = [(np.arange(8), lambda: graph_of(make_positions(8)))]
    with pytest.raises(SurrogateError, match=r"50 % .*raise cutoff, or leave out solvent: false"):
        without_solvent().calibrate(batches, np.full(8, 0.4))


@pytest.mark.parametrize("layer", ["occupancy", "conductance", "far", "beside"])
def test_a_guess_beyond_single_precision_does_not_end_a_training(layer):
    """As of an annealed structure in the sixth batch of a retraining."""
    model, label = without_solvent().train(), torch.eye(3).expand(8, 3, 3) / 2
    with torch.no_grad():
        getattr(model, layer).bias.fill_(100.0)
    errors = model.training_errors(graph_of(make_positions(8)), Targets(label[:, 0, 0], label))
    errors.sum().backward()
    assert torch.isfinite(errors).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_the_loss_vanishes_at_the_labels_alone(network):
    label = torch.diag(torch.tensor([0.2, 0.3, 0.4]))[None]
    mean = label.diagonal(dim1=1, dim2=2).mean(1)
    assert network.errors(label, mean, label).item() == 0
    off = label.clone()
    off[0, 0, 1] = off[0, 1, 0] = 0.01
    assert network.errors(off, mean, label).item() > 0
