"""The training stage: a data set and a configuration block in, a model folder out."""

import math
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch

from morphion import provenance
from morphion.config import Config
from morphion.config.load import block, trained
from morphion.config.surrogates import Network
from morphion.errors import ConfigError, MorphionError, SurrogateError
from morphion.files import atomic_folder, require_replaceable
from morphion.philox import generator, stream_key
from morphion.progress import log
from morphion.stopping import Stopped
from morphion.store import Partial
from morphion.surrogates import parallel
from morphion.surrogates.build import build, representation, trainer
from morphion.surrogates.data import Inputs, Labelled, limited, read_labelled, with_currents
from morphion.surrogates.domain import measure_domain
from morphion.surrogates.memory import keep_freed_memory, peak_memory
from morphion.surrogates.model import A_MODEL, Description, read_description, write_model
from morphion.surrogates.networks import Batch, Surrogate3D
from morphion.surrogates.origin import require_own_labels
from morphion.surrogates.parallel import Ranks
from morphion.surrogates.precision import reproducible, strict_float32
from morphion.surrogates.settling import Examples
from morphion.surrogates.spread import Spread, fit_spread
from morphion.surrogates.state import HISTORY, HISTORY_FILE, Position, tensors_of, write_history
from morphion.transport.files import transport_record

_WORKER = "morphion.surrogates.worker"
_CALIBRATION = 512  # training structures that a network is calibrated on, and ...
_VIEWS = 6  # ... augmented views of each
_FIRST_VIEW = 1 << 31  # their epochs, out of reach of the training's


def train(
    config: Config,
    dataset_path: Path | str,
    network: str,
    split: str,
    round_: int,
    output: Path | str,
    currents: Sequence[Path | str] = (),
    *,
    device: str = "auto",
) -> None:
    """Train a network on one split of a data set and write its model folder.

    ``network`` names a training (``Surrogates.network``), ``split`` is ``random`` or ``by_run``;
    the round seeds the weights, so that a retraining starts from new ones. ``currents`` are stores
    of currents of the data set's structures, for a network that learns them. With ``ranks`` above 1
    the ranks are started here, unless torchrun started this process; a single one runs on
    ``device`` (``parallel.choose_device``). A killed training continues
    where it was and ends with the identical network; SIGTERM and Ctrl-C save and exit with status
    143 and 130.

    Raises ConfigError for a network or round the configuration lacks, StoreError for an unsound
    data set, SurrogateError for an empty set, fewer structures than ranks, labels made otherwise
    than the configuration says, or a loss that is not finite, MorphionError for an output that
    holds anything but a trained network.
    """
    output = Path(output)
    require_replaceable(output, *A_MODEL)
    _require_no_other(output, network, split)
    # Of the code that trains: by the end of a long training there may be another.
    provenance.git_commit()
    training = config.surrogates.network(network).training
    if round_ > config.rounds:
        raise ConfigError(f"round {round_}: the configuration has rounds = {config.rounds}")
    data = read_labelled(dataset_path, split)
    require_own_labels(str(dataset_path), data.attrs, config)
    data = limited(data, training.structures, config.seed, round_, split)
    if currents and config.surrogates.network(network).learns_currents:
        data = with_currents(data, currents, transport_record(config.transport))
    count = training.ranks
    if len(data.rows("train")) < count or len(data.rows("validation")) < count:
        raise SurrogateError(
            f"{dataset_path}: {len(data.rows('train'))} structures to train on and "
            f"{len(data.rows('validation'))} to validate with for {count} ranks; each rank needs "
            f"one of both: lower surrogates.networks.{network}.training.ranks"
        )
    if count > 1 and not parallel.inside_torchrun():
        job = {
            "config": block(config),
            "dataset_path": str(dataset_path),
            "network": network,
            "split": split,
            "round_": round_,
            "output": str(output),
            "currents": [str(path) for path in currents],
        }
        parallel.launch(_WORKER, job, count)
        return
    keep_freed_memory()
    strict_float32()
    with parallel.ranks(device) as ranks, reproducible(ranks.device):
        _Training(config, data, network, split, round_, output, ranks).run()


def _require_no_other(output: Path, network: str, split: str) -> None:
    """Refuse to replace a network of another name, as when a folder is named by mistake."""
    if not A_MODEL[1](output):
        return
    with suppress(SurrogateError):  # of one that cannot be read nothing is lost
        found = read_description(output)
        if (found.network_name, found.split) != (network, split):
            raise MorphionError(
                f"{output}: holds network {found.network_name!r} of the split {found.split!r}, not "
                f"{network!r} of {split!r}; name another folder, or delete it"
            )


class _Trained(NamedTuple):
    """Of a trained network: how long it took, whether its last layers were fitted to D* alone, the
    mean squared error of D* on the validation set, and what follows from its predictions there."""

    seconds: float
    settled: bool
    loss: float
    spread: Spread
    domain: dict[str, list[float]]


class _Training:
    """One rank's part of a training, from the data to the published folder."""

    def __init__(
        self,
        config: Config,
        data: Labelled,
        network: str,
        split: str,
        round_: int,
        output: Path,
        ranks: Ranks,
    ):
        self._config, self._data, self._ranks = config, data, ranks
        self._network, self._split, self._round, self._output = network, split, round_, output
        self._block: Network = config.surrogates.network(network)
        self._sees = representation(self._block, int(data.attrs["voxels"]))
        self._stream = (config.seed, round_, network, split)

    def run(self) -> None:
        """Train and, on rank 0, publish."""
        data, ranks, training = self._data, self._ranks, self._block.training
        key = self._key("augment") if training.augment else None
        rows, validation_rows = data.rows("train"), data.rows("validation")
        if self._block.learns_currents and ranks.is_first:
            self._warn_of_structures_without_currents()
        model = self._new_model()
        with self._fits_in_memory(self._structures):
            inputs = self._sees.hold(data, key, ranks.device)
            model.set_normalisation(inputs.normalisation(rows), data.diffusivity[rows])
            model.to(ranks.device)
        kept = Partial(self._output, self._identity()) if ranks.is_first else None
        with self._sees.threads(), self._fits_in_memory(self._a_batch), _Events(kept) as events:
            if data.solvent is not None:
                model.know_solvent(data.solvent)
            # The same structures on every rank, so that ranks do not have to agree on anything.
            model.calibrate(_views(inputs, self._some(rows), training.augment), data.diffusivity)
            loop = trainer(self._block)(
                model,
                inputs,
                data,
                rows,
                validation_rows,
                training,
                self._stream,
                ranks,
                kept,
                events.step,
                events.epoch,
            )
            try:
                position = loop.run()
            except Stopped as stopped:
                if ranks.is_first:
                    log(
                        f"{self._output}: stopped by {stopped.signal.name}; the same command "
                        "continues it"
                    )
                raise SystemExit(128 + stopped.signal) from None
            begun = time.perf_counter()
            sets = (self._examples(inputs, part) for part in (rows, validation_rows))
            settled = model.settle(*sets)  # on every rank all of it, as above
            model.remember(self._shown_again(inputs, rows))
            seconds = position.seconds + time.perf_counter() - begun
            predicted, novelty = loop.predict(validation_rows)
        if kept is not None:
            labels = data.diffusivity[validation_rows]
            spread = fit_spread(labels, predicted, novelty)
            domain = measure_domain(
                data.positions[rows],
                float(data.attrs["box_length"]),
                float(data.attrs["diameter"]),
                data.diffusivity[rows],
                spread.of(predicted, novelty) / predicted,
            )
            loss = float(np.mean((labels - predicted) ** 2))
            found = _Trained(seconds, settled, loss, spread, domain)
            self._publish(model, position, found, kept)
        # The other ranks leave once the folder is there.
        ranks.share(None)

    def _examples(self, inputs: Inputs, rows: np.ndarray) -> Examples:
        return Examples(partial(self._shown_again, inputs, rows), self._data.diffusivity[rows])

    def _shown_again(self, inputs: Inputs, rows: np.ndarray) -> Iterator[Any]:
        """Inputs of training structures as they are, no more at once than training has room for."""
        for _, batch in _views(inputs, rows, False, self._block.training.batch_size):
            yield batch()

    @contextmanager
    def _fits_in_memory(self, what: Callable[[], str]) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise SurrogateError(
                f"{self._ranks.device} has too little memory for {what()}"
            ) from error

    def _structures(self) -> str:
        return f"{len(self._data.split)} structures; free it, or train on CPU cores"

    def _a_batch(self) -> str:
        return (
            f"batch_size = {self._block.training.batch_size} on {self._ranks.count} ranks; lower "
            f"surrogates.networks.{self._network}.training.batch_size, or add ranks"
        )

    def _some(self, rows: np.ndarray) -> np.ndarray:
        """Structures to calibrate on, of all families: a data set is ordered by them."""
        order = generator(self._stream[0], "calibration", *self._stream[1:])
        return order.permutation(rows)[:_CALIBRATION]

    def _key(self, purpose: str) -> tuple[np.uint32, np.uint32]:
        return stream_key(self._stream[0], purpose, *self._stream[1:])

    def _new_model(self) -> Surrogate3D:
        model = build(self._block, self._sees.size)
        low, high = self._key("weights")
        model.initialise(torch.Generator().manual_seed((int(high) << 32 | int(low)) >> 1))
        return model.to(memory_format=self._sees.memory_format)

    def _identity(self) -> dict[str, Any]:
        described = trained(self._block)
        described["training"].pop("max_seconds", None)  # a longer one goes on where it was
        return {"network": described, "stream": self._stream, "dataset": self._data.digest}

    def _publish(
        self,
        model: Surrogate3D,
        position: Position,
        found: _Trained,
        partial: Partial,
    ) -> None:
        best = position.history[position.best_epoch]
        description = self._description(model, position, found)
        settled = f", {found.loss:.3g} with last layers fitted to D* alone" if found.settled else ""
        with atomic_folder(self._output, *A_MODEL) as scratch:
            scratch.mkdir(parents=True)
            write_model(scratch, description, tensors_of(model))
            write_history(scratch / HISTORY_FILE, position.history)
            shutil.copytree(partial.folder / "events", scratch / "events")
        partial.discard()
        log(
            f"{self._output}: {len(position.history)} epochs in {found.seconds:.0f} s; best "
            f"epoch {position.best_epoch}: loss {best[1]:.3g}, validation {best[2]:.3g} D*^2"
            f"{settled}; spread up to {100 * found.domain['relative_spread'][1]:.2g} % of D* in "
            f"the validation set; loader {100 * best[6]:.1f} % of a step"
        )

    def _warn_of_structures_without_currents(self) -> None:
        known, rows = self._data.known_currents, len(self._data.rows("train"))
        if known < rows:
            log(
                f"warning: {self._output}: currents of {known} of {rows} training structures; "
                f"{self._network} learns them beside D*, and less without: name what morphion "
                "currents made of all of them"
            )

    def _description(
        self,
        model: Surrogate3D,
        position: Position,
        found: _Trained,
    ) -> Description:
        data, config = self._data, self._config
        best = dict(zip(HISTORY, position.history[position.best_epoch], strict=True))
        network = block(self._block)
        return Description(
            network_name=self._network,
            network=network,
            split=self._split,
            round=self._round,
            seed=config.seed,
            box_length=float(data.attrs["box_length"]),
            diameter=float(data.attrs["diameter"]),
            voxels=int(data.attrs["voxels"]),
            particles=int(data.positions.shape[1]),
            reference_diffusivity=float(data.attrs["reference_diffusivity"]),
            spread=found.spread,
            domain=found.domain,
            training={
                "epochs": len(position.history),
                "best_epoch": position.best_epoch,
                "train_loss": best["train_loss"],
                "validation_loss": found.loss,
                "settled": found.settled,
                "seconds": round(found.seconds, 3),
                "samples_per_second": round(best["samples_per_second"], 3),
                "loader_share": round(best["loader_share"], 5),
                "parameters": model.fitted_numbers(),
                "ranks": self._ranks.count,
                "device": str(self._ranks.device),
                "peak_memory_bytes": peak_memory(self._ranks.device),
            },
            dataset={
                "path": str(data.path),
                "digest": data.digest,
                "currents": data.known_currents,
                **{
                    name: int((data.split == name).sum())
                    for name in ("train", "validation", "test")
                },
            },
            labels=block(config.labels),
            transport=transport_record(config.transport),
            normalisation={
                "output": model.OUTPUT,
                "log_mean": float(model.log_mean),
                "log_scale": float(model.log_scale),
            },
            versions={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "safetensors": safetensors.__version__,
            },
            provenance=provenance.record(network),
        )


def _views(inputs: Inputs, rows: np.ndarray, augmented: bool, size: int = 8) -> list[Batch]:
    """Batches of the structures as they are, or of several augmented views of each."""
    epochs = range(_FIRST_VIEW, _FIRST_VIEW + _VIEWS) if augmented else (None,)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [(part, partial(inputs.batch, part, epoch)) for epoch in epochs for part in parts]


class _Events:
    """TensorBoard events beside the checkpoints; rank 0 alone has a ``partial``."""

    def __init__(self, partial: Partial | None):
        self._writer = None
        if partial is not None:
            # Imported late: it takes a second, which prediction should not wait for.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(partial.folder / "events"))

    def __enter__(self) -> "_Events":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def step(self, step: int, loss: float) -> None:
        """Loss of a batch."""
        if self._writer is not None:
            self._writer.add_scalar("loss/step", loss, step)

    def epoch(self, row: tuple[float, ...]) -> None:
        """Everything the history keeps of an epoch."""
        if self._writer is not None:
            for name, value in zip(HISTORY[1:], row[1:], strict=True):
                if math.isnan(value):
                    continue  # not validated
                self._writer.add_scalar(f"epoch/{name}", value, int(row[0]))
