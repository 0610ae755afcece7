import numpy as np
import pandas as pd
import pytest
import xarray as xr
from anneal_systems import layered_energy, small_config
from hypothesis import given, settings
from hypothesis import strategies as st

from morphion import store
from morphion.anneal.selection import choose_beyond, evaluation_sample, even_allocation, select
from morphion.anneal.stage import anneal_with_energy
from morphion.anneal.trajectory import read_evaluated, read_structures
from morphion.errors import SelectionError

REFERENCE = 0.04


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_config(tmp_path_factory.mktemp("selection"))


@pytest.fixture(scope="module")
def stores(config):
    """Two maximise jobs and a minimise one, of round 0."""
    jobs = (("maximise", range(1)), ("maximise", range(1, 2)), ("minimise", range(2)))
    paths = []
    for objective, runs in jobs:
        paths.append(config.output / f"{objective}-{runs[0]}.zarr")
        anneal_with_energy(
            layered_energy,
            config,
            0,
            objective,
            runs,
            paths[-1],
            model="m",
            model_digest="d",
            reference_diffusivity=REFERENCE,
        )
    return paths


def _dataset(path, config, labels, positions=None, converged=None):
    """A data set of given labels in D*, off the voxel centres unless positions are given."""
    labels = np.asarray(labels, dtype=float)
    if positions is None:
        positions = np.full((len(labels), 8, 3), 0.3)
    data = xr.Dataset(
        {
            "positions": (("structure", "particle", "xyz"), np.asarray(positions, np.float32)),
            "diffusivity": ("structure", labels * REFERENCE),
            "converged": ("structure", np.ones(len(labels), bool)),
        },
        attrs={"reference_diffusivity": REFERENCE},
    )
    if converged is not None:
        data["converged"] = ("structure", converged)
    store.write(path, data, kind="dataset", provenance={})
    return path


def _select(config, dataset, stores, folder, shards=3, round_=0):
    outputs = [folder / f"shard-{number}.zarr" for number in range(shards)]
    select(config, dataset, stores, round_, outputs, folder / "selection.csv")
    parts = [store.load(path, kind="structures") for path in outputs]
    return parts, pd.read_csv(folder / "selection.csv")


def _range(stores, objective):
    """Quartiles of what an objective reached: thresholds that leave enough beyond."""
    return np.quantile(read_evaluated(stores, objective).prediction, [0.25, 0.5, 0.75])


def _with(config, **anneal):
    return config.model_copy(update={"anneal": config.anneal.model_copy(update=anneal)})


def test_selected_structures_lie_beyond_the_data_and_are_distinct(config, stores, tmp_path):
    greatest, least = _range(stores, "maximise")[1], _range(stores, "minimise")[1]
    dataset = _dataset(tmp_path / "d", config, [greatest, least])
    parts, report = _select(config, dataset, stores, tmp_path)
    data = xr.concat(parts, "structure")
    high = data.family.values == "maximised"
    assert high.sum() == 40
    assert (~high).sum() == 20
    assert (data.prediction.values[high] > greatest).all()
    assert (data.prediction.values[~high] < least).all()
    predicted = layered_energy(data.positions.values)
    assert predicted == pytest.approx(data.prediction.values, abs=1e-7)
    assert len(np.unique(np.sort(data.positions.values.view("f4,f4,f4"), axis=1), axis=0)) == 60
    assert report.groupby("objective").bin_selected.sum().to_dict() == {
        "maximise": 40,
        "minimise": 20,
    }
    assert (report.filled == 0).all()


def test_all_that_the_annealing_reached_can_be_drawn_from_evenly(config, stores, tmp_path):
    dataset = _dataset(tmp_path / "d", config, [_range(stores, "maximise")[1], 0.5])
    wide = config.model_copy(
        update={"anneal": config.anneal.model_copy(update={"selection": "all"})}
    )
    parts, report = _select(wide, dataset, stores, tmp_path)
    data = xr.concat(parts, "structure")
    for objective, family, asked in (("maximise", "maximised", 40), ("minimise", "minimised", 20)):
        evaluated = read_evaluated(stores, objective).distinct().prediction
        drawn = data.prediction.values[data.family.values == family]
        rows = report[report.objective == objective]
        assert len(drawn) == asked == rows.bin_selected.sum()
        assert (rows.beyond == rows.distinct).all()
        # The bins span the predictions, and each gives an even share.
        assert (rows.bin_available >= asked // 5).all()
        assert (rows.bin_selected == asked // 5).all()
        assert np.ptp(drawn) > 0.6 * np.ptp(evaluated)


def test_shards_are_even_random_mixes_whose_groups_name_the_runs(config, stores, tmp_path):
    labels = [_range(stores, "maximise")[1], _range(stores, "minimise")[1]]
    parts, _ = _select(config, _dataset(tmp_path / "d", config, labels), stores, tmp_path, shards=7)
    assert sorted(part.sizes["structure"] for part in parts) == [8, 8, 8, 9, 9, 9, 9]
    assert all(set(part.family.values) == {"maximised", "minimised"} for part in parts)
    data = xr.concat(parts, "structure")
    assert set(data.group.values) == {
        "round0-maximise-run000",
        "round0-maximise-run001",
        "round0-minimise-run000",
        "round0-minimise-run001",
    }
    high = data.family.values == "maximised"
    assert sorted(data["index"].values[high]) == list(range(40))
    assert (data.variant == 0).all()
    assert parts[0].attrs["box_length"] == 20.0
    assert parts[0].attrs["diameter"] == config.geometry.diameter


def test_what_the_data_set_has_is_not_selected_again(config, stores, tmp_path):
    labels = [_range(stores, "maximise")[1], _range(stores, "minimise")[1]]
    first, _ = _select(config, _dataset(tmp_path / "d0", config, labels), stores, tmp_path)
    known = np.concatenate([part.positions.values for part in first])
    shuffled = known[:, ::-1]  # the same structures with their particles in another order
    everything = _dataset(
        tmp_path / "d1", config, np.tile(labels, len(known) // 2), positions=shuffled
    )
    second, _ = _select(config, everything, stores, tmp_path)
    found = np.concatenate([part.positions.values for part in second])
    known, found = (
        {np.sort(p.astype(np.int64) @ [400, 20, 1]).tobytes() for p in positions}
        for positions in (known, found)
    )
    assert len(found) == 60
    assert not known & found


def test_a_selection_is_reproducible(config, stores, tmp_path):
    labels = [_range(stores, "maximise")[1], _range(stores, "minimise")[1]]
    dataset = _dataset(tmp_path / "d", config, labels)
    first, _ = _select(config, dataset, stores, tmp_path / "a")
    second, _ = _select(config, dataset, stores, tmp_path / "b")
    for a, b in zip(first, second, strict=True):
        xr.testing.assert_equal(a, b)


def test_a_label_that_did_not_converge_sets_no_threshold(config, stores, tmp_path):
    labels = [_range(stores, "maximise")[1], _range(stores, "minimise")[1], 99.0]
    dataset = _dataset(tmp_path / "d", config, labels, converged=[True, True, False])
    _, report = _select(config, dataset, stores, tmp_path)
    assert report.threshold.max() == pytest.approx(labels[0])
    nothing = _dataset(tmp_path / "e", config, [1.0], converged=[False])
    with pytest.raises(SelectionError, match="no converged label"):
        _select(config, nothing, stores, tmp_path)


def test_a_short_selection_is_filled_with_the_best_that_are_left(config, stores, tmp_path, capsys):
    best = np.unique(read_evaluated(stores, "maximise").prediction)[-3]
    dataset = _dataset(tmp_path / "d", config, [best, _range(stores, "minimise")[1]])
    parts, report = _select(config, dataset, stores, tmp_path)
    message = capsys.readouterr().err
    data = xr.concat(parts, "structure")
    found = np.sort(data.prediction.values[data.family.values == "maximised"])[::-1]
    distinct = read_evaluated(stores, "maximise").distinct().prediction
    assert np.array_equal(found, np.sort(distinct)[::-1][:40])
    row = report[report.objective == "maximise"].iloc[0]
    assert row.beyond + row.filled == 40
    assert row.beyond == (distinct > best).sum() > 0
    assert f"{row.beyond} of 40 structures found with predictions above" in message
    assert f"filled with the {row.filled} next best predictions" in message


def test_a_short_selection_can_be_an_error(config, stores, tmp_path):
    strict = _with(config, on_short_selection="error")
    dataset = _dataset(tmp_path / "d", config, [9.0, 0.0001])
    highest = read_evaluated(stores, "maximise").prediction.max()
    with pytest.raises(SelectionError, match="0 of 40 structures found") as caught:
        _select(strict, dataset, stores, tmp_path)
    assert f"the highest prediction is {highest:.4f}" in str(caught.value)
    assert not (tmp_path / "shard-0.zarr").exists()


def test_fewer_structures_than_asked_are_all_taken(config, stores, tmp_path, capsys):
    greedy = _with(config, maximise=config.anneal.maximise.model_copy(update={"select": 10**6}))
    dataset = _dataset(tmp_path / "d", config, [1.0, 1.0])
    parts, _ = _select(greedy, dataset, stores, tmp_path)
    distinct = len(read_evaluated(stores, "maximise").distinct())
    assert sum((part.family == "maximised").values.sum() for part in parts) == distinct
    assert f"{10**6 - distinct} short" in capsys.readouterr().err


def test_a_selection_from_nothing_evaluated_is_an_error(config, stores, tmp_path):
    dataset = _dataset(tmp_path / "d", config, [0.9])
    with pytest.raises(SelectionError, match="20 structures asked of objective minimise"):
        _select(config, dataset, stores[:2], tmp_path)
    with pytest.raises(SelectionError, match="of 0 evaluated structures none is left"):
        _select(config, dataset, [], tmp_path)
    with pytest.raises(SelectionError, match="0 were evaluated"):
        evaluation_sample(config, [], 0, [tmp_path / "a"])


def test_stores_of_another_round_or_reference_are_refused(config, stores, tmp_path):
    dataset = _dataset(tmp_path / "d", config, [0.9])
    with pytest.raises(SelectionError, match="round = 0, expected 1"):
        _select(config, dataset, stores, tmp_path, round_=1)
    data = store.load(dataset, kind="dataset")
    data.attrs["reference_diffusivity"] = 0.05
    store.write(dataset, data, kind="dataset", provenance={})
    with pytest.raises(SelectionError, match=r"reference_diffusivity = 0.04, expected 0.05"):
        _select(config, dataset, stores, tmp_path)


def test_the_evaluation_sample_is_half_of_each_objective_and_distinct(config, stores, tmp_path):
    outputs = [tmp_path / "s0", tmp_path / "s1"]
    evaluation_sample(config, stores, 0, outputs)
    parts = [store.load(path, kind="structures") for path in outputs]
    data = xr.concat(parts, "structure")
    assert [part.sizes["structure"] for part in parts] == [15, 15]
    assert (data.family.values == "maximised").sum() == 15
    assert len(np.unique(np.sort(data.positions.values.view("f4,f4,f4"), axis=1), axis=0)) == 30


def test_the_evaluation_sample_is_uniform_over_what_was_evaluated(config, stores, tmp_path):
    many = _with(config, evaluation_sample=400)
    evaluation_sample(many, stores, 0, [tmp_path / "s"])
    data = store.load(tmp_path / "s", kind="structures")
    everything = read_evaluated(stores, "minimise").distinct().prediction
    sampled = data.prediction.values[data.family.values == "minimised"]
    share = len(sampled) / len(everything)
    error = everything.std() / np.sqrt(len(sampled)) * np.sqrt(1 - share)
    assert abs(sampled.mean() - everything.mean()) < 3 * error


def test_structures_come_back_in_the_order_asked(stores):
    evaluated = read_evaluated(stores, "maximise")
    rows = np.random.default_rng(0).permutation(len(evaluated))[:50]
    structures = read_structures(stores, evaluated[rows], 20)
    assert layered_energy(structures + 0.5).astype(np.float32) == pytest.approx(
        evaluated.prediction[rows]
    )


@pytest.mark.parametrize("maximise", [True, False])
def test_a_long_tail_of_predictions_is_selected_uniformly(maximise):
    sign = 1 if maximise else -1
    random = np.random.default_rng(3)
    gain = random.exponential(0.06, 200_000)
    prediction = 1 + sign * (gain[gain < 0.25] - 0.05)
    rows, table = choose_beyond(
        prediction, 1.0, 5000, maximise=maximise, bins=50, on_short="fill", random=random
    )
    assert len(np.unique(rows)) == 5000
    assert (table.bin_selected == 100).all()
    gain = sign * (prediction - 1)
    beyond = np.sort(gain[rows]) / gain.max()
    # Kolmogorov-Smirnov distance of 5000 independent uniform numbers, at three standard errors.
    assert np.abs(beyond - (np.arange(5000) + 0.5) / 5000).max() < 1.8 / np.sqrt(5000)


def test_a_logarithmic_scale_gives_small_predictions_their_share():
    prediction = np.random.default_rng(3).uniform(0.02, 1, 200_000)
    first = prediction.max()
    rows, table = choose_beyond(
        prediction,
        None,
        900,
        maximise=False,
        bins=50,
        on_short="fill",
        random=np.random.default_rng(4),
        scale="logarithmic",
    )
    assert (table.bin_selected == 18).all()
    ratios = table.bin_start / table.bin_end
    np.testing.assert_allclose(ratios, (first / prediction.min()) ** (1 / 50))
    share = np.log(0.1 / prediction.min()) / np.log(first / prediction.min())
    assert np.mean(prediction[rows] < 0.1) == pytest.approx(share, abs=0.02)
    assert table.beyond.iloc[0] == 200_000


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 300))
def test_an_allocation_is_as_even_as_what_is_available_allows(available, asked):
    available = np.array(available)
    takes = even_allocation(available, asked, np.random.default_rng(0))
    assert (takes <= available).all()
    assert takes.sum() == min(asked, available.sum())
    unfilled = takes < available
    if unfilled.any():
        assert takes.max() <= takes[unfilled].min() + 1
