"""Several networks of one kind from different weights: their mean, and how far they disagree.

Where members disagree they extrapolate, each in its own way (Lakshminarayanan, Pritzel, Blundell,
arXiv:1612.01474): their relative standard deviation is the novelty of a structure, which enters the
spread of its prediction (``morphion.surrogates.spread``).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from morphion.surrogates.networks import Batch, Surrogate3D, Targets
from morphion.surrogates.settling import Examples

if TYPE_CHECKING:
    from morphion.surrogates.representations import Representation


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

    def know_solvent(self, conductance: float) -> None:
        for member in self.members:
            member.know_solvent(conductance)

    def calibrate(self, batches: Sequence[Batch], diffusivity: np.ndarray) -> None:
        for member in self.members:
            member.calibrate(batches, diffusivity)

    def settle(self, training: Examples, validation: Examples) -> bool:
        settled = [member.settle(training, validation) for member in self.members]
        return any(settled)

    def forward(self, inputs: torch.Tensor) -> list[Any]:
        """What each member returns."""
        return [member(inputs) for member in self.members]

    def takes_structures(self, device: torch.device) -> bool:
        return all(member.takes_structures(device) for member in self.members)

    def from_structures(
        self,
        sees: "Representation",
        positions: np.ndarray,
        box_length: float,
        diameter: float,
        device: torch.device,
    ) -> list[Any]:
        """As of all networks; members share the inputs that are made of structures, if any are."""
        structures = (sees, positions, box_length, diameter, device)
        if self.takes_structures(device):
            return [member.from_structures(*structures) for member in self.members]
        return super().from_structures(*structures)

    def learners(self) -> Sequence[nn.Module]:
        return list(self.members)

    def mean(self, output: Sequence[Any]) -> torch.Tensor:
        parts = zip(self.members, output, strict=True)
        return torch.stack([member.mean(one) for member, one in parts]).mean(0)

    def diffusivity(self, output: Sequence[Any]) -> torch.Tensor:
        return self._each(output).mean(0)

    def novelty(self, output: Sequence[Any]) -> torch.Tensor:
        """Relative standard deviation of D* between the members."""
        each = self._each(output)
        return each.std(0) / each.mean(0)

    def training_errors(self, inputs: Any, targets: Targets) -> torch.Tensor:
        """Mean over the members, none of which sees the others."""
        return torch.stack([m.training_errors(inputs, targets) for m in self.members]).mean(0)

    def _each(self, output: Sequence[Any]) -> torch.Tensor:
        """D* of each member, [members, B]."""
        parts = zip(self.members, output, strict=True)
        return torch.stack([member.diffusivity(one) for member, one in parts])
