"""Several networks of one kind from different weights: their mean, and a calibrated spread.

Where members disagree they extrapolate, each in its own way; what they have in common, among it
the noise of labels, no disagreement shows. The variance of label - prediction, relative to the
prediction, is therefore modelled as

    spread^2 = a^2 + (b s)^2

with s the members' relative standard deviation, and a and b fitted to the validation set
(Lakshminarayanan, Pritzel, Blundell, arXiv:1612.01474, for the ensemble).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn

from morphion.surrogates.networks import Batch, Surrogate3D, Targets


class Ensemble(Surrogate3D):
    """``members`` networks that ``make`` builds, trained on the same batches."""

    OUTPUT = "mean over the members"

    def __init__(self, make: Callable[[], Surrogate3D], members: int):
        super().__init__(())
        self.members = nn.ModuleList(make() for _ in range(members))
        self.has_tensor = self.members[0].has_tensor

    def set_normalisation(
        self, inputs: tuple[np.ndarray, np.ndarray] | None, diffusivity: np.ndarray
    ) -> None:
        super().set_normalisation(None, diffusivity)
        for member in self.members:
            member.set_normalisation(inputs, diffusivity)

    def initialise(self, generator: torch.Generator) -> None:
        for member in self.members:
            member.initialise(generator)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        for member in self.members:
            member.calibrate(batches, diffusivity)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """What each member returns, [members, B, ...]."""
        return torch.stack([member(inputs) for member in self.members])

    def learners(self) -> Sequence[nn.Module]:
        return list(self.members)

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        return output.mean(0)

    def diffusivity(self, output: torch.Tensor) -> torch.Tensor:
        return self._each(output).mean(0)

    def disagreement(self, output: torch.Tensor) -> torch.Tensor:
        each = self._each(output)
        return each.std(0) / each.mean(0)

    def training_errors(self, inputs: Any, targets: Targets) -> torch.Tensor:
        """Mean over the members, none of which sees the others."""
        return torch.stack([m.training_errors(inputs, targets) for m in self.members]).mean(0)

    def _each(self, output: torch.Tensor) -> torch.Tensor:
        """D* of each member, [members, B]."""
        parts = zip(self.members, output, strict=True)
        return torch.stack([member.diffusivity(one) for member, one in parts])


def fit_spread(residual: np.ndarray, disagreement: np.ndarray) -> tuple[float, float]:
    """a and b of the largest likelihood for normal ``residual`` [S], relative to the prediction.

    ``disagreement`` [S] is the members' relative standard deviation; where it is 0 throughout, a
    is the root mean square of the residuals and b is 0.
    """
    rms = float(np.sqrt(np.mean(residual**2)))
    size = float(np.sqrt(np.mean(disagreement**2)))
    if rms == 0 or size == 0:
        return rms, 0.0

    def cost(logarithms: np.ndarray) -> float:
        a, b = np.exp(logarithms)
        variance = a**2 + (b * disagreement) ** 2
        return float(np.mean(np.log(variance) + residual**2 / variance))

    half = np.log(np.sqrt(0.5) * np.array([rms, rms / size]))
    found = minimize(cost, half, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-8})
    a, b = np.exp(found.x)
    return float(a), float(b)
