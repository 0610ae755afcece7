"""What changes along a training: the learning rate, and the running mean of the weights."""

import math

import torch
from torch.optim.swa_utils import AveragedModel

from morphion.surrogates.networks import Surrogate3D

# Adam's estimate of the gradients' variance is poor over its first steps.
_WARM_UP_STEPS = 20
_FINAL_RATE = 0.01  # of the first; a cosine joins the two

# Steps over which a running mean still forgets where it started faster than its decay says.
_AVERAGE_WARM_UP = 10


def learning_rate(first: float, step: int, steps: int) -> float:
    """Rate of a step: a linear warm-up, then a cosine from the first rate to 1 % of it."""
    warm_up = min(1.0, (step + 1) / _WARM_UP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return first * warm_up * (_FINAL_RATE + (1 - _FINAL_RATE) * cosine)


def averaged(model: Surrogate3D, decay: float) -> AveragedModel:
    """Running mean of the weights over the steps: it scores as if the rate were lower.

    The mean keeps ``decay`` of itself at a step, less over the first steps, so that it spans at
    most a tenth of a short training (Polyak & Juditsky, SIAM J. Control Optim. 30, 838 (1992)).
    """

    def mean(before: list[torch.Tensor], now: list[torch.Tensor], count: torch.Tensor) -> None:
        steps = int(count)
        kept = min(decay, (1 + steps) / (_AVERAGE_WARM_UP + steps))
        torch._foreach_lerp_(before, now, 1 - kept)

    # Of all weights at once: a GPU is waited for only once.
    return AveragedModel(model, multi_avg_fn=mean)
