"""Predictions for structure files, for people."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphion.config.transport import Transport
from morphion.errors import MorphionError, SurrogateError
from morphion.store.export import structures_in
from morphion.structures.files import StructureFile
from morphion.surrogates.domain import describe, domain_reasons, transport_reasons
from morphion.surrogates.predict import Surrogate
from morphion.surrogates.shipped import shipped_model
from morphion.transport.files import transport_record

# Radii in files are often rounded to four digits.
_SAME_SHAPE = 1e-3


def predict_files(
    paths: Sequence[Path],
    model: Path | str | None = None,
    device: str = "auto",
    transport: Transport | None = None,
) -> list[dict[str, Any]]:
    """Predictions for GSD or extended XYZ files, and for all structures of a store, as JSON-like
    dictionaries, in the order given.

    ``model`` is the folder of a network, None the one that ships with the package; ``transport``
    is the transport model that is meant, None the network's own. A file may have any unit of
    length: it is scaled to the box the network was trained on. Keys:

    ===================================  =======================================================
    ``structure``                        path as given, of a store's with [row]
    ``diffusivity``, ``spread``          D and its standard deviation, solvent = 1
    ``tensor``                           tensor of D, [3][3], where the network gives one
    ``diffusivity_star``, ``spread_star``  the same as D* = D / D0
    ``in_domain``, ``reason``            whether the training set held such structures; if not, why
    ``network``                          its name
    ``lattice``, ``transport``           of the labels it was trained on: sites along the edge of
                                         this box, at their spacing
    ===================================  =======================================================

    Raises StructureError for a file that is no legal structure, SurrogateError for a model that is
    not sound or is not defined for the sphere-to-box ratio of a file.
    """
    structures = structures_in(paths)
    surrogate = Surrogate.load(shipped_model() if model is None else model, device)
    elsewhere = []
    if transport is not None:
        meant = transport_record(transport)
        elsewhere = transport_reasons(meant, surrogate.description.transport)
    return [_predict(structure, surrogate, elsewhere) for structure in structures]


def _predict(
    structure: StructureFile, surrogate: Surrogate, elsewhere: list[str]
) -> dict[str, Any]:
    described = surrogate.description
    scale = described.box_length / structure.box_length
    diameter = structure.diameter * scale
    same_shape = math.isclose(diameter, described.diameter, rel_tol=_SAME_SHAPE)
    if not (same_shape or surrogate.any_box):
        raise SurrogateError(
            f"{structure}: sphere diameter over box edge is "
            f"{structure.diameter / structure.box_length:.6g}; network "
            f"{surrogate.network_name!r} was trained with "
            f"{described.diameter / described.box_length:.6g} and is not defined for another"
        )
    lengths = (described.box_length, diameter if surrogate.any_box else described.diameter)
    centres = structure.positions[None] * scale
    predict = surrogate.predict_with_tensor if surrogate.has_tensor else surrogate.predict
    try:
        found = predict(centres, *lengths)
    except MorphionError as error:
        raise type(error)(f"{structure}: {error}") from error
    unit = surrogate.reference_diffusivity
    prediction, spread = (float(values[0]) for values in found[:2])
    tensor = {"tensor": (found[2][0] * unit).tolist()} if surrogate.has_tensor else {}
    quantities = {
        name: float(values[0]) for name, values in describe(centres, *lengths).items()
    } | {"diffusivity_star": prediction, "relative_spread": spread / prediction}
    reasons = elsewhere + domain_reasons(described.domain, quantities)
    return {
        "structure": str(structure),
        "diffusivity": prediction * unit,
        "spread": spread * unit,
        **tensor,
        "diffusivity_star": prediction,
        "spread_star": spread,
        "in_domain": not reasons,
        "reason": "; ".join(reasons) or None,
        "network": surrogate.network_name,
        "lattice": round(described.labels["lattice"] * described.diameter / lengths[1]),
        "transport": described.transport,
    }
