"""A trained network on disk: safetensors weights and a JSON description, never pickled objects."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from morphion.config.geometry import Positive
from morphion.config.surrogates import Network, PositiveInt
from morphion.errors import ConfigError, SurrogateError
from morphion.surrogates.domain import check_domain
from morphion.surrogates.spread import Spread
from morphion.transport.files import transport_differences

KIND = "surrogate"
FORMAT = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
# What a folder that a training writes is, and how it is told from others.
A_MODEL = f"a trained network ({DESCRIPTION})", lambda folder: (folder / DESCRIPTION).is_file()

_NETWORK = TypeAdapter(Network)
_Positive = Annotated[Positive, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]


def _with_lattice(labels: dict[str, Any]) -> dict[str, Any]:
    lattice = labels.get("lattice")
    if not isinstance(lattice, int) or lattice <= 0:
        raise ValueError(f"lattice = {lattice!r}; expected the sites along an edge of the box")
    return labels


@dataclass(frozen=True)
class Description:
    """What ``model.json`` says of a trained network.

    Lengths are in voxels. ``reference_diffusivity`` is D0, the unit of D* (solvent = 1).
    ``spread`` says how far a label may lie from a prediction, ``domain`` what the training set held
    (``morphion.surrogates.domain``); ``transport`` is a record as
    ``morphion.transport.transport_record`` makes it.
    """

    network_name: str
    network: dict[str, Any]
    split: Literal["random", "by_run"]
    round: _Count
    seed: int
    box_length: _Positive
    diameter: _Positive
    voxels: PositiveInt
    particles: PositiveInt
    reference_diffusivity: _Positive
    spread: Spread
    domain: dict[str, list[float]]
    training: dict[str, Any]
    dataset: dict[str, Any]
    labels: Annotated[dict[str, Any], AfterValidator(_with_lattice)]
    transport: dict[str, Any]
    normalisation: dict[str, Any]
    versions: dict[str, str]
    provenance: dict[str, Any]

    @property
    def block(self) -> Network:
        """The configuration block of the network."""
        return _NETWORK.validate_python(self.network)


_DESCRIPTION = TypeAdapter(Description)


def write_model(folder: Path, description: Description, tensors: dict[str, np.ndarray]) -> None:
    """Write weights and description into an existing folder."""
    ordered = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    # safetensors' own save_file makes a file that only its owner may read.
    (folder / WEIGHTS).write_bytes(save(ordered))
    content = {"kind": KIND, "format": FORMAT, **asdict(description)}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n")


def read_description(folder: Path | str) -> Description:
    """Description of a trained network.

    Raises SurrogateError if the file is missing, no description of this format, or lacks a key,
    and for a value that cannot be.
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
    check_domain(content["domain"], str(path))
    try:
        _NETWORK.validate_python(content["network"])
    except ValidationError as error:
        raise _wrong(path, error, "network") from error
    try:
        described = _DESCRIPTION.validate_python(content)
        transport_differences(described.transport, described.transport)  # refuses what is none
    except ValidationError as error:
        raise _wrong(path, error) from error
    except ConfigError as error:
        raise SurrogateError(f"{path}: {error}") from error
    return described


def _wrong(path: Path, error: ValidationError, *within: str) -> SurrogateError:
    """What to say of the first key that is wrong."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in (*within, *first["loc"]))
    value = first["input"]
    given = f" = {value!r}" if isinstance(value, str | int | float | None) else ""
    return SurrogateError(f"{path}: {where}{given}: {first['msg'].removeprefix('Value error, ')}")


def read_tensors(folder: Path | str) -> dict[str, np.ndarray]:
    """Weights of a trained network by name; raises SurrogateError if the file is not sound."""
    path = Path(folder) / WEIGHTS
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise SurrogateError(f"{path}: cannot be read as safetensors ({error})") from error
