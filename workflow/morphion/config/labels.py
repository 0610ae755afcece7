"""How a structure gets its label."""

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from morphion.config.base import Block
from morphion.config.transport import CoverageShell, Transport

# Keys that say nothing about labels of the other method.
_OF_METHOD = {
    "kmc": ("target_relative_error", "walkers", "max_hops", "control_variate"),
    "exact": ("relative_residual",),
}


class Walked(Block):
    """Structures with exact labels that are also walked, to see what noisy labels would show."""

    structures: int = Field(
        0,
        ge=0,
        description="structures of the first test split that kinetic Monte Carlo labels as well",
    )
    target_relative_error: float = Field(
        0.01, gt=0, lt=0.5, description="standard error over diffusivity that is aimed at"
    )


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
    control_variate: int | None = Field(
        None,
        ge=16,
        description="kmc: sites an edge of a coarser lattice whose corrector is a control variate: "
        "far fewer hops for the same error; labels drawn for the verdict do without; null: none",
    )
    relative_residual: float = Field(
        1e-5, gt=0, lt=1, description="exact: residual norm over that of the right-hand side"
    )

    @model_validator(mode="after")
    def _control_is_of_use(self):
        sites = self.control_variate
        if sites is not None and self.method != "kmc":
            raise ValueError(
                f"control_variate = {sites} is for method: kmc; {self.method} has no statistical "
                "error to reduce: leave it out"
            )
        if sites is not None and sites >= self.lattice:
            raise ValueError(
                f"control_variate = {sites} must be below lattice = {self.lattice}: half of it or "
                "less is usual"
            )
        return self

    def decisive(self) -> dict[str, Any]:
        """The keys that labels depend on, as plain values: not those of the other method."""
        others = {key for name, keys in _OF_METHOD.items() if name != self.method for key in keys}
        return self.model_dump(mode="json", exclude=others)

    def require_shell(self, transport: Transport, box_length: float, diameter: float) -> None:
        """Raise ValueError if the control variate's lattice is too coarse for the ligand shells."""
        if self.control_variate is None or not isinstance(transport, CoverageShell):
            return
        thickness = (transport.shell_radius - 0.5) * diameter
        fewest = math.ceil(box_length / thickness - 1e-9)
        if self.control_variate < fewest:
            raise ValueError(
                f"control_variate = {self.control_variate}: no site spans a ligand shell "
                f"{thickness:.3g} thick in a box of {box_length:.3g}; use at least {fewest} sites "
                "an edge"
            )
