"""The paper's network: its blocks on CPU cores compute what torch's operators do."""

import numpy as np
import pytest
import torch

from morphion.config.surrogates import PaperNetwork
from morphion.surrogates.build import build
from morphion.surrogates.fused import ActivePool
from morphion.surrogates.patches import RepeatedBlock, block
from morphion.surrogates.repeats import repeated_blocks


def network(voxels, tiled):
    """A network with weights, biases and constants as a training leaves them."""
    block = PaperNetwork(kind="paper", tiled=tiled, filters=(3, 4, 5, 6), neurons=4)
    model = build(block, voxels)
    generator = torch.Generator().manual_seed(3)
    model.initialise(generator)
    model.set_normalisation((np.float32(0.1), np.float32(0.3)), np.array([0.5, 0.6, 0.8]))
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator))
    return model.to(memory_format=torch.channels_last_3d)


def result(model, images):
    """Predictions and gradients of their sum."""
    model.zero_grad()
    found = model(images)
    found.sum().backward()
    return found.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


# Odd and even edges: an odd one leaves a plane that no pool covers.
@pytest.mark.parametrize(
    ("voxels", "tiled"), [(16, False), (19, False), (7, True), (6, True), (10, True)]
)
def test_fused_blocks_predict_and_learn_as_torchs_operators(voxels, tiled):
    model = network(voxels, tiled)
    rng = np.random.default_rng(1)
    # Full and empty neighbourhoods, cells that see nothing, borders and single voxels alike.
    shares = np.array([0.003, 0.1, 0.5, 0.9])[:, *[None] * 4]
    images = rng.random((4, 1, voxels, voxels, voxels)) < shares
    images = torch.from_numpy(images.astype(np.uint8))
    fused, fused_gradients = result(model, images)
    plain, gradients = result(model, images.float())
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=0)
    for name, gradient in gradients.items():
        difference = (fused_gradients[name] - gradient).norm() / gradient.norm()
        assert difference < 1e-4, name


def assert_same_gradients(found, expected, parameters):
    """Of a weighted sum of either field."""
    parameters = list(parameters)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(5))
    gradients = (
        torch.autograd.grad((field * weights).sum(), parameters) for field in (found, expected)
    )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("voxels", "copies"), [(16, 1), (19, 1), (7, 3), (6, 3), (8, 3), (5, 2), (4, 1), (1, 4)]
)
def test_first_block_by_a_product_is_that_of_torchs_operators(voxels, copies):
    generator = torch.Generator().manual_seed(3)
    convolution = torch.nn.Conv3d(1, 5, 3, padding=1, dtype=torch.float64)
    for weights in convolution.parameters():
        torch.nn.init.normal_(weights, generator=generator)
    images = torch.rand((2, 1, voxels, voxels, voxels), generator=generator) < 0.3
    empty, filled = (torch.tensor(value, dtype=torch.float64) for value in (-0.4, 2.5))
    tiled = torch.where(images, filled, empty).repeat(1, 1, copies, copies, copies)
    expected = torch.nn.functional.avg_pool3d(torch.relu(convolution(tiled)), 2)
    arguments = (images.to(torch.uint8), convolution.weight, convolution.bias, empty, filled)
    found = RepeatedBlock(voxels, copies)(*arguments)
    torch.testing.assert_close(found, expected)
    assert_same_gradients(found, expected, convolution.parameters())


@pytest.mark.parametrize("edge", [2, 5, 8])
def test_block_of_few_channels_is_that_of_torchs_operators(edge):
    generator = torch.Generator().manual_seed(4)
    convolution = torch.nn.Conv3d(3, 5, 3, padding=1, dtype=torch.float64)
    for weights in convolution.parameters():
        torch.nn.init.normal_(weights, generator=generator)
    field = torch.randn((2, 3, edge, edge, edge), generator=generator, dtype=torch.float64)
    field.requires_grad_()
    expected = torch.nn.functional.avg_pool3d(torch.relu(convolution(field)), 2)
    found = block(field, convolution.weight, convolution.bias)
    torch.testing.assert_close(found, expected)
    assert_same_gradients(found, expected, [field, *convolution.parameters()])


def test_adam_moves_a_neuron_by_a_repeated_image_as_by_one():
    blocks = [PaperNetwork(kind="paper", tiled=tiled, neurons=200) for tiled in (False, True)]
    one, repeated = (build(block, 32) for block in blocks)
    repeated.initialise(torch.Generator().manual_seed(0))
    inputs, layer = one.dense[0].in_features, repeated.dense[0]
    assert layer.in_features > inputs
    assert repeated.share * layer.in_features == pytest.approx(inputs)
    # And its first predictions are those of weights as others are drawn.
    drawn = float((repeated.share * layer.weight.detach()).std())
    assert drawn == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.01)


def test_bfloat16_changes_a_prediction_and_its_gradient_by_rounding_only():
    model = network(32, tiled=False)
    images = np.random.default_rng(1).random((3, 1, 32, 32, 32)) < 0.2
    images = torch.from_numpy(images.astype(np.uint8))
    single, gradients = result(model, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, of_half = result(model, images)
    assert half.dtype == torch.float32
    assert not torch.equal(half, single)
    torch.testing.assert_close(half, single, rtol=0.01, atol=0)
    whole, difference = (
        torch.cat([values.flatten() for values in parts])
        for parts in (gradients.values(), [of_half[name] - gradients[name] for name in gradients])
    )
    assert difference.norm() < 0.02 * whole.norm()


def test_an_image_of_another_size_is_refused():
    image = torch.zeros((1, 1, 17, 17, 17), dtype=torch.uint8)
    with pytest.raises(ValueError, match="image of 17 voxels, the network has 16"):
        network(16, tiled=False)(image)
    _, (pool,) = repeated_blocks(8, 1, 2)
    with pytest.raises(ValueError, match="a field of 5 voxels, the pool has 4"):
        ActivePool.apply(torch.zeros((1, 3, 5, 5, 5)), pool)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_active_voxels_has_the_gradient_of_its_parts(dtype):
    _, (pool,) = repeated_blocks(8, 1, 2)
    field = torch.randn((2, 3, 4, 4, 4), generator=torch.Generator().manual_seed(0)).to(dtype)
    one, other = field.clone().requires_grad_(), field.float().requires_grad_()
    fused = ActivePool.apply(one, pool)
    plain = torch.nn.functional.avg_pool3d(torch.relu(other), 2)
    torch.testing.assert_close(fused, plain)
    weights = torch.randn(fused.shape, generator=torch.Generator().manual_seed(1))
    (fused * weights).sum().backward()
    (plain * weights).sum().backward()
    assert one.grad.dtype == dtype
    torch.testing.assert_close(one.grad, other.grad.to(dtype))
