"""Checkpoints: what of a training they give back."""

import numpy as np
import pytest
import torch

from morphion.errors import SurrogateError
from morphion.store import Partial
from morphion.surrogates.state import (
    Position,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
    tensors_of,
)


@pytest.mark.parametrize(("saved", "restored"), [(None, 65536.0), (8.0, 8.0)])
def test_a_scale_of_gradients_is_kept_where_there_was_one(tmp_path, saved, restored):
    model = torch.nn.Linear(2, 1)
    optimiser = torch.optim.Adam(model.parameters())
    before = torch.amp.GradScaler("cpu", init_scale=saved or 1.0, enabled=saved is not None)
    before.scale(model(torch.ones(1, 2)).sum()).backward()
    before.step(optimiser)
    before.update()
    partial = Partial(tmp_path / "model", {})
    save_checkpoint(partial, Position(), model, None, tensors_of(model), optimiser, before)
    after = torch.amp.GradScaler("cpu")
    kept = read_checkpoint(partial)
    assert (partial.folder / "history.csv").read_text().startswith("epoch,train_loss,")
    load_checkpoint(kept, model, None, torch.optim.Adam(model.parameters()), after, where="here")
    assert after.get_scale() == restored


def test_arrays_that_are_no_checkpoint_are_refused():
    model = torch.nn.Linear(2, 1)
    optimiser, scaler = torch.optim.Adam(model.parameters()), torch.amp.GradScaler("cpu")
    with pytest.raises(SurrogateError, match="here: no array 'scalars'"):
        load_checkpoint({"history": np.ones(7)}, model, None, optimiser, scaler, where="here")


def test_moments_lie_in_memory_as_their_weights_do(tmp_path):
    """On a GPU Adam treats all weights at once, and rounds otherwise, only then."""
    model = torch.nn.Conv3d(2, 4, 3).to(memory_format=torch.channels_last_3d)
    optimiser, scaler = torch.optim.Adam(model.parameters()), torch.amp.GradScaler(enabled=False)
    model(torch.ones(1, 2, 4, 4, 4)).sum().backward()
    optimiser.step()
    partial = Partial(tmp_path / "model", {})
    save_checkpoint(partial, Position(), model, None, tensors_of(model), optimiser, scaler)
    resumed = torch.optim.Adam(model.parameters())
    load_checkpoint(read_checkpoint(partial), model, None, resumed, scaler, where="here")
    for weights in model.parameters():
        for name in ("exp_avg", "exp_avg_sq"):
            before, after = optimiser.state[weights][name], resumed.state[weights][name]
            assert after.stride() == weights.stride()
            torch.testing.assert_close(after, before, rtol=0, atol=0)
