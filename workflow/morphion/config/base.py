"""What every block of the configuration shares."""

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """A block of the configuration: unknown keys, NaN and infinities are refused, values do not
    change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )
