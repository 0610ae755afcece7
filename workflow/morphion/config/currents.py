"""How currents between particles are solved."""

from pydantic import Field

from morphion.config.base import Block


class Currents(Block):
    """Exact currents between particles, which a resistor network learns beside the labels."""

    lattice: int | None = Field(
        None, ge=16, description="sites along the box edge; null: geometry.voxels"
    )
    relative_residual: float = Field(
        1e-3, gt=0, lt=1, description="of the solution; conductances between pairs leave far more"
    )
