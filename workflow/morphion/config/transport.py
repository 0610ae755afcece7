"""The transport model: local diffusivity and free energy as functions of the positions."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from morphion.config.base import Block


class CoverageShell(Block):
    """D and U from the ligand coverage c(x); lengths in units of the sphere diameter sigma."""

    model: Literal["coverage-shell"] = "coverage-shell"
    shell_radius: float = Field(
        0.78, gt=0.5, description="outer radius r_s of the ligand shell, sigma"
    )
    shell_width: float = Field(0.05, gt=0, description="width w of the shell's edge, sigma")
    solvent_diffusivity: float = Field(1.0, gt=0, description="D in the solvent; 1: the unit of D")
    shell_diffusivity: float = Field(0.3, gt=0, description="D inside one ligand layer")
    affinity: float = Field(8.0, description="eps, binding of a cation to one layer, kT")
    interdigitation_friction: float = Field(
        3.0, description="kappa, exponential slowing per unit of interdigitation"
    )
    interdigitation_affinity: float = Field(
        2.0, description="eps_x, extra binding per unit of interdigitation, kT; negative repels"
    )


class DistanceTable(Block):
    """D and U interpolated on a grid of (d1, d2), the distances to the two nearest centres."""

    model: Literal["table"]
    path: Path = Field(description="CSV file with its units; relative to the file that names it")

    @model_validator(mode="after")
    def _is_csv(self):
        if self.path.suffix.lower() != ".csv":
            raise ValueError(f"path = {self.path}: a table model is a .csv file")
        return self


Transport = Annotated[CoverageShell | DistanceTable, Field(discriminator="model")]
