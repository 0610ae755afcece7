"""Kirchhoff's laws between the particles of a batch, differentiable by torch."""

import math

import torch

from morphion.surrogates.pairs import Graph

# A particle without any neighbour leaves the Laplacian singular; this share of its mean diagonal
# lies far above rounding in float64 and far below any conductance that matters.
GROUND = 1e-9


class _Field(torch.autograd.Function):
    """d_ij,a + phi^a_i - phi^a_j of all pairs [E, 3] from their conductances [E].

    Kirchhoff's matrix is its own adjoint, so that the derivatives of the potentials take one more
    solution with the same factor.
    """

    @staticmethod
    def forward(ctx, conductance: torch.Tensor, graph: Graph) -> torch.Tensor:
        factor = _factor(graph, conductance)
        drive = conductance.double()[:, None] * graph.separation.double()
        drops = _drops(graph, factor, -drive)
        field = graph.separation.to(conductance.dtype) + drops.to(conductance.dtype)
        ctx.graph = graph
        ctx.save_for_backward(factor, field)
        return field

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        factor, field = ctx.saved_tensors
        adjoint = _drops(ctx.graph, factor, gradient.double()).to(field.dtype)
        return -(adjoint * field).sum(1), None


def fields(graph: Graph, conductance: torch.Tensor) -> torch.Tensor:
    """d_ij,a + phi^a_i - phi^a_j [E, 3]: Kirchhoff's potentials in unit fields, differentiable."""
    return _Field.apply(conductance, graph)


def _factor(graph: Graph, conductance: torch.Tensor) -> torch.Tensor:
    """Cholesky factor float64 [B, N, N] of Kirchhoff's matrices."""
    structures, particles = graph.shape
    matrix = conductance.new_zeros((structures, particles, particles), dtype=torch.float64)
    first, second = graph.first % particles, graph.second % particles
    conductance = conductance.double()
    matrix[graph.structure, first, second] = -conductance
    matrix[graph.structure, second, first] = -conductance
    diagonal = -matrix.sum(2)
    # Where no two particles meet there is nothing to solve, and the potentials are 0.
    mean = diagonal.mean(1, keepdim=True).clamp_min(1e-30)
    torch.diagonal(matrix, dim1=1, dim2=2).add_(diagonal + GROUND * mean)
    # Fixes the mean of the potentials, which Kirchhoff leaves free.
    matrix += (mean / particles)[:, :, None]
    factor, failed = torch.linalg.cholesky_ex(matrix)
    # A diverged training is stopped by its loss, on all ranks alike, not by one of them here.
    return torch.where(failed[:, None, None] == 0, factor, math.nan)


def _drops(graph: Graph, factor: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Differences float64 [E, 3] of the potentials at the ends of each pair, if the current
    ``source`` float64 [E, 3] of each enters at its first particle and leaves at its second."""
    structures, particles = graph.shape
    load = source.new_zeros((structures * particles, 3))
    load.index_add_(0, graph.first, source).index_add_(0, graph.second, -source)
    phi = torch.cholesky_solve(load.view(structures, particles, 3), factor).flatten(0, 1)
    return phi[graph.first] - phi[graph.second]


def dissipation(graph: Graph, conductance: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """K_ab [B, 3, 3], the power that the ``field`` [E, 3] of all pairs dissipates, differentiable.

    Kirchhoff's potentials make the power stationary, so that its derivatives are those at constant
    potentials.
    """
    field = field.detach()
    power = conductance[:, None, None] * field[:, :, None] * field[:, None, :]
    total = power.new_zeros((graph.shape[0], 3, 3))
    return total.index_add(0, graph.structure, power)
