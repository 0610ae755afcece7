"""What every block of the configuration shares."""

import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """A block of the configuration: unknown keys, NaN and infinities are refused, values do not
    change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


def plain_path(path: Path) -> Path:
    """The path, if the shells that run rules leave it as it is; raises ValueError if not."""
    if shlex.quote(str(path)) != str(path):
        raise ValueError(
            f"{path} would mean something else in a shell, which expands $ and ~ and parts words "
            "at spaces; write it out, in letters, digits and . _ - + / @ % : , ="
        )
    return path
