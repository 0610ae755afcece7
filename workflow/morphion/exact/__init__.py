"""The cell problem: the long-time diffusivity of a lattice without statistical error."""

from morphion.exact.solver import ExactSolution, solve

__all__ = ["ExactSolution", "solve"]
