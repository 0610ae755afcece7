"""The periodic network is exactly invariant, and its tensor turns with the structure."""

import numpy as np
import pytest
import torch

from morphion.config.surrogates import PeriodicNetwork, PeriodicTraining
from morphion.errors import SurrogateError
from morphion.surrogates.build import build, representation
from morphion.surrogates.cells import draw_cells
from morphion.surrogates.cube import SYMMETRIES, orbits, polyphase

DIAMETER, BOX = 9.602432, 75.0
CPU = torch.device("cpu")


def structures(count, seed=0):
    return np.random.default_rng(seed).uniform(0, BOX, (count, 91, 3))


def network(image="soft", **changes):
    """A network as training leaves one: calibrated, and with no weight at 0; and its inputs."""
    block = PeriodicNetwork(kind="periodic", image=image, filters=6, neurons=8, **changes)
    sees = representation(block, 75)
    model = build(block, sees.size)
    generator = torch.Generator().manual_seed(5)
    model.initialise(generator)
    cells = sees.of(structures(8, 1), BOX, DIAMETER, CPU)
    diffusivity = np.linspace(0.4, 0.7, 8)
    moments = (
        part((0, 2, 3, 4), keepdim=True).numpy() for part in (cells.float().mean, cells.float().std)
    )
    model.set_normalisation(tuple(moments), diffusivity)
    model.calibrate([(np.arange(8), lambda: cells)], diffusivity)
    with torch.no_grad():
        found = model.diffusivity(model(cells)).double()
        assert found.log().mean().item() == pytest.approx(np.log(diffusivity).mean(), abs=1e-5)
        for weights in model.parameters():
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator))

    def predict(positions):
        with torch.inference_mode():
            return torch.cat(
                [model(sees.of(p, BOX, DIAMETER, CPU)) for p in np.array_split(positions, 6)]
            ).double()

    return model.eval(), predict


def turned(positions, symmetry, shift):
    """Positions after a symmetry of the cube and a shift by whole voxels."""
    axes, signs = SYMMETRIES[symmetry]
    return (positions[:, list(axes)] * np.array(signs) + shift) % BOX


@pytest.mark.parametrize("image", ["binary", "soft"])
@pytest.mark.parametrize("cell", [3, 5])
def test_any_shift_and_any_symmetry_leave_the_prediction_unchanged(image, cell):
    model, predict = network(image, cell=cell)
    rng = np.random.default_rng(2)
    one, other = structures(2)
    views = [turned(one, symmetry, rng.integers(75, size=3)) for symmetry in range(48)]
    output = predict(np.stack([one, other, *views]))
    found = model.diffusivity(output)
    assert abs(found[1] / found[0] - 1) > 1e-3, "the network does not see the structure"
    torch.testing.assert_close(found[2:], found[:1].expand(48), rtol=1e-5, atol=0)
    for symmetry, tensor in enumerate(output[2:]):
        axes, signs = SYMMETRIES[symmetry]
        matrix = torch.eye(3, dtype=torch.float64)[list(axes)] * torch.tensor(signs)[:, None]
        expected = matrix @ output[0] @ matrix.T
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-5 * found[0].item())


def test_every_shift_along_the_axes_and_diagonals_leaves_the_prediction_unchanged():
    model, predict = network("binary")
    one = structures(1)[0]
    shifts = [(i, j * i, k * i) for j, k in ((0, 0), (1, 2)) for i in range(75)]
    found = model.diffusivity(predict(np.stack([(one + shift) % BOX for shift in shifts])))
    torch.testing.assert_close(found, found[:1].expand(150), rtol=1e-5, atol=0)


def test_a_kernel_that_is_not_tied_would_be_seen_to_turn():
    model, predict = network()
    model.convolutions[0].orbit = torch.arange(3**3).view(3, 3, 3) % 4
    one = structures(1)[0]
    before, after = model.diffusivity(predict(np.stack([one, (-one) % BOX])))
    assert abs(after / before - 1) > 1e-4


@pytest.mark.parametrize(
    ("edge", "sizes"), [(3, [1, 6, 8, 12]), (5, [1, 6, 6, 8, 8, 12, 12, 24, 24, 24])]
)
def test_orbits_are_those_of_the_cubes_symmetries(edge, sizes):
    found = orbits(edge)
    assert sorted(np.bincount(found.ravel())) == sizes
    assert len(np.unique(orbits(7))) == 20
    # Two elements are in one orbit if their distances from the centre along the axes are.
    away = np.abs(np.indices(found.shape) - edge // 2).reshape(3, -1)
    assert len({(*sorted(a), o) for a, o in zip(away.T, found.ravel(), strict=True)}) == len(sizes)


def test_shifted_or_mirrored_planes_choose_the_shifted_or_mirrored_grid():
    planes = np.random.default_rng(3).integers(0, 1000, 30)
    first = polyphase(planes, 6)
    assert polyphase(np.roll(planes, 4), 6) == (first + 4) % 6
    assert polyphase(planes[::-1].copy(), 6) == -first % 6


def test_cells_count_spheres_and_their_pairs_by_volume():
    distance, radius = 11.0, 0.75 * DIAMETER
    pair = np.array([[[20.3, 30.1, 40.7], [20.3, 30.1, 40.7 + distance]]])
    soft = draw_cells(pair, BOX, DIAMETER, 75, 5, (0.5, 0.75), soft=True)[0]
    found = soft.sum((1, 2, 3), dtype=float) * 5**3
    # The lens that two spheres share.
    lens = np.pi / 12 * (4 * radius + distance) * (2 * radius - distance) ** 2
    edges = np.array([DIAMETER / 2, radius])
    # A ramp from R - 1/2 to R + 1/2 holds more than the sphere: its surface is curved.
    np.testing.assert_allclose(found[:2], 2 * 4 / 3 * np.pi * (edges**3 + edges / 4), rtol=3e-3)
    assert found[2] == 0, "spheres that do not touch"
    assert found[3] == pytest.approx(lens, rel=0.05)
    binary = draw_cells(pair, BOX, DIAMETER, 75, 5, (0.5, 0.75), soft=False)[0]
    np.testing.assert_allclose(binary.sum((1, 2, 3), dtype=float) * 5**3, found, rtol=0.05)


def test_a_sphere_that_meets_its_own_image_is_counted_with_it():
    alone = np.full((1, 1, 3), 1.0)
    drawn = draw_cells(alone, 8.0, 8.0, 8, 2, (0.5, 0.8), soft=True)[0]
    assert drawn[1].sum() * 8 == pytest.approx(4 / 3 * np.pi * 6.4**3, rel=0.02)
    assert drawn[3].sum() > 0


@pytest.mark.parametrize(("voxels", "cell"), [(24, 5), (10, 5)])
def test_cells_that_do_not_divide_the_image_are_refused(voxels, cell):
    with pytest.raises(SurrogateError, match=rf"cell = {cell} does not divide .* = {voxels}"):
        build(PeriodicNetwork(kind="periodic", cell=cell), voxels)


def test_half_precision_changes_the_prediction_by_its_rounding_only():
    model, predict = network()
    positions = structures(6)
    full = model.diffusivity(predict(positions))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = predict(positions)
    torch.testing.assert_close(model.diffusivity(half), full, rtol=0.1, atol=0)


def test_augmentation_that_could_change_nothing_is_refused():
    with pytest.raises(ValueError, match="augment"):
        PeriodicTraining(augment=True)
