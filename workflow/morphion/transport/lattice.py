"""The lattice on which cations hop: what the walk and the exact solver both need."""

from dataclasses import dataclass

import numpy as np

from morphion.errors import TransportError

# Of an open site, in float32; local diffusivities below it are raised to it.
SMALLEST_DIFFUSIVITY = 1.2e-38


@dataclass(frozen=True)
class Lattice:
    """Periodic cubic lattice with hop rates k_ij = a_i b_j / h^2 between face neighbours.

    With local diffusivity D and local free energy U (kT) at a site,

    ==========  ======================  =============================================
    symbol      field                   meaning
    ==========  ======================  =============================================
    b           ``b``                   sqrt(D) exp(-U/2); 0 where blocked
    pi          ``weight``              exp(-U), equilibrium weight; 0 where blocked
    a           ``a`` (derived)         sqrt(D) exp(U/2) = b / pi
    h           ``spacing``             lattice spacing in voxels
    ==========  ======================  =============================================

    Detailed balance holds with weight pi; the bond conductance pi_i k_ij = b_i b_j / h^2 is
    symmetric. Only ratios of pi matter within a lattice: U is shifted so that the largest pi is 1.

    Parameters
    ----------
    b, weight : float32 arrays of shape [n, n, n], indexed [x, y, z]
    spacing : float
        h = L / n in voxels; site (i, j, k) lies at ((i+1/2)h, (j+1/2)h, (k+1/2)h).
    lowest : float
        The U, kT, that was taken off: weights of several structures compare times exp(-lowest).
    """

    b: np.ndarray
    weight: np.ndarray
    spacing: float
    lowest: float = 0.0

    @property
    def n(self) -> int:
        """Sites along an edge."""
        return self.b.shape[0]

    @property
    def a(self) -> np.ndarray:
        """sqrt(D) exp(U/2) = b / pi, float32 [n, n, n]; 0 where blocked."""
        return np.divide(self.b, self.weight, out=np.zeros_like(self.b), where=self.weight > 0)

    @classmethod
    def from_fields(
        cls, diffusivity: np.ndarray, free_energy: np.ndarray, spacing: float
    ) -> "Lattice":
        """Lattice from D (solvent = 1) and U (kT), arrays [n, n, n]; D = 0 marks blocked sites.

        Raises TransportError if a field is not finite, D is negative, nothing is open, or the
        spread of U is so large that weights underflow float32.
        """
        diffusivity = np.asarray(diffusivity)
        free_energy = np.asarray(free_energy)
        if diffusivity.shape != free_energy.shape or len(set(diffusivity.shape)) != 1:
            raise TransportError(
                f"D of shape {diffusivity.shape} and U of shape {free_energy.shape}: "
                "both must be cubic [n, n, n]"
            )
        open_site = diffusivity > 0
        if not np.isfinite(diffusivity).all() or (diffusivity < 0).any():
            raise TransportError("local diffusivities must be finite and not negative")
        if not open_site.any():
            raise TransportError("no open lattice site: every site lies inside a particle")
        if not np.isfinite(free_energy[open_site]).all():
            raise TransportError("local free energies must be finite at open sites")
        lowest = free_energy[open_site].min()
        shifted = np.where(open_site, free_energy - lowest, 0.0)
        weight = np.where(open_site, np.exp(-shifted), 0.0).astype(np.float32)
        b = np.where(open_site, np.sqrt(diffusivity) * np.exp(-shifted / 2), 0.0)
        if (weight[open_site] < np.finfo(np.float32).tiny).any():
            raise TransportError(
                f"free energies spread over {shifted.max():.0f} kT: weights underflow float32; "
                "keep affinity differences below 87 kT"
            )
        return cls(b.astype(np.float32), weight, float(spacing), float(lowest))
