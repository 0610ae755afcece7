"""Whether labels mean the same: transport model, method and lattice."""

from collections.abc import Mapping
from typing import Any

from morphion.config import Config
from morphion.transport.files import transport_differences, transport_record

# Beside the transport model; the other keys are a label's precision.
_KEYS = ("method", "lattice")


def meaning(config: Config) -> dict[str, Any]:
    """What labels mean that are made by a configuration, as their provenance has it."""
    labels = {key: getattr(config.labels, key) for key in _KEYS}
    return {"transport": transport_record(config.transport), "labels": labels}


def label_differences(
    made: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Where labels mean something else than others: key -> (value made with, asked for).

    Both are configurations in the provenance of labels, or ``meaning`` of one; what either lacks
    is taken as it is.
    """
    found = {}
    if "transport" in made and "transport" in asked:
        differences = transport_differences(made["transport"], asked["transport"])
        found = {f"transport.{key}": values for key, values in differences.items()}
    for key in _KEYS:
        values = tuple(one.get("labels", {}).get(key) for one in (made, asked))
        if None not in values and values[0] != values[1]:
            found[f"labels.{key}"] = values
    return found
