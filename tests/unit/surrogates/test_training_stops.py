"""How a training is stopped: by a signal, by a loss that went wrong, by memory; nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from surrogate_cases import assert_same_network, history, make_config

from morphion import stopping
from morphion.config import dump_config
from morphion.errors import MorphionError, SurrogateError
from morphion.surrogates import precision, train
from morphion.surrogates.loop import Loop
from morphion.surrogates.networks import Surrogate3D
from morphion.surrogates.precision import Precision


# In an epoch of five steps, and at its end; by a batch system, and by a person.
@pytest.mark.parametrize(
    ("at_step", "number", "status"),
    [(17, signal.SIGTERM, 143), (19, signal.SIGTERM, 143), (17, signal.SIGINT, 130)],
)
def test_a_signal_in_an_epoch_saves_and_the_training_resumes(
    tmp_path, config, dataset, monkeypatch, at_step, number, status
):
    train(config, dataset, "periodic", "random", 0, tmp_path / "whole")
    step = Loop._step

    def terminated(self, *arguments):
        if self._step_number == at_step:
            os.kill(os.getpid(), number)
        return step(self, *arguments)

    monkeypatch.setattr(Loop, "_step", terminated)
    with pytest.raises(SystemExit) as stopped:
        train(config, dataset, "periodic", "random", 0, tmp_path / "resumed")
    assert stopped.value.code == status
    seen = []
    monkeypatch.setattr(
        Loop, "_step", lambda self, *rest: seen.append(self._step_number) or step(self, *rest)
    )
    train(config, dataset, "periodic", "random", 0, tmp_path / "resumed")
    assert seen[0] == at_step + 1
    assert_same_network(tmp_path / "whole", tmp_path / "resumed")


def test_sigterm_after_the_last_epoch_is_not_a_network_without_predictions(
    tmp_path, config, dataset, monkeypatch
):
    train(config, dataset, "rdf", "random", 0, tmp_path / "whole")
    note, told = Loop._note, []

    def terminated(self):
        if self._finished():
            os.kill(os.getpid(), signal.SIGTERM)
            told.append(self._position.epoch)
        return note(self)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_note", terminated)
        with pytest.raises(SystemExit) as stopped:
            train(config, dataset, "rdf", "random", 0, tmp_path / "resumed")
    assert stopped.value.code == 143
    assert told
    assert not (tmp_path / "resumed").exists()
    train(config, dataset, "rdf", "random", 0, tmp_path / "resumed")
    assert_same_network(tmp_path / "whole", tmp_path / "resumed")


def test_sigterm_while_validating_saves_and_the_training_resumes(
    tmp_path, config, dataset, monkeypatch
):
    train(config, dataset, "periodic", "random", 0, tmp_path / "whole")
    predict, calls = Loop._predict, []

    def terminated(self, rows, *precision, **how):
        calls.append(len(rows))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return predict(self, rows, *precision, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_predict", terminated)
        with pytest.raises(SystemExit) as stopped:
            train(config, dataset, "periodic", "random", 0, tmp_path / "resumed")
    assert stopped.value.code == 143
    assert len(calls) == 3
    seen, step = [], Loop._step
    monkeypatch.setattr(
        Loop, "_step", lambda self, *rest: seen.append(self._step_number) or step(self, *rest)
    )
    train(config, dataset, "periodic", "random", 0, tmp_path / "resumed")
    assert seen[0] == 15  # the third epoch's five steps were not made again
    assert_same_network(tmp_path / "whole", tmp_path / "resumed")
    for row in history(tmp_path / "resumed"):
        assert float(row["samples_per_second"]) > 0
        assert 0 < float(row["loader_share"]) < 1


@pytest.mark.parametrize("name", ["rdf", "resistor", "graph", "periodic", "untiled"])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    tmp_path, config, dataset, monkeypatch, name
):
    poison(monkeypatch, 12)
    message = r"loss is nan in epoch 2, batch 2.*lower learning_rate.* epoch 1 is kept in the .part"
    with pytest.raises(SurrogateError, match=message):
        train(config, dataset, name, "random", 0, tmp_path / "model")
    with np.load(tmp_path / "model.partial" / "checkpoint.npz") as kept:
        assert kept["scalars"][0] == 2
        assert all(np.isfinite(kept[name]).all() for name in kept.files if ":" in name)


def test_a_loss_that_is_not_finite_at_once_says_that_nothing_is_kept(
    tmp_path, config, dataset, monkeypatch
):
    poison(monkeypatch, 3)
    with pytest.raises(SurrogateError, match=r"loss is nan in epoch 0, .*no epoch was finished"):
        train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    assert not (tmp_path / "model.partial" / "checkpoint.npz").exists()


def test_a_signal_after_the_training_leaves_its_predictions_whole(
    tmp_path, config, dataset, monkeypatch
):
    """Between the last agreement of the ranks and the end of listening."""
    train(config, dataset, "rdf", "random", 0, tmp_path / "whole")
    run = Loop.run

    def told_too_late(self):
        position = run(self)
        self._listener.received = signal.SIGTERM
        return position

    monkeypatch.setattr(Loop, "run", told_too_late)
    train(config, dataset, "rdf", "random", 0, tmp_path / "told")
    assert_same_network(tmp_path / "whole", tmp_path / "told")


@pytest.mark.parametrize("at_step", [14, 12])
def test_gradients_that_are_not_finite_leave_the_last_sound_checkpoint(
    tmp_path, config, dataset, monkeypatch, at_step
):
    """The loss is finite still: in an epoch's last step, and where a signal comes in the same."""
    step, backward, steps = Precision.step, Precision.backward, []

    def told(self, loss):
        steps.append(loss)
        if len(steps) == at_step + 1 == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        backward(self, loss)

    def overflowing(self, optimiser, *limit):
        if len(steps) == at_step + 1:
            for group in optimiser.param_groups:
                for weights in group["params"]:
                    weights.grad.fill_(float("inf"))
        step(self, optimiser, *limit)

    monkeypatch.setattr(Precision, "step", overflowing)
    monkeypatch.setattr(Precision, "backward", told)
    config = make_config(tmp_path, validate_every=2)
    with pytest.raises(SurrogateError, match=r"not finite.*lower learning_rate.* epoch 1 is kept"):
        train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    with np.load(tmp_path / "model.partial" / "checkpoint.npz") as kept:
        assert kept["scalars"][0] == 2
        assert all(np.isfinite(kept[name]).all() for name in kept.files if ":" in name)


def test_gradients_that_overflow_at_any_scale_train_nothing_and_say_so(
    tmp_path, config, dataset, monkeypatch
):
    """As of a float16 that is never finite: each step is skipped, and the loss stays as it is."""
    monkeypatch.setattr(precision, "half_precision", lambda _: torch.float16)
    monkeypatch.setattr(precision, "_FIRST_SCALE", 2.0**-20)
    backward = Precision.backward

    def overflowing(self, loss):
        assert self.scaler.is_enabled()
        backward(self, loss * float("inf"))

    monkeypatch.setattr(Precision, "backward", overflowing)
    config = make_config(tmp_path, max_epochs=6, precision="mixed")
    with pytest.raises(SurrogateError, match=r"overflow at any scale in epoch 0: .*lower learning"):
        train(config, dataset, "periodic", "random", 0, tmp_path / "model")


@pytest.mark.parametrize("name", ["rdf", "untiled"])
def test_predictions_that_fall_to_zero_stop_the_training(
    tmp_path, config, dataset, monkeypatch, name
):
    # The loss is finite for ever after.
    poison(monkeypatch, 12, lambda model: [model.dense[-1].bias], -1e4)
    message = r"fell to 0 by epoch [23], .*collapsed; lower learning_rate.* is kept in the .part"
    with pytest.raises(SurrogateError, match=message):
        train(config, dataset, name, "random", 0, tmp_path / "model")


def poison(monkeypatch, at_step, tensors=Surrogate3D.parameters, value=float("nan")):
    """Set a weight of each of some tensors before a step."""
    step = Loop._step

    def poisoned(self, *arguments):
        if self._step_number == at_step:
            for parameter in tensors(self._model):
                parameter.data[(0,) * parameter.dim()] = value
        return step(self, *arguments)

    monkeypatch.setattr(Loop, "_step", poisoned)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ((Loop, "_step"), r"batch_size = 8 on 1 ranks.*rdf\.training\.batch"),
        ((Surrogate3D, "set_normalisation"), "cpu has too little memory for 64 structures; free"),
    ],
)
def test_memory_that_does_not_suffice_names_what_it_is_for(
    tmp_path, config, dataset, monkeypatch, where, message
):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(*where, full)
    with pytest.raises(SurrogateError, match=message):
        train(config, dataset, "rdf", "random", 0, tmp_path / "model")


def test_ctrl_c_pressed_again_does_not_wait_for_the_step(tmp_path, config, dataset, monkeypatch):
    def pressed(self, *_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Loop, "_step", pressed)
    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    assert signal.getsignal(signal.SIGINT) is handler


def test_sigterm_that_python_dropped_before_the_training_stops_it(
    tmp_path, config, dataset, monkeypatch
):
    # As in a finaliser, from which nothing is raised.
    monkeypatch.setattr(stopping, "_leaver", leaver := stopping._Leaver())
    with suppress(SystemExit):
        leaver(signal.SIGTERM, None)
    with pytest.raises(SystemExit) as stopped:
        train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    assert stopped.value.code == 143
    assert (tmp_path / "model.partial" / "checkpoint.npz").is_file()


def test_a_folder_of_other_things_is_not_replaced_by_a_model(tmp_path, config, dataset):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("kept")
    with pytest.raises(MorphionError, match=r"notes: holds 'a\.txt' and is not a trained network"):
        train(config, dataset, "rdf", "random", 0, tmp_path / "notes")
    assert (tmp_path / "notes" / "a.txt").read_text() == "kept"
    assert not (tmp_path / "notes.partial").exists()


def test_a_network_of_another_name_is_not_replaced(tmp_path, config, dataset):
    train(config, dataset, "rdf", "random", 0, tmp_path / "model")
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    for name, split in (("nearest_distance", "random"), ("rdf", "by_run")):
        with pytest.raises(MorphionError, match=r"model: holds network 'rdf' of the split 'random"):
            train(config, dataset, name, split, 0, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights
    train(config, dataset, "rdf", "random", 0, tmp_path / "model")  # as a rule that is run again


@pytest.mark.slow
def test_a_terminated_process_exits_with_143_and_publishes_nothing(tmp_path, dataset):
    config = make_config(tmp_path, max_epochs=100_000, patience=100_000)
    dump_config(config, tmp_path / "config.yaml")
    code = (
        "import sys; from morphion.config import load_config; from morphion.surrogates import "
        "train; train(load_config(sys.argv[1]), sys.argv[2], 'rdf', 'random', 0, sys.argv[3])"
    )
    output = tmp_path / "model"
    arguments = [str(tmp_path / "config.yaml"), str(dataset), str(output)]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE)
    checkpoint = tmp_path / "model.partial" / "checkpoint.npz"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    _, message = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"continues it" in message
    assert checkpoint.exists()
    assert not output.exists()
