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
_PUBLISHED = f"a published network ({CHECKSUMS})", lambda folder: (folder / CHECKSUMS).is_file()
_PROVENANCE = ("version", "commit", "created", "config_digest")  # what means something elsewhere
_SAME = 1e-6  # relative
_FITTED = 0.01  # of a fit that was not quite at its end
_VALIDATED = 0.01  # of the loss on the validation set; another device may have told that


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
    with atomic_folder(destination, *_PUBLISHED) as scratch:
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
    spread, prediction = predictions.spread.to_numpy(), predictions.prediction.to_numpy()
    knows = described.spread.novelty > 0
    same = knows or np.allclose(spread, described.spread.of(prediction, 0.0), rtol=_SAME)
    # Whatever else was fitted, its size was: to the errors of this set.
    rows = (predictions.split == "validation").to_numpy()
    error = predictions.label.to_numpy()[rows] - prediction[rows]
    loss, own = np.mean(error**2), described.training["validation_loss"]
    if abs(loss - own) > _VALIDATED * own:
        raise SurrogateError(
            f"{source}: the mean squared error on the validation set is {loss:.4g}, network "
            f"{name!r} had {own:.4g}: predictions of another network"
        )
    mean = np.mean((error / np.where(spread[rows] > 0, spread[rows], 1)) ** 2)
    if not (same and (abs(mean - 1) < _FITTED or not error.any())):
        raise SurrogateError(
            f"{source}: the spreads are not those of network {name!r}, whose errors on the "
            f"validation set are one spread on average, here {np.sqrt(mean):.4g}: predictions of "
            "another network"
        )
