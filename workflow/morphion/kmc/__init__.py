"""Kinetic Monte Carlo: the rejection-free walk and the diffusivity with a true standard error."""

from morphion.kmc.run import KmcResult, estimate

__all__ = ["KmcResult", "estimate"]
