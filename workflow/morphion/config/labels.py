"""How a structure gets its label."""

from typing import Literal

from pydantic import Field

from morphion.config.base import Block


class Labels(Block):
    """Cation diffusivity of every structure, by kinetic Monte Carlo or by the exact solver."""

    method: Literal["kmc", "exact"] = Field(
        "kmc", description="kinetic Monte Carlo or exact solver"
    )
    lattice: int = Field(375, ge=16, description="lattice sites along the box edge")
    target_relative_error: float = Field(
        0.01, gt=0, lt=0.5, description="kmc: standard error over diffusivity that is aimed at"
    )
    walkers: int | None = Field(
        None, ge=8, description="kmc: number of walkers; null lets a pilot walk choose it"
    )
    max_hops: float = Field(
        5e11,
        gt=0,
        description="kmc: hops a structure may cost before it is flagged as not converged",
    )
    relative_residual: float = Field(
        1e-5, gt=0, lt=1, description="exact: residual norm over that of the right-hand side"
    )
