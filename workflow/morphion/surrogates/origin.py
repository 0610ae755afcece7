"""Whether labels and networks come from one physics: transport model, method and lattice."""

import warnings
from collections.abc import Mapping
from typing import Any

from morphion.config import Config
from morphion.errors import MorphionWarning, SurrogateError
from morphion.labels.meaning import label_differences, meaning
from morphion.surrogates.model import Description
from morphion.transport.files import transport_differences


def require_own_labels(where: str, attrs: Mapping[str, Any], config: Config) -> None:
    """Refuse to work on labels that were not made as ``config`` says.

    ``attrs`` are a data set's; one without provenance is taken as it is. Raises SurrogateError
    naming the data set, the key and both values.
    """
    for name, (one, other) in label_differences(_made_with(attrs), meaning(config)).items():
        raise SurrogateError(
            f"{where}: labelled with {name} = {one}, the configuration has {other}; "
            "use the configuration that the labels were made with"
        )


def require_same_transport(
    where: str, transport: Mapping[str, Any], described: Description
) -> None:
    """Raise SurrogateError, naming ``where`` and both values, unless the record ``transport`` is
    that of the network's training labels."""
    for name, (one, other) in transport_differences(transport, described.transport).items():
        raise SurrogateError(
            f"{where}: transport.{name} = {one}, network {described.network_name!r} was trained on "
            f"labels with {other}; train one for this transport model"
        )


def compare_labels(where: str, attrs: Mapping[str, Any], described: Description) -> None:
    """Compare the labels of a data set with those a network was trained on.

    Raises SurrogateError for another transport model; another lattice only costs accuracy, and is
    a MorphionWarning naming both.
    """
    made = _made_with(attrs)
    if "transport" in made:
        require_same_transport(where, made["transport"], described)
    lattice, trained = made.get("labels", {}).get("lattice"), described.labels["lattice"]
    if lattice is not None and lattice != trained:
        warnings.warn(
            f"{where}: labels of a {lattice}^3 lattice, network {described.network_name!r} was "
            f"trained on those of a {trained}^3 one; errors contain what the lattice costs",
            MorphionWarning,
            stacklevel=2,
        )


def _made_with(attrs: Mapping[str, Any]) -> Mapping[str, Any]:
    return attrs.get("provenance", {}).get("config", {})
