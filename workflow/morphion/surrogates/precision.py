"""Arithmetic that depends on the device: its precision, its order, and timing."""

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

# Of gradients in float16. The periodic network's allow 32 on the study's data, where torch's usual
# 65536 would skip the first eleven steps; it doubles every 2000 steps that do not overflow.
_FIRST_SCALE = 1024.0
_LEAST_SCALE = 2.0**-24  # the least number of float16: a loss of 1 is 0 below it


def strict_float32() -> None:
    """Let GPUs convolve float32 as such, not rounded to 10 bits (TF32) as is their default.

    Symmetries would hold to 1e-3 only, and predictions would not be those of CPU cores.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """For a while, a GPU sums in the same order every time, so that a training can be repeated."""
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            # Pools have no other algorithm, and need none: each voxel belongs to one window.
            warnings.filterwarnings("ignore", "avg_pool3d_backward", UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(before)


def half_precision(device: torch.device) -> torch.dtype | None:
    """The type of 16 bits that a device computes with, None for none.

    GPUs before compute capability 8.0 (V100) would emulate bfloat16. cuDNN 9.8 to 9.12 convolves
    volumes of it wrongly, which PyTorch avoids since 2.9 (its issue 163539).
    """
    if device.type != "cuda":
        return torch.bfloat16
    if torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    wrong = 90800 <= (torch.backends.cudnn.version() or 0) < 91300
    return None if wrong and torch.__version__ < (2, 9) else torch.bfloat16


class Precision:
    """Mixed precision: bfloat16, or float16 with scaling on GPUs that would emulate it.

    ``choice`` is ``auto`` (on GPUs), ``mixed`` (on CPUs as well) or ``float32``. Processors with
    instructions for bfloat16 convolve twice as fast by them; others emulate it, slowly. ``name`` is
    that of the type it computes with.
    """

    def __init__(self, device: torch.device, choice: str):
        self._device, self._dtype = device.type, None
        if choice == "mixed" or (choice == "auto" and device.type == "cuda"):
            self._dtype = half_precision(device)
        self.name = str(self._dtype or torch.float32).removeprefix("torch.")
        scaled = self._dtype == torch.float16
        self.scaler = torch.amp.GradScaler(self._device, init_scale=_FIRST_SCALE, enabled=scaled)

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

    @property
    def is_lost(self) -> bool:
        """Whether scaled gradients overflowed at any scale there is: no step is taken any more."""
        return self.scaler.is_enabled() and self.scaler.get_scale() < _LEAST_SCALE


class Stopwatch:
    """Seconds that loading took in the steps of an epoch, on the device's own clock."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._marks: list[list] = []

    def start(self) -> None:
        """A step begins."""
        self._marks.append([self._now()])

    def loaded(self) -> None:
        """Its batch is ready."""
        self._marks[-1].append(self._now())

    @property
    def loading(self) -> float:
        """Seconds between both, over all steps; waits for the device."""
        if self._cuda:
            torch.cuda.synchronize()
        return sum(self._between(*marks) for marks in self._marks)

    def _now(self):
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, first, last) -> float:
        return 1e-3 * first.elapsed_time(last) if self._cuda else last - first
