"""The model card of a published network: what it is, how well it does, where it ends."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from morphion.surrogates.data import SETS
from morphion.surrogates.domain import QUANTITIES, limits_text
from morphion.surrogates.metrics import coverage, score
from morphion.surrogates.model import DESCRIPTION, WEIGHTS, Description
from morphion.surrogates.shipped import CHECKSUMS

_MEASURES = {"mape": ("MAPE, %", "#.3g"), "mse": ("MSE of D*", "#.3g"), "pearson": ("R", ".5f")}
_COVERED = {"coverage_68": "within 68 %, %", "coverage_95": "within 95 %, %"}


def model_card(described: Description, predictions: pd.DataFrame, licence: str) -> str:
    """The card as Markdown.

    ``predictions`` has the columns of ``predict_dataset`` for the data set the network was trained
    on, each set of its split with at least one row; errors have 95 % bootstrap intervals.
    """
    blocks = [
        f"---\nlicense: {licence.lower()}\nlibrary_name: morphion\n---",
        *_what(described),
        *_labels(described),
        *_data(described),
        *_errors(predictions),
        *_limits(described),
        *_files(described, licence),
    ]
    return "\n\n".join(blocks) + "\n"


def _what(described: Description) -> Iterable[str]:
    block, training = described.block, described.training
    members = getattr(block, "members", 1)
    number = f"An ensemble of {members} networks" if members > 1 else "A network"
    yield f"# {described.network_name}: cation diffusivity of nanoparticle structures"
    yield _paragraph(
        f"{number} of kind `{block.kind}` with {training['parameters']} parameters, seed "
        f"{described.seed}, round {described.round}. Centres of equal hard spheres in a periodic "
        "cube go in; the long-time diffusivity D of the cations (solvent = 1) comes out, with a "
        f"spread of one standard deviation. `{DESCRIPTION}` holds every setting."
    )
    yield "```\nmorphion predict film.gsd --model FOLDER      # FOLDER: where this file is\n```"


def _labels(described: Description) -> Iterable[str]:
    labels, transport = described.labels, dict(described.transport)
    model = transport.pop("model")
    precision = {
        "exact": f"relative residual {labels['relative_residual']:g}",
        "kmc": f"relative standard error aimed at {labels['target_relative_error']:g}",
    }
    yield "## Labels"
    yield _paragraph(
        f"Method `{labels['method']}` on a lattice of {labels['lattice']}³ sites, "
        f"{precision[labels['method']]}. D* = D / D0 with D0 = "
        f"{described.reference_diffusivity:.9g}. Transport model `{model}`:"
    )
    yield _table(("parameter", "value"), transport.items())


def _data(described: Description) -> Iterable[str]:
    data, training = described.dataset, described.training
    yield "## Data"
    yield _paragraph(
        f"`{data['path']}`, split `{described.split}`: {data['train']} structures for training, "
        f"{data['validation']} for validation (best epoch, spread), {data['test']} for test; "
        f"{described.particles} particles to a box of {described.box_length:g} voxels. "
        f"{training['epochs']} epochs in {training['seconds']:.0f} s on {training['ranks']} "
        f"rank(s), {training['device']}; the weights are those after epoch "
        f"{training['best_epoch']}, counted from 0."
    )


def _errors(predictions: pd.DataFrame) -> Iterable[str]:
    sets = {name: predictions[predictions.split == name] for name in SETS}
    test = sets["test"]
    families = {f"test, {name}": rows for name, rows in test.groupby("family")}
    yield "## Errors"
    yield "Against the labels; in brackets 95 % bootstrap intervals over independent structures."
    yield _table(
        ("set", "structures", *(head for head, _ in _MEASURES.values()), *_COVERED.values()),
        [(name, len(rows), *_scores(rows)) for name, rows in (sets | families).items()],
    )
    share = 100 * test.spread / test.prediction
    yield _paragraph(
        "The last columns are the shares of the labels that lie within one spread of the "
        "prediction and within 1.96 of them; a calibrated spread covers 68.3 and 95.0 %. On the "
        f"test set the spread is {share.min():.2g} to {share.max():.2g} % of D, its root mean "
        f"square {np.sqrt(np.mean(share**2)):.2g} %."
    )


def _scores(rows: pd.DataFrame) -> Iterable[str]:
    found = score(*(rows[name].to_numpy() for name in ("label", "prediction", "group")))
    for name, (_, digits) in _MEASURES.items():
        value, low, high = (
            format(found[key], digits) for key in (name, f"{name}_low", f"{name}_high")
        )
        yield f"{value} [{low}, {high}]"
    covered = coverage(rows.label, rows.prediction, rows.spread)
    yield from (f"{100 * covered[name]:.1f}" for name in _COVERED)


def _limits(described: Description) -> Iterable[str]:
    yield "## Limits"
    yield _paragraph(
        "`morphion predict` says `in_domain: false`, and why, of a structure outside one of these "
        "ranges or meant for another transport model. The spread is calibrated on the validation "
        "set and holds for structures of its families; it is too small for what annealing finds, "
        "and may be several times too small at another loading."
    )
    yield _table(
        ("quantity", "unit", "range", "of"),
        (
            (quantity.name, quantity.unit, limits_text(*described.domain[name]), quantity.holder)
            for name, quantity in QUANTITIES.items()
        ),
    )
    yield _paragraph(
        f"D is that of the {described.labels['lattice']}³ lattice; the spread does not contain "
        "what the spacing of its sites costs."
    )


def _files(described: Description, licence: str) -> Iterable[str]:
    made = described.provenance
    versions = ", ".join(f"{name} {version}" for name, version in described.versions.items())
    yield "## Files, versions, licence"
    yield _paragraph(
        f"`{WEIGHTS}` holds the weights, `{DESCRIPTION}` everything else; `sha256sum --check "
        f"{CHECKSUMS}` compares them with what was published. Trained with morphion "
        f"{made['version']} (commit {made['commit']}), {versions}."
    )
    yield _paragraph(
        f"Licence: {licence}. The structures and the task are those of Kadulkar, Howard, Truskett "
        "and Ganesan, J. Phys. Chem. B 2021, 125, 4838, "
        "https://doi.org/10.1021/acs.jpcb.1c02004."
    )


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
