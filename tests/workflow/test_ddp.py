"""Training on several ranks equals training in one process."""

import numpy as np
import pytest
from surrogate_cases import make_config, make_positions, write_dataset

from morphion.currents import solve_shard
from morphion.errors import SurrogateError
from morphion.surrogates import train
from morphion.surrogates.model import read_description, read_tensors


def step_losses(folder):
    """Loss of every global batch, from the TensorBoard events."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "events"), {"scalars": 0}).Reload()
    return np.array([event.value for event in events.Scalars("loss/step")])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["periodic", "resistor"])
def test_two_ranks_lose_what_one_process_loses_over_the_first_20_steps(tmp_path, name):
    # 39 training structures in batches of 8: the last batch has 7, four on one rank, three on the
    # other.
    dataset = write_dataset(tmp_path / "round0.zarr", make_positions())
    losses, currents = {}, [tmp_path / "part-0000.zarr"]
    solve_shard(make_config(tmp_path), dataset, 0, 0, 1, *currents)
    for ranks in (1, 2):
        config = make_config(tmp_path, max_epochs=4, ranks=ranks)
        train(config, dataset, name, "random", 0, tmp_path / str(ranks), currents)
        losses[ranks] = step_losses(tmp_path / str(ranks))
        assert read_description(tmp_path / str(ranks)).training["ranks"] == ranks
    assert len(losses[1]) == 20
    np.testing.assert_allclose(losses[2], losses[1], rtol=1e-5)
    one, two = (read_tensors(tmp_path / name) for name in ("1", "2"))
    for tensor in one:
        # What is familiar has entries of a hundred, made of an inverse.
        relative = 2e-4 if tensor == "familiar" else 1e-7
        np.testing.assert_allclose(
            two[tensor], one[tensor], rtol=relative, atol=2e-4, err_msg=tensor
        )


@pytest.mark.slow
def test_a_rank_that_cannot_write_says_so_and_the_others_do_not_wait(tmp_path):
    dataset = write_dataset(tmp_path / "round0.zarr", make_positions())
    (tmp_path / "file").write_text("")
    with pytest.raises(SurrogateError, match=r"Not a directory: .*file/model\.partial"):
        train(make_config(tmp_path, ranks=2), dataset, "rdf", "random", 0, tmp_path / "file/model")
