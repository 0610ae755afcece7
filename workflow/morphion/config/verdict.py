"""How labels are judged before anything is trained on them."""

from pydantic import Field

from morphion.config.base import Block


class Verdict(Block):
    """Some structures of every label shard are solved exactly, and each set of labels is judged."""

    structures_per_shard: int = Field(
        4, ge=0, description="structures drawn from each label shard; 0 gives no verdicts"
    )
    sigma: float = Field(
        3.0,
        ge=2,
        le=6,
        description="kmc: true labels fail as seldom as a normal variate lies this many standard "
        "deviations off, whatever the number drawn (3: 0.27 %)",
    )
    relative_residual: float = Field(
        1e-6, gt=0, lt=1, description="of the exact solution that labels are compared with"
    )
    stop: bool = Field(
        True, description="a failed verdict stops the run before the labels are used"
    )
