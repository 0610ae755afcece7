"""The box, the particles and the structure families."""

import math
from typing import Annotated, Any

from pydantic import Field, model_validator

from morphion.config.base import Block

Positive = Annotated[float, Field(gt=0)]
Interval = tuple[Positive, Positive]

# The paper fixes the spacing ranges only in its Supporting Information; these eight windows span
# contact (9.6 voxels) to the distance at which neighbouring shells no longer meet.
CHAIN_WINDOWS: tuple[Interval, ...] = (
    (9.7, 10.7),
    (10.5, 11.5),
    (11.5, 12.5),
    (12.5, 13.5),
    (13.5, 14.5),
    (14.5, 15.5),
    (15.5, 17.0),
    (17.0, 20.0),
)

# Random sequential addition in three dimensions jams near this volume fraction
# (Zhang & Torquato, Phys. Rev. E 88, 053312 (2013)).
RSA_JAMMING = 0.38


class Geometry(Block):
    """Equal hard spheres in a periodic cube; the unit of length is one voxel."""

    voxels: int = Field(75, ge=16, description="voxels along the box edge; the edge is L = voxels")
    particles: int = Field(91, ge=2, description="particles N in the box")
    volume_fraction: float = Field(
        0.1, gt=0, lt=RSA_JAMMING, description="volume fraction of the particles"
    )

    @property
    def box_length(self) -> float:
        """Box edge L in voxels."""
        return float(self.voxels)

    @property
    def diameter(self) -> float:
        """Sphere diameter (6 phi L^3 / (pi N))^(1/3) in voxels."""
        volume = self.volume_fraction * self.box_length**3 / self.particles
        return (6 * volume / math.pi) ** (1 / 3)

    def particles_at(self, volume_fraction: float) -> int:
        """Number of particles of the same diameter nearest to another volume fraction."""
        # Halves round up, to the paper's 137 and 46 from 91; the ratio may fall just below a half.
        return math.floor(self.particles * volume_fraction / self.volume_fraction + 0.5 + 1e-9)


class Structures(Block):
    """How many structures of each family are generated (science of section 2.1 of the paper)."""

    rsa: int = Field(722, ge=0, description="structures by plain random sequential addition")
    chain: int = Field(
        5304, ge=0, description="chain-biased structures; index i uses window i modulo their number"
    )
    gapped: int = Field(
        2166, ge=0, description="structures with empty slabs; index i has 1 + i modulo 3 slabs"
    )
    chain_windows: tuple[Interval, ...] = Field(
        CHAIN_WINDOWS,
        min_length=1,
        description="ranges of chain neighbours' distance, voxels",
    )
    # Only a chain's end that is walled in on all sides rejects a thousand neighbours in a row.
    chain_tries: int = Field(
        1000, ge=1, description="rejected neighbours after which a chain restarts somewhere else"
    )
    slab_width: Interval = Field(
        (17.0, 20.0), description="range of the width of a slab free of centres, voxels"
    )
    shard_size: int = Field(
        256, ge=1, description="structures to a shard of any set, i.e. to a label job"
    )

    @property
    def count(self) -> int:
        """Structures of all families."""
        return self.rsa + self.chain + self.gapped

    def decisive(self) -> dict[str, Any]:
        """The keys that structures follow from, in however large shards, as plain values."""
        return self.model_dump(mode="json", exclude={"shard_size"})

    @model_validator(mode="after")
    def _intervals_ascend(self):
        for name, (low, high) in [
            *((f"chain_windows[{i}]", w) for i, w in enumerate(self.chain_windows)),
            ("slab_width", self.slab_width),
        ]:
            if not low < high:
                raise ValueError(f"{name} = [{low}, {high}]: the first value must be the smaller")
        if self.count == 0:
            raise ValueError("rsa, chain and gapped are all 0: at least one structure is needed")
        return self
