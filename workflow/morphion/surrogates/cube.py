"""The symmetries of the cube, and grids that shifts and symmetries of an image keep.

A pooled image depends on where its cubes begin. Adaptive polyphase sampling (Chaman & Dokmanic,
CVPR 2021, arXiv:2011.14214) lets the image itself decide: of all ``stride`` grids along an axis it
takes the one whose cells differ most. A shifted, turned or mirrored image chooses the shifted,
turned or mirrored grid, and the pooled image is the same but for whole cells and the symmetry.
"""

import itertools

import numpy as np
import torch

# Each of the 48 symmetries of the cube: a permutation of the axes and a sign for each.
SYMMETRIES = tuple(
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
)


def orbits(edge: int) -> np.ndarray:
    """Number of the orbit of each element of a cubic kernel, int64 [edge, edge, edge].

    Two elements are in one orbit if a symmetry of the cube takes one to the other: centre, faces,
    edges and corners for an edge of 3, ten orbits for 5, twenty for 7.
    """
    numbers = np.arange(edge**3).reshape(edge, edge, edge)
    images = []
    for axes, signs in SYMMETRIES:
        turned = numbers.transpose(axes)
        for axis, sign in enumerate(signs):
            turned = turned if sign == 1 else np.flip(turned, axis)
        images.append(turned)
    return np.unique(np.min(images, axis=0), return_inverse=True)[1].reshape(numbers.shape)


def polyphase(image: torch.Tensor, stride: int) -> torch.Tensor:
    """First voxel of the cells along each axis, int64 [B, 3], of images float32 [B, n, n, n].

    Of the ``stride`` ways to divide the planes normal to an axis into slabs of that thickness it
    takes the one with the largest sum of squares over slabs. The sums of binary images and of soft
    ones, whole numbers up to 255, are exact up to 75 voxels, so that rounding never decides; two
    grids tie exactly in some of a hundred thousand structures, and then the first is taken.
    """
    along_z = image.sum(3)
    planes = torch.stack((along_z.sum(2), along_z.sum(1), image.sum(1).sum(1)), 1).double()
    slabs = [
        planes.roll(-first, -1).unflatten(-1, (-1, stride)).sum(-1).square().sum(-1)
        for first in range(stride)
    ]
    return torch.stack(slabs, -1).argmax(-1)


def pool(image: torch.Tensor, first: torch.Tensor, width: int) -> torch.Tensor:
    """Sums over cubes of ``width`` voxels of periodic images [B, n, n, n], [B, m, m, m].

    ``first`` [B, 3] is the voxel at which the first cube of each structure begins along z, y, x.
    """
    batch, n = len(image), image.shape[-1]
    voxel = torch.arange(n, device=image.device)
    cell = (voxel - first[..., None]) % n // width
    window = torch.nn.functional.one_hot(cell, n // width).to(image.dtype)
    z, y, x = window.unbind(1)
    slabs = (z.mT @ image.view(batch, n, n * n)).view(batch, -1, n, n)
    rods = y.mT[:, None] @ slabs
    return (rods.flatten(1, 2) @ x).view(batch, *(n // width,) * 3)
