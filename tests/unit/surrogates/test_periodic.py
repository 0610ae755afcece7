"""The periodic network is exactly invariant, and starts from what it can know."""

import numpy as np
import pytest
import torch

from morphion.config.surrogates import PeriodicNetwork, PeriodicStage, PeriodicTraining
from morphion.errors import SurrogateError
from morphion.structures.voxels import soft_voxels, voxelise
from morphion.surrogates.build import build
from morphion.surrogates.cube import SYMMETRIES, orbits, polyphase, pool
from morphion.surrogates.metrics import pearson

DIAMETER = 9.602432
ONE_STAGE = (PeriodicStage(pool=3, filters=4, kernels=(5, 3)),)
PYRAMID = (
    PeriodicStage(pool=3, filters=4, kernels=(5, 3)),
    PeriodicStage(pool=5, filters=6, kernels=(3,)),
)


def network(stages, voxels, image="soft", **changes):
    """A network as training leaves one: calibrated, and with no weight at 0."""
    block = PeriodicNetwork(kind="periodic", stages=stages, image=image, neurons=8, **changes)
    model = build(block, voxels)
    generator = torch.Generator().manual_seed(5)
    model.initialise(generator)
    images, diffusivity = structures(8, voxels)[image][:, None], np.linspace(0.4, 0.7, 8)
    filled = images.float()
    model.set_normalisation((filled.mean().numpy(), filled.std().numpy()), diffusivity)
    model.calibrate([(np.arange(8), lambda: images)], diffusivity)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator))
    return model.eval()


def structures(count, voxels, seed=0, particles=91):
    """Images of random structures, uint8 [count, 1, n, n, n]: one binary and one soft set."""
    positions = np.random.default_rng(seed).uniform(0, voxels, (count, particles, 3))
    return {
        "binary": torch.from_numpy(voxelise(positions, voxels, DIAMETER, voxels).view(np.uint8)),
        "soft": torch.from_numpy(soft_voxels(positions, voxels, DIAMETER, voxels)),
    }


def moved(image, shift, symmetry):
    """An image [n, n, n] shifted by whole voxels, then turned or mirrored."""
    axes, signs = SYMMETRIES[symmetry]
    turned = image.roll(tuple(shift), (0, 1, 2)).permute(*axes)
    return turned.flip([axis for axis, sign in enumerate(signs) if sign == -1])


@pytest.mark.parametrize("image", ["binary", "soft"])
@pytest.mark.parametrize("stages", [ONE_STAGE, PYRAMID])
def test_any_shift_and_any_symmetry_leave_the_prediction_unchanged(stages, image):
    model = network(stages, 75, image)
    rng = np.random.default_rng(2)
    one = structures(1, 75)[image][0]
    views = [moved(one, rng.integers(75, size=3), symmetry) for symmetry in range(48)]
    other = structures(1, 75, seed=1)[image]
    batch = torch.cat((one[None], other, torch.stack(views)))[:, None]
    with torch.inference_mode():
        found = torch.cat([model(part) for part in batch.split(10)]).double()
    assert abs(found[1] / found[0] - 1) > 1e-3, "the network does not see the structure"
    torch.testing.assert_close(found[2:], found[:1].expand(48), rtol=1e-5, atol=0)


def test_every_shift_along_the_axes_and_diagonals_leaves_the_prediction_unchanged():
    model = network((PeriodicStage(pool=5, filters=4, kernels=(3, 3)),), 75, "binary")
    one = structures(1, 75)["binary"][0]
    shifts = [(i, j * i, k * i) for j, k in ((0, 0), (1, 2)) for i in range(75)]
    views = torch.stack([one.roll(shift, (0, 1, 2)) for shift in shifts])[:, None]
    with torch.inference_mode():
        found = torch.cat([model(part) for part in views.split(25)])
    torch.testing.assert_close(found, found[:1].expand(150), rtol=1e-5, atol=0)


def test_a_kernel_that_is_not_tied_would_be_seen_to_turn():
    model = network(ONE_STAGE, 75)
    convolution = model.stages[0].convolutions[0]
    convolution.orbit = torch.arange(5**3).view(5, 5, 5) % 9
    one = structures(1, 75)["soft"][0]
    with torch.inference_mode():
        before, after = model(torch.stack((one, one.flip(0)))[:, None])
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


def test_a_shifted_or_mirrored_image_chooses_the_shifted_or_mirrored_grid():
    image = structures(1, 30, particles=6)["soft"].float()
    first = polyphase(image, 6)
    shift = torch.tensor([4, 25, 8])
    shifted = image.roll(tuple(shift.tolist()), (1, 2, 3))
    assert torch.equal(polyphase(shifted, 6), (first + shift) % 6)
    assert torch.equal(polyphase(image.flip((1, 2, 3)), 6), (-first) % 6)
    torch.testing.assert_close(
        pool(image, first, 3).sum((1, 2, 3)), image.sum((1, 2, 3)), rtol=0, atol=0
    )
    straight = torch.nn.functional.avg_pool3d(image[:, None], 3)[:, 0] * 27
    torch.testing.assert_close(pool(image, torch.zeros_like(first), 3), straight)


def test_pools_that_do_not_divide_the_image_are_refused():
    with pytest.raises(
        SurrogateError,
        match=r"3 x 5 = 15, do not divide geometry\.voxels = 24; .* \[1, 2, 3, 4, 6, 8, 12, 24\]",
    ):
        network(PYRAMID, 24)


def test_other_images_than_of_75_voxels_are_taken():
    model = network((PeriodicStage(pool=2, filters=3, kernels=(3,)),), 16)
    with torch.inference_mode():
        assert model(torch.randint(0, 255, (2, 1, 16, 16, 16), dtype=torch.uint8)).shape == (2,)


def test_half_precision_changes_the_prediction_by_its_rounding_only():
    model, image = network(PYRAMID, 75), structures(2, 75)["soft"][:, None]
    with torch.inference_mode():
        full = model(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(image)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0)
    assert half.dtype == torch.float32


def test_calibration_starts_from_a_linear_fit_of_the_training_set():
    rng = np.random.default_rng(4)
    images = [structures(8, 30, seed, particles=6)["soft"][:, None] for seed in range(8)]
    stages = (PeriodicStage(pool=3, filters=8, kernels=(3, 3)),)
    model = build(PeriodicNetwork(kind="periodic", stages=stages), 30)
    model.initialise(torch.Generator().manual_seed(0))
    # Something that an image knows: how much of it is filled.
    filled = torch.cat(images).float().mean((1, 2, 3, 4)).numpy()
    diffusivity = np.exp(filled / filled.std() * 0.3 + rng.normal(0, 0.01, 64))
    model.set_normalisation((np.float32(10), np.float32(50)), diffusivity)
    batches = [(np.arange(8 * k, 8 * k + 8), lambda k=k: images[k]) for k in range(8)]
    model.calibrate(batches, diffusivity)
    with torch.inference_mode():
        found = torch.cat([model(batch) for batch in images]).numpy()
    assert pearson(np.log(diffusivity), np.log(found)) > 0.95


def test_augmentation_that_could_change_nothing_is_refused():
    with pytest.raises(ValueError, match="augment"):
        PeriodicTraining(augment=True)
