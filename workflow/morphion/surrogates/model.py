"""A trained network on disk: safetensors weights and a JSON description, never pickled objects."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from morphion.config.surrogates import Network
from morphion.errors import SurrogateError
from morphion.surrogates.domain import check_domain

KIND = "surrogate"
FORMAT = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"

_NETWORK = TypeAdapter(Network)


@dataclass(frozen=True)
class Description:
    """What ``model.json`` says of a trained network.

    Lengths are in voxels. ``relative_spread`` and ``disagreement_factor`` are a and b of the
    spread (``morphion.surrogates.ensemble``); for a single network the former is the root mean
    square of (D* - label) / D* over the validation set. ``reference_diffusivity`` is D0, the unit
    of D* (solvent = 1). ``domain`` holds what the training set held
    (``morphion.surrogates.domain``), ``transport`` is a record as
    ``morphion.transport.transport_record`` makes it.
    """

    network_name: str
    network: dict[str, Any]
    split: str
    round: int
    seed: int
    box_length: float
    diameter: float
    voxels: int
    particles: int
    reference_diffusivity: float
    relative_spread: float
    disagreement_factor: float
    domain: dict[str, list[float]]
    training: dict[str, Any]
    dataset: dict[str, Any]
    labels: dict[str, Any]
    transport: dict[str, Any]
    normalisation: dict[str, Any]
    versions: dict[str, str]
    provenance: dict[str, Any]

    @property
    def block(self) -> Network:
        """The configuration block of the network."""
        return _NETWORK.validate_python(self.network)


def write_model(folder: Path, description: Description, tensors: dict[str, np.ndarray]) -> None:
    """Write weights and description into an existing folder."""
    ordered = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    # safetensors' own save_file makes a file that only its owner may read.
    (folder / WEIGHTS).write_bytes(save(ordered))
    content = {"kind": KIND, "format": FORMAT, **asdict(description)}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n")


def read_description(folder: Path | str) -> Description:
    """Description of a trained network.

    Raises SurrogateError if the file is missing, no description of this format, or lacks a key.
    """
    path = Path(folder) / DESCRIPTION
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise SurrogateError(
            f"{path}: cannot be read ({error.strerror}); expected the folder of a trained network"
        ) from error
    except ValueError as error:
        raise SurrogateError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict) or content.pop("kind", None) != KIND:
        raise SurrogateError(f"{path}: not the description of a surrogate (kind must be {KIND!r})")
    if (found := content.pop("format", None)) != FORMAT:
        raise SurrogateError(f"{path}: format {found}, this version reads format {FORMAT}")
    expected = set(Description.__dataclass_fields__)
    for names, what in ((expected - content.keys(), "no"), (content.keys() - expected, "unknown")):
        if names:
            raise SurrogateError(f"{path}: {what} key {sorted(names)[0]!r}; train again")
    try:
        _NETWORK.validate_python(content["network"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SurrogateError(f"{path}: network.{where}: {first['msg']}") from error
    check_domain(content["domain"], str(path))
    return Description(**content)


def read_tensors(folder: Path | str) -> dict[str, np.ndarray]:
    """Weights of a trained network by name; raises SurrogateError if the file is not sound."""
    path = Path(folder) / WEIGHTS
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise SurrogateError(f"{path}: cannot be read as safetensors ({error})") from error
