"""The last weights of a trained network, moved until D* alone is met best.

A training that also learns local facts of the exact solution ends where a compromise between them
and D* is least. Where D* hardly differs between structures, as of cations that shun the ligands,
its errors are a small part of that and remain. Derivatives of ln D* with respect to some weights
are known (``Sums.sensitivities``), so that its squared errors over the training set fall by steps
of Gauss and Newton, damped as by Levenberg (doi:10.1090/qam/10666): few numbers, met by many
structures.

What such steps change is not only D*: what occupancies were taught is given up a little, and
networks then carry over less well to other loadings. So they count only where structures that took
no part, the validation set, gain by them notably.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from morphion.surrogates.leverage import whitening_of

# Shares of the mean squared error on the validation set that all steps together must gain, and one
# step at least to be followed by another.
_WORTH, _STEP = 0.1, 0.02
_DAMPING, _LESS, _MORE = 1e-2, 0.2, 10.0  # at first, after a step that gained, and after another


class Examples(NamedTuple):
    """Structures as inputs of ``forward``, batch after batch whenever asked, and their D* [S]."""

    batches: Callable[[], Iterable[Any]]
    diffusivity: np.ndarray


class Told(NamedTuple):
    """``error`` [S] of ln D*, label - prediction, and the ``sensitivities`` [S, K] of the latter to
    K weights."""

    error: np.ndarray
    sensitivities: np.ndarray


def settle(
    given: np.ndarray,
    told_with: Callable[[np.ndarray, Examples], Told],
    training: Examples,
    validation: Examples,
) -> np.ndarray:
    """The last weights float64 [K] of a network, from those it was ``given`` by its training.

    ``told_with(weights, examples)`` is what it tells of structures with some weights. Where steps
    gain too little, the weights are those given.
    """
    weights, found = given, told_with(given, training)
    begun = lowest = _mean_square(told_with(given, validation))
    damping, failed = _DAMPING, False
    while True:
        tried = weights + _change(found, damping)
        loss = _mean_square(told_with(tried, validation))
        if loss < (1 - _STEP) * lowest:  # never of a loss that is no number
            weights, lowest, failed = tried, loss, False
            found, damping = told_with(weights, training), _LESS * damping
        elif failed:
            break
        else:
            damping, failed = _MORE * damping, True
    return weights if lowest < (1 - _WORTH) * begun else given


def _change(found: Told, damping: float) -> np.ndarray:
    """The change c of the weights [K] for which mean (error - F c)^2 + damping sum (c_k f_k)^2 is
    least, f_k the root mean square of column k of the sensitivities F."""
    whitening = whitening_of(found.sensitivities, damping)
    # einsum, as where that is made
    wanted = np.einsum("sk,s->k", found.sensitivities, found.error) / len(found.error)
    return np.einsum("lk,lm,m->k", whitening, whitening, wanted)


def _mean_square(found: Told) -> float:
    return float(np.mean(found.error**2))
