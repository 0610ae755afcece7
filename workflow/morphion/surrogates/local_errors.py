"""Errors of what a resistor network says of single pairs and particles, beside exact currents and
occupancies (``morphion.currents``)."""

import torch

from morphion.surrogates.pairs import Graph


def current_errors(graph: Graph, current: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Squared errors of the currents [E, 3] of each structure over the squares of the exact ones,
    [B], whose pairs are all of a structure's: [B, P, 3]. Those of the graph count, which hold
    nearly all of the current."""
    particles = graph.shape[1]
    first, second = graph.first % particles, graph.second % particles
    # Place of (first, second), first < second, in the rows of the upper triangle.
    pair = first * (2 * particles - first - 3) // 2 + second - 1
    exact = exact[graph.structure, pair].to(current.dtype)
    total = exact.new_zeros((graph.shape[0], 2)).index_add(
        0,
        graph.structure,
        torch.stack(((current - exact).square().sum(1), exact.square().sum(1)), 1),
    )
    # A structure may conduct nothing.
    return total[:, 0] / torch.where(total[:, 1] > 0, total[:, 1], 1)


def occupancy_errors(occupancy: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Mean squared error [B] of occupancies [B, N] over the exact ones' mean in each structure."""
    return ((occupancy - exact) / exact.mean(1, keepdim=True)).square().mean(1)
