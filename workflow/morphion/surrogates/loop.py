"""The training loop: Adam on the network's loss, early stopping, one batch after the other."""

import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from morphion.config.surrogates import Training
from morphion.errors import SurrogateError
from morphion.philox import generator
from morphion.progress import Reporter, progress
from morphion.stopping import Listener, Stopped
from morphion.store import Partial
from morphion.surrogates.data import Inputs, Labelled
from morphion.surrogates.networks import Learner, Surrogate3D, Targets
from morphion.surrogates.pairs import Graph
from morphion.surrogates.parallel import Ranks
from morphion.surrogates.precision import Precision, Stopwatch
from morphion.surrogates.schedule import averaged, learning_rate
from morphion.surrogates.state import (
    Position,
    load_checkpoint,
    load_tensors,
    read_checkpoint,
    save_checkpoint,
    tensors_of,
)
from morphion.surrogates.targets import TargetsOf


class _Batch(NamedTuple):
    """A rank's part of a global batch of ``size`` structures; its errors count ``weight``."""

    inputs: torch.Tensor | Graph
    targets: Targets
    weight: float
    size: int


# Times the least label: predictions that are all below are those of an exponential that underflows.
_COLLAPSED = 1e-3

OnStep = Callable[[int, float], None]
OnEpoch = Callable[[tuple[float, ...]], None]


def _heed(number: int, again: bool) -> None:
    """A first signal lets the step finish; who presses Ctrl-C again will not wait for that."""
    if again and number == signal.SIGINT:
        raise KeyboardInterrupt


class Loop:
    """One training, on every rank alike.

    Parameters
    ----------
    model : Surrogate3D
        On the device of ``ranks``, weights drawn; left with the best weights.
    inputs : Inputs
        Of all structures of the data set.
    data : Labelled
        The labels of all structures.
    train_rows, validation_rows : int64 arrays
        Indices of the structures of the two sets.
    stream : (seed, indices...)
        Names the random order of the batches.
    partial : Partial or None
        Where rank 0 keeps checkpoints.
    on_step, on_epoch : callables
        Called on rank 0 with (step, loss of the global batch) and with a row of the history.
    """

    def __init__(
        self,
        model: Surrogate3D,
        inputs: Inputs,
        data: Labelled,
        train_rows: np.ndarray,
        validation_rows: np.ndarray,
        training: Training,
        stream: tuple,
        ranks: Ranks,
        partial: Partial | None = None,
        on_step: OnStep = lambda *_: None,
        on_epoch: OnEpoch = lambda *_: None,
    ):
        self._model, self._inputs, self._ranks = model, inputs, ranks
        self._labels = data.diffusivity
        self._targets = TargetsOf(data, ranks.device)
        self._train_rows, self._validation_rows = train_rows, validation_rows
        self._training, self._stream, self._partial = training, stream, partial
        self._on_step, self._on_epoch = on_step, on_epoch
        self._precision = Precision(ranks.device, training.precision)
        self._require_one_precision()
        groups = [{"params": list(part.parameters())} for part in model.learners()]
        self._optimiser = torch.optim.Adam(groups, lr=training.learning_rate)
        decay = training.weight_average
        self._average = None if decay is None else averaged(model, decay)
        self._steps = math.ceil(len(train_rows) / training.batch_size)
        self._position, self._best = Position(), tensors_of(self._scored)
        self._listener = Listener(_heed)
        self._resume()
        self._network = self._wrap(training.compile)

    def _require_one_precision(self) -> None:
        """Gradients that one rank scales and another does not would be averaged as if alike."""
        name = self._precision.name
        if (first := self._ranks.share(name)) != name:
            raise SurrogateError(
                f"rank {self._ranks.rank} computes in {name}, rank 0 in {first}: the GPUs of a "
                "training must be alike, or training.precision be float32"
            )

    def run(self) -> Position:
        """Train to the end; returns the history and the best epoch.

        Raises SurrogateError if the loss is no longer finite, and Stopped after SIGTERM or
        SIGINT; the last checkpoint remains.
        """
        position, count = self._position, len(self._train_rows)
        done = position.epoch * count + min(position.batch * self._training.batch_size, count)
        total, first = self._training.max_epochs * count, self._ranks.is_first
        with progress("training", total, "structures", done, first) as report, self._listener:
            if self._ranks.count > 1:
                self._settle_sums()
            while not self._finished():
                self._train_epoch(report)
            # Told after the last epoch was closed, it would score nothing any more.
            if self._ranks.sum([self._told])[0]:
                raise Stopped(self._listener.received)
        load_tensors(self._model, self._best, where="the best epoch")
        self._average = None
        return self._position

    @property
    def _told(self) -> float:
        """Whether this rank was told to stop."""
        return float(self._listener.received is not None)

    @property
    def _scored(self) -> Surrogate3D:
        """The network that is validated and kept: the running mean where there is one."""
        return self._model if self._average is None else self._average.module

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """D* of structures as they are and their novelty, float64 [len(rows)], each predicted by
        one rank; in float32, as by ``morphion.surrogates.predict``."""
        return self._predict(rows, nullcontext(), to_the_end=True)

    def _predict(
        self, rows: np.ndarray, precision: AbstractContextManager, *, to_the_end: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """As ``predict``; unless it is to go on ``to_the_end``, what is left to do after a signal
        stays 0."""
        model = self._scored.eval()
        found = np.zeros((2, len(rows)))
        ranks, size = self._ranks, max(1, self._training.batch_size // self._ranks.count)
        mine = np.arange(ranks.rank, len(rows), ranks.count)
        with torch.inference_mode(), precision:
            for start in range(0, len(mine), size):
                if self._told and not to_the_end:
                    break
                part = mine[start : start + size]
                output = model(self._inputs.batch(rows[part], None))
                for row, read in enumerate((model.diffusivity, model.novelty)):
                    found[row, part] = read(output).double().cpu().numpy()
        prediction, novelty = ranks.sum(found)
        return prediction, novelty

    def _resume(self) -> None:
        ranks = self._ranks
        kept = read_checkpoint(self._partial) if ranks.is_first and self._partial else None
        kept = ranks.share(kept)
        if kept is not None:
            self._position, self._best = load_checkpoint(
                kept,
                self._model,
                self._average,
                self._optimiser,
                self._precision.scaler,
                where=str(self._partial.folder) if self._partial else "rank 0",
            )

    def _wrap(self, compile_: bool) -> torch.nn.Module:
        device, network = self._ranks.device, Learner(self._model)
        if self._ranks.count > 1:
            ids = [device.index] if device.type == "cuda" else None
            with warnings.catch_warnings():
                # Torch 2.13 has another name for it, of which 2.11 does not know.
                warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
                network = DistributedDataParallel(network, device_ids=ids, broadcast_buffers=False)
        return torch.compile(network) if compile_ and device.type == "cuda" else network

    def _settle_sums(self) -> None:
        """Let DDP order its buckets, which it does after the first gradients: NCCL's order of a sum
        depends on a weight's place, and a resumed training must not begin with another."""
        mine, _ = self._part(self._train_rows[: self._training.batch_size])
        with self._precision.autocast():
            errors = self._network(self._inputs.batch(mine, 0), self._targets(mine, 0.0))
        errors.sum().backward()
        self._optimiser.zero_grad(set_to_none=True)

    def _train_epoch(self, report: Reporter) -> None:
        position = self._position
        order = generator(*self._stream[:1], "order", *self._stream[1:], position.epoch)
        rows = order.permutation(self._train_rows)
        started, watch = time.monotonic(), Stopwatch(self._ranks.device)
        before, loaded = position.seconds, position.loading
        self._model.train()
        batches = self._batches(rows, watch)
        # None is left where a training was stopped after an epoch's last batch.
        batch, size = next(batches, None), 0
        while batch is not None:
            report.advance(size, self._note())
            size = batch.size
            loss, stop, batch = self._step(batch, batches)
            position.loss_sum += loss
            position.batch += 1
            position.seconds = before + time.monotonic() - started
            if stop:
                position.loading = loaded + watch.loading
                self._stop()
        position.loading = loaded + watch.loading
        self._close_epoch(started, before)
        report.advance(size, self._note())

    @property
    def _step_number(self) -> int:
        """Of the present step, counted from 0 over all epochs."""
        return self._position.epoch * self._steps + self._position.batch

    @property
    def _total_steps(self) -> int:
        return self._steps * self._training.max_epochs

    def _part(self, batch: np.ndarray) -> tuple[np.ndarray, float]:
        """Rows of a global batch that are this rank's, and how much their errors count."""
        mine = batch[self._ranks.rank :: self._ranks.count]
        # DDP needs a gradient of every rank; that of one without rows counts nothing.
        return (mine, 1.0) if len(mine) else (batch[:1], 0.0)

    def _batches(self, rows: np.ndarray, watch: Stopwatch) -> Iterator[_Batch]:
        """This rank's parts of the global batches that are left of an epoch, each loaded when it is
        asked for."""
        size, epoch = self._training.batch_size, self._position.epoch
        starts = range(self._position.batch * size, len(rows), size)
        parts = [self._part(rows[start : start + size]) for start in starts]
        mine = [part for part, _ in parts]
        first = epoch * self._steps
        targets = self._targets.parts(
            mine, [(first + start // size) / self._total_steps for start in starts]
        )
        # Cores that train have nothing to spare.
        beside = self._ranks.device.type != "cpu"
        with self._inputs.batches(mine, epoch, beside) as batches:
            for start, (_, weight) in zip(starts, parts, strict=True):
                watch.start()
                inputs, wanted = next(batches), next(targets)
                watch.loaded()
                yield _Batch(inputs, wanted, weight, len(rows[start : start + size]))

    def _step(self, batch: _Batch, batches: Iterator[_Batch]) -> tuple[float, bool, _Batch | None]:
        """Sum of the losses of the global batch, whether any rank was told to stop, and the batch
        after it."""
        ranks, position, step = self._ranks, self._position, self._step_number
        rate = learning_rate(self._training.learning_rate, step, self._total_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        with self._precision.autocast():
            errors = self._network(batch.inputs, batch.targets)
        loss = batch.weight * errors.sum()
        self._optimiser.zero_grad(set_to_none=True)
        # DDP averages gradients over ranks, of which one may hold more of the batch than another;
        # the errors are a mean over learners, each of which is to learn as it would alone.
        learners = len(self._optimiser.param_groups)
        self._precision.backward(loss * (ranks.count * learners / batch.size))
        # Meanwhile, while a GPU works on the gradients:
        following = next(batches, None)
        total, stops = ranks.sum([loss.item(), self._told])
        if not math.isfinite(total):
            raise SurrogateError(
                f"the loss is {total} in epoch {position.epoch}, batch {position.batch}: training "
                f"diverged; {self._remedy()}"
            )
        self._precision.step(self._optimiser, self._training.max_gradient)
        if self._average is not None:
            self._average.update_parameters(self._model)
        if ranks.is_first:
            self._on_step(step, total / batch.size)
        return float(total), bool(stops), following

    def _close_epoch(self, started: float, before: float) -> None:
        """Validate where it is due, and keep; the epoch's part since ``started`` began ``before``
        seconds into the training."""
        position = self._position
        self._require_sound_weights()
        validation, count = math.nan, position.epoch + 1
        if count % self._training.validate_every == 0 or count == self._training.max_epochs:
            autocast = self._precision.autocast()
            predicted, _ = self._predict(self._validation_rows, autocast, to_the_end=False)
            if self._ranks.sum([self._told])[0]:
                self._stop()
            validation = self._validation_loss(predicted)
        if validation < position.best_loss:
            position.best_loss, position.best_epoch = validation, position.epoch
            self._best = tensors_of(self._scored)
        step = (position.epoch + 1) * self._steps - 1
        rate = learning_rate(self._training.learning_rate, step, self._total_steps)
        opened = position.history[-1][4] if position.history else 0.0
        stepping = max(position.seconds - opened, 1e-9)
        speed, loader = len(self._train_rows) / stepping, position.loading / stepping
        # Ranks must agree on the time, or only some would stop.
        position.seconds = self._ranks.share(before + time.monotonic() - started)
        train = position.loss_sum / len(self._train_rows)
        row = (position.epoch, train, validation, rate, position.seconds, speed, loader)
        position.history.append(tuple(float(value) for value in row))
        position.epoch, position.batch = position.epoch + 1, 0
        position.loss_sum = position.loading = 0.0
        self._save()
        if self._ranks.is_first:
            self._on_epoch(position.history[-1])
        if self._ranks.sum([self._told])[0]:
            raise Stopped(self._listener.received)

    def _validation_loss(self, predicted: np.ndarray) -> float:
        """Mean square error of D*; raises SurrogateError if the training went astray."""
        epoch = self._position.epoch
        validation = float(np.mean((predicted - self._labels[self._validation_rows]) ** 2))
        if not math.isfinite(validation):
            raise SurrogateError(
                f"the validation loss is {validation} after epoch {epoch}: training diverged; "
                f"{self._remedy()}"
            )
        if predicted.max() < _COLLAPSED * self._labels[self._train_rows].min():
            raise SurrogateError(
                f"predictions fell to 0 by epoch {epoch}, at most {predicted.max():.2g}, where "
                f"their exponential has no gradient: it collapsed; {self._remedy()}"
            )
        return validation

    def _finished(self) -> bool:
        position, training = self._position, self._training
        if position.batch or not position.history or math.isnan(position.history[-1][2]):
            return False
        return (
            position.epoch >= training.max_epochs
            or position.epoch - 1 - position.best_epoch >= training.patience
            or (training.max_seconds is not None and position.seconds >= training.max_seconds)
        )

    def _remedy(self) -> str:
        rate, epochs = self._training.learning_rate, len(self._position.history)
        kept = "no epoch was finished"
        if epochs:
            kept = f"until then the checkpoint of epoch {epochs - 1} is kept in the .partial folder"
        return f"lower learning_rate = {rate:g}, and it starts anew; {kept}"

    def _stop(self) -> None:
        """Leave after a signal, so that the same command continues here."""
        self._require_sound_weights()
        self._save()
        self._ranks.share(None)  # the others leave once it is kept
        raise Stopped(self._listener.received)

    def _require_sound_weights(self) -> None:
        """A finite loss may have gradients that are not: the last sound checkpoint stays."""
        what = None
        if not all(weights.isfinite().all() for weights in self._model.parameters()):
            what = "weights are not finite"
        elif self._precision.is_lost:
            what = "gradients overflow at any scale"
        if what is not None:
            epoch = self._position.epoch
            raise SurrogateError(f"{what} in epoch {epoch}: training diverged; {self._remedy()}")

    def _save(self) -> None:
        if self._partial is not None and self._ranks.is_first:
            save_checkpoint(
                self._partial,
                self._position,
                self._model,
                self._average,
                self._best,
                self._optimiser,
                self._precision.scaler,
            )

    def _note(self) -> str:
        history = self._position.history
        note = f"{len(history)} of {self._training.max_epochs} epochs"
        if not history:
            return note
        _, train, validation, *_ = history[-1]
        return f"{note}: train {train:.3g}" + (
            "" if math.isnan(validation) else f", validation {validation:.3g}"
        )
