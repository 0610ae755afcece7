"""Predictions for structure files, for people."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphion.errors import SurrogateError
from morphion.progress import log
from morphion.structures.files import StructureFile, read_structure
from morphion.surrogates.predict import Surrogate

# Radii in files are often rounded to four digits.
_SAME_SHAPE = 1e-3


def predict_files(
    paths: Sequence[Path], model: Path | str, device: str = "auto"
) -> list[dict[str, Any]]:
    """Predictions for GSD or extended XYZ files as JSON-like dictionaries, in the order given.

    A file may have any unit of length: it is scaled to the box the network was trained on. Keys:
    ``structure``, ``diffusivity``, ``spread`` and, where the network has it, ``tensor`` [3][3]
    (solvent = 1), ``diffusivity_star``, ``spread_star`` (in D*), ``network``, ``lattice`` and
    ``transport`` of the training labels.

    Raises StructureError for a file that is no legal structure, SurrogateError for a model that is
    not sound or a sphere-to-box ratio other than it was trained on.
    """
    surrogate = Surrogate.load(model, device)
    structures = [read_structure(path) for path in paths]
    return [_predict(structure, surrogate) for structure in structures]


def _predict(structure: StructureFile, surrogate: Surrogate) -> dict[str, Any]:
    described = surrogate.description
    scale = described.box_length / structure.box_length
    diameter = structure.diameter * scale
    same_shape = math.isclose(diameter, described.diameter, rel_tol=_SAME_SHAPE)
    if not (same_shape or surrogate.any_box):
        raise SurrogateError(
            f"{structure.path}: sphere diameter over box edge is "
            f"{structure.diameter / structure.box_length:.6g}; network "
            f"{surrogate.network_name!r} was trained with "
            f"{described.diameter / described.box_length:.6g} and is not defined for another"
        )
    if len(structure.positions) != described.particles:
        log(
            f"{structure.path}: {len(structure.positions)} particles; the network was trained "
            f"with {described.particles}, so that the spread is not to be trusted"
        )
    lengths = (described.box_length, diameter if surrogate.any_box else described.diameter)
    centres = structure.positions[None] * scale
    prediction, spread = surrogate.predict(centres, *lengths)
    unit = surrogate.reference_diffusivity
    tensor = {}
    if surrogate.has_tensor:
        tensor["tensor"] = (surrogate.predict_tensor(centres, *lengths)[0] * unit).tolist()
    return {
        "structure": str(structure.path),
        "diffusivity": float(prediction[0]) * unit,
        "spread": float(spread[0]) * unit,
        **tensor,
        "diffusivity_star": float(prediction[0]),
        "spread_star": float(spread[0]),
        "network": surrogate.network_name,
        "lattice": described.labels["lattice"],
        "transport": described.transport,
    }
