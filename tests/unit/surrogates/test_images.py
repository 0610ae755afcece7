"""Images: packed bits, shifts and symmetries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphion.philox import stream_key
from morphion.structures.voxels import voxelise
from morphion.surrogates.images import (
    SYMMETRIES,
    PackedImages,
    augmentation,
    pack,
    source_indices,
)

CPU = torch.device("cpu")
KEY = stream_key(1, "augment")


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_packed_images_come_back_as_they_were(voxels, count, seed):
    images = np.random.default_rng(seed).random((count, voxels, voxels, voxels)) < 0.3
    packed = PackedImages(pack(images), voxels, CPU)
    rows = torch.arange(count)
    np.testing.assert_array_equal(packed.batch(rows)[:, 0].numpy(), images)


@pytest.mark.parametrize("number", range(48))
def test_a_turned_and_shifted_structure_gives_the_augmented_image(number):
    n, rng = 15, np.random.default_rng(number)
    positions = rng.uniform(0, n, (1, 5, 3))
    shift = rng.integers(n, size=3)
    packed = PackedImages(pack(voxelise(positions, n, 4.0, n)), n, CPU)
    augmented = packed.batch(torch.tensor([0]), source_indices(shift[None], np.array([number]), n))
    # Images are [z, y, x]; an output voxel i along axis d shows voxel shift + sign i of the input,
    # so that centres i + 1/2 map back by -shift, and a mirror takes x to 1 - x about voxel 0.
    axes, signs = SYMMETRIES[number]
    zyx = positions[0, :, ::-1]
    turned = np.empty_like(zyx)
    for out, (source, sign) in enumerate(zip(axes, signs, strict=True)):
        along = zyx[:, source] - shift[source]
        turned[:, out] = along if sign == 1 else 1 - along
    expected = voxelise(turned[None, :, ::-1] % n, n, 4.0, n)[0]
    np.testing.assert_array_equal(augmented[0, 0].numpy(), expected)


def test_the_48_symmetries_differ():
    image = np.random.default_rng(0).random((1, 5, 5, 5)) < 0.5
    packed = PackedImages(pack(image), 5, CPU)
    source = source_indices(np.zeros((48, 3), int), np.arange(48), 5)
    views = packed.batch(torch.zeros(48, dtype=torch.int64), source)
    assert len({view.numpy().tobytes() for view in views}) == 48


def test_augmentation_belongs_to_a_structure_and_an_epoch_not_to_a_batch():
    together = augmentation(KEY, 3, np.array([5, 9, 2]), 75)
    alone = augmentation(KEY, 3, np.array([9]), 75)
    for whole, part in zip(together, alone, strict=True):
        np.testing.assert_array_equal(whole[1:2], part)
    other_epoch = augmentation(KEY, 4, np.array([5, 9, 2]), 75)
    assert not np.array_equal(together[0], other_epoch[0])


def test_augmentation_is_uniform_over_shifts_and_symmetries():
    shifts, symmetry = augmentation(KEY, 0, np.arange(48_000), 75)
    counts = np.bincount(symmetry, minlength=48)
    assert abs(counts - 1000).max() < 4 * np.sqrt(1000)
    assert shifts.min() == 0
    assert shifts.max() == 74
    assert abs(shifts.mean() - 37) < 3 * 75 / np.sqrt(12 * shifts.size)


@pytest.mark.parametrize("augmented", [False, True])
def test_torch_and_the_compiled_loop_unpack_the_same_images(augmented):
    images = np.random.default_rng(3).random((6, 11, 11, 11)) < 0.3
    packed = PackedImages(pack(images), 11, CPU)
    rows = torch.tensor([4, 0, 5])
    source = None
    if augmented:
        moves = augmentation((np.uint32(1), np.uint32(2)), 3, rows.numpy(), 11)
        source = source_indices(*moves, 11)
    compiled, operators = packed.batch_compiled(rows, source), packed.batch_torch(rows, source)
    assert compiled.shape == (3, 1, 11, 11, 11)
    torch.testing.assert_close(compiled, operators, rtol=0, atol=0)
