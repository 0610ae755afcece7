"""The symmetries of the cube, and grids that shifts and symmetries of an image keep.

A pooled image depends on where its cubes begin. Adaptive polyphase sampling (Chaman & Dokmanic,
CVPR 2021, arXiv:2011.14214) lets the image itself decide: of all ``stride`` grids along an axis it
takes the one whose cells differ most. A shifted, turned or mirrored image chooses the shifted,
turned or mirrored grid, and the pooled image is the same but for whole cells and the symmetry.
"""

import itertools

import numpy as np
from numba import njit

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


@njit(cache=True)
def polyphase(planes, stride):
    """First plane of the slabs along an axis from the sums over its planes, int64 [n].

    Of the ``stride`` ways to divide the planes into slabs of that thickness it takes the one with
    the largest sum of squares over slabs. Sums of integers are exact, so that rounding never
    decides; where two grids tie the first is taken.
    """
    n, best, largest = len(planes), 0, -1
    for first in range(stride):
        squares = 0
        for slab in range(n // stride):
            total = 0
            for plane in range(stride):
                total += planes[(first + slab * stride + plane) % n]
            squares += total * total
        if squares > largest:
            best, largest = first, squares
    return best
