"""Labels of all structures on the device, and those of a batch."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from morphion.surrogates.data import Labelled
from morphion.surrogates.networks import Flows, Targets


class TargetsOf:
    """What each structure of a data set is to be like; held on the device."""

    def __init__(self, data: Labelled, device: torch.device):
        self._device = device
        self._diffusivity, self._tensor = (
            torch.from_numpy(labels.astype(np.float32)).to(device)
            for labels in (data.diffusivity, data.tensor)
        )
        self._currents = None
        if data.currents is not None and len(data.currents.current):
            held = (data.currents.row, data.currents.current, data.currents.occupancy)
            self._currents = tuple(torch.from_numpy(array).to(device) for array in held)

    def __call__(self, rows: np.ndarray, progress: float) -> Targets:
        """Targets of the structures ``rows``, int64 [B], after a share of the training."""
        return next(self.parts([rows], [progress]))

    def parts(self, parts: Sequence[np.ndarray], progress: Sequence[float]) -> Iterator[Targets]:
        """Those of one batch after the other. Labels are gathered at once, so that it takes no
        time in a step; currents, which are large, batch by batch."""
        if not parts:
            return
        sizes = [len(rows) for rows in parts]
        chosen = torch.from_numpy(np.concatenate(parts)).to(self._device, non_blocking=True)
        held = (chosen, *(x.index_select(0, chosen) for x in (self._diffusivity, self._tensor)))
        split = (labels.split(sizes) for labels in held)
        for rows, diffusivity, tensor, share in zip(*split, progress, strict=True):
            yield Targets(diffusivity, tensor, self._flows(rows), share)

    def _flows(self, chosen: torch.Tensor) -> Flows | None:
        if self._currents is None:
            return None
        row, current, occupancy = self._currents
        place = row.index_select(0, chosen)
        known = place >= 0
        place = place.clamp_min(0)
        return Flows(current.index_select(0, place), occupancy.index_select(0, place), known)
