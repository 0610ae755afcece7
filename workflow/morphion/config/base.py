"""What every block of the configuration shares."""

import shlex
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

_NUMBERS = (int, float, int | None, float | None)


class Block(BaseModel):
    """A block of the configuration: unknown keys, NaN and infinities are refused, values do not
    change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, content: Any) -> Any:
        """A number is none of YAML's words for true and false, which are 1 and 0 to Python."""
        for key, value in content.items() if isinstance(content, dict) else ():
            field = cls.model_fields.get(key)
            if isinstance(value, bool) and field is not None and field.annotation in _NUMBERS:
                raise ValueError(f"{key} is a number, not {str(value).lower()}")
        return content


def named(path: Any) -> Any:
    """The path; raises ValueError if it is empty, which would mean the folder one is in."""
    if path == "":
        raise ValueError("is empty; name a folder")
    return path


def plain_path(path: Path) -> Path:
    """The path, if the shells that run rules leave it as it is; raises ValueError if not."""
    if shlex.quote(str(path)) != str(path):
        raise ValueError(
            f"{path} is no path that shells take as it is; name it in the letters a to z and A to "
            "Z, digits and . _ - + / @ % : , = alone"
        )
    return path
