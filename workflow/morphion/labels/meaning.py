"""Whether labels mean the same: transport model, method and lattice."""

from collections.abc import Mapping
from typing import Any

from morphion.config import Config
from morphion.transport.files import transport_differences, transport_record

# Beside the transport model; the other keys are a label's precision.
_KEYS = ("method", "lattice")


def label_differences(made: Mapping[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """Where labels were made otherwise than ``config`` says: key -> (value made with, asked for).

    ``made`` is the configuration in the provenance of the labels; what it lacks is taken as it is.
    """
    found = {}
    if "transport" in made:
        record = transport_record(config.transport)
        differences = transport_differences(made["transport"], record)
        found = {f"transport.{key}": values for key, values in differences.items()}
    for key in _KEYS:
        one, asked = made.get("labels", {}).get(key), getattr(config.labels, key)
        if one is not None and one != asked:
            found[f"labels.{key}"] = (one, asked)
    return found
