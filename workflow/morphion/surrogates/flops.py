"""Floating-point operations of a prediction, counted while it runs."""

import math

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from morphion.surrogates.predict import Surrogate

Shape = torch.Size


def _cholesky(matrix: Shape, *_, **__) -> int:
    *batch, order, _ = matrix
    return math.prod(batch) * order**3 // 3


def _substitutions(load: Shape, *_, **__) -> int:
    """Forward and backward, for every column of the right-hand side."""
    *batch, order, columns = load
    return math.prod(batch) * 2 * order**2 * columns


# Torch counts products of matrices and convolutions; Kirchhoff's equations are these two.
_SOLVES = {
    torch.ops.aten.linalg_cholesky_ex: _cholesky,
    torch.ops.aten.cholesky_solve: _substitutions,
}


def flops_per_structure(
    surrogate: Surrogate, positions: np.ndarray, box_length: float, diameter: float
) -> float:
    """Mean over structures ``positions`` [B, N, 3] of what a prediction of each takes.

    Products of matrices, convolutions, and Cholesky factorisations with their substitutions, a
    multiplication and an addition being two. Element by element work, conjugate gradients,
    voxelising and the search for neighbours are not counted. NaN for a surrogate that does none
    of it, such as trees.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_SOLVES)
    with surrogate.by_torch_alone(), counter:
        surrogate.predict(positions, box_length, diameter)
    total = counter.get_total_flops()
    return total / len(positions) if total else math.nan
