"""Arithmetic that depends on the device: mixed precision and timing."""

import time
from contextlib import AbstractContextManager, nullcontext

import torch


class Precision:
    """Mixed precision: bfloat16, or float16 with scaling on GPUs that would emulate it.

    ``choice`` is ``auto`` (on GPUs), ``mixed`` (on CPUs as well) or ``float32``. Processors with
    instructions for bfloat16 convolve twice as fast by them; others emulate it, slowly.
    """

    def __init__(self, device: torch.device, choice: str):
        self._device, self._dtype = device.type, None
        if device.type == "cuda" and choice != "float32":
            # Before compute capability 8.0 bfloat16 is emulated.
            native = torch.cuda.get_device_capability(device) >= (8, 0)
            self._dtype = torch.bfloat16 if native else torch.float16
        elif choice == "mixed":
            self._dtype = torch.bfloat16
        self.scaler = torch.amp.GradScaler(self._device, enabled=self._dtype == torch.float16)

    def autocast(self) -> AbstractContextManager:
        """Context of a forward pass."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device, dtype=self._dtype)

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of the loss, scaled if float16 needs it."""
        self.scaler.scale(loss).backward()

    def step(self, optimiser: torch.optim.Optimizer, max_gradient: float | None) -> None:
        """One step of the optimiser, the gradient of each of its groups no longer than
        ``max_gradient``; skipped where scaled gradients overflowed."""
        if max_gradient is not None:
            self.scaler.unscale_(optimiser)
            for group in optimiser.param_groups:
                torch.nn.utils.clip_grad_norm_(group["params"], max_gradient)
        self.scaler.step(optimiser)
        self.scaler.update()


class Stopwatch:
    """Share of the steps' time that loading took, on the device's own clock."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._marks: list[list] = []

    def start(self) -> None:
        """A step begins."""
        self._marks.append([self._now()])

    def loaded(self) -> None:
        """Its batch is ready."""
        self._marks[-1].append(self._now())

    def stop(self) -> None:
        """It ends."""
        self._marks[-1].append(self._now())

    @property
    def share(self) -> float:
        """Loading time over step time; waits for the device."""
        if self._cuda:
            torch.cuda.synchronize()
        loading = sum(self._between(start, loaded) for start, loaded, _ in self._marks)
        whole = sum(self._between(start, stop) for start, _, stop in self._marks)
        return loading / whole if whole > 0 else 0.0

    def _now(self):
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, first, last) -> float:
        return first.elapsed_time(last) if self._cuda else last - first
