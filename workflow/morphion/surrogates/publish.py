"""A trained network as a folder for others: weights, description, model card, checksums."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from morphion.errors import SurrogateError
from morphion.files import atomic_folder
from morphion.surrogates.card import model_card
from morphion.surrogates.data import SETS
from morphion.surrogates.model import Description, read_tensors, write_model
from morphion.surrogates.predict import Surrogate
from morphion.surrogates.shipped import CHECKSUMS, write_checksums

CARD = "README.md"
_PROVENANCE = ("version", "commit", "created", "config_digest")  # what means something elsewhere
_SAME = 1e-6  # relative


def publish(
    model: Path | str,
    destination: Path | str,
    predictions: pd.DataFrame,
    *,
    source: str,
    licence: str = "BSD-3-Clause",
) -> None:
    """Write a network to ``destination``, whole or not at all, without its checkpoints and events.

    ``predictions`` is the table of ``predict_dataset`` for the data set of the training, ``source``
    what errors call it. Paths, commands and hardware stay behind. Raises SurrogateError if the
    model is not sound, or the predictions are not its own or lack a set, and MorphionError for a
    destination that holds anything but a published network.
    """
    described = portable(Surrogate.load(model, "cpu").description)
    _require_own(predictions, described, source)
    card = model_card(described, predictions, licence)
    with atomic_folder(destination, marker=CHECKSUMS) as scratch:
        scratch.mkdir(parents=True)
        write_model(scratch, described, read_tensors(model))
        (scratch / CARD).write_text(card, encoding="utf-8", newline="\n")
        write_checksums(scratch)


def portable(described: Description) -> Description:
    """A description without what names a machine or a path on it."""
    made = described.provenance
    return replace(
        described,
        dataset={**described.dataset, "path": Path(described.dataset["path"]).name},
        provenance={name: made[name] for name in _PROVENANCE if name in made},
    )


def _require_own(predictions: pd.DataFrame, described: Description, source: str) -> None:
    """Refuse predictions of another network, as far as the table shows it."""
    name = described.network_name
    for set_ in SETS:
        found, trained = int((predictions.split == set_).sum()), described.dataset[set_]
        if found != trained or found == 0:
            raise SurrogateError(
                f"{source}: {found} structures in the set {set_!r}, network {name!r} had "
                f"{trained}; a model card needs its predictions for the data set it was trained on"
            )
    share = predictions.spread.to_numpy() / described.spread.of(
        predictions.prediction.to_numpy(), 0
    )
    if (share < 1 - _SAME).any() or (
        described.novelty_factor == 0 and not np.allclose(share, 1, rtol=_SAME)
    ):
        raise SurrogateError(
            f"{source}: the spread of a prediction is {share.min():.7g} to {share.max():.7g} times "
            f"that of network {name!r} where nothing is new: predictions of another network"
        )
