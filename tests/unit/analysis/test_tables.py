"""Tables: the right rows are scored, and the numbers are those of a hand calculation."""

import numpy as np
import pandas as pd
import pytest

from morphion import store
from morphion.analysis import extremes, summary, tables
from morphion.analysis.predictions import COLUMNS
from morphion.errors import MorphionError, SurrogateError


def _write(path, rows):
    """Predictions from (round, split, label, prediction, converged) rows."""
    table = pd.DataFrame(rows, columns=["round", "split", "label", "prediction", "converged"])
    each = range(len(table))
    group = [f"g{number}" for number in each]
    table = table.assign(
        structure=each, family="chain", group=group, label_stderr=0.01, spread=0.02
    )
    table[list(COLUMNS)].to_csv(path, index=False)
    return path


@pytest.fixture
def by_hand(tmp_path):
    """Errors of -0.1 and +0.2 on labels 0.5 and 1: MSE 0.025, MAPE 20 %."""
    rows = [
        (0, "train", 0.5, 0.4, True),
        (0, "train", 1.0, 1.2, True),
        (1, "test", 0.5, 0.6, True),
        (1, "test", 0.8, 0.8, True),
        (1, "test", 1.0, 1.1, True),
        (1, "unused", 9.0, 1.0, False),
        (1, "unused", 0.0, 0.1, True),
    ]
    return _write(tmp_path / "predictions.csv", rows)


def test_scores_are_those_of_a_hand_calculation(by_hand, run, tmp_path):
    tables.networks_table({"cnn": by_hand}, run.config, tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv").set_index("split")
    assert table.network.tolist() == ["cnn"] * 3
    train = table.loc["train"]
    assert (train.mse, train.mape) == pytest.approx((0.025, 20.0))
    assert np.isnan(train.pearson)  # two points lie on a line
    test = table.loc["test"]
    assert (test.structures, test.groups) == (3, 3)
    assert (test.mse, test.mape) == pytest.approx((0.02 / 3, 10.0))
    assert test.pearson == pytest.approx(np.corrcoef([0.5, 0.8, 1.0], [0.6, 0.8, 1.1])[0, 1], 1e-5)
    assert test.mse_low <= test.mse <= test.mse_high
    assert test.mape_low <= test.mape <= test.mape_high


def test_structures_of_one_run_are_one_to_an_interval(by_hand, run, tmp_path):
    table = pd.read_csv(by_hand)
    table.assign(group=np.where(table.split == "test", "run", "other")).to_csv(by_hand, index=False)
    tables.networks_table({"cnn": by_hand}, run.config, tmp_path / "t.csv")
    test = pd.read_csv(tmp_path / "t.csv").set_index("split").loc["test"]
    assert (test.structures, test.groups) == (3, 1)
    assert test.mape == pytest.approx(10)
    assert np.isnan(test.mape_low)


def test_a_split_without_structures_is_a_row_without_scores(by_hand, run, tmp_path):
    tables.networks_table({"cnn": by_hand}, run.config, tmp_path / "t.csv")
    row = pd.read_csv(tmp_path / "t.csv").set_index("split").loc["validation"]
    assert row.structures == 0
    assert np.isnan(row.mse)


def test_table1_scores_what_joined_in_each_round_and_the_evaluation(by_hand, run, tmp_path):
    tables.table1([by_hand], run.retrained, run.config, tmp_path / "table1.csv")
    table = pd.read_csv(tmp_path / "table1.csv")
    first, last = table.iloc[0], table.iloc[1]
    assert first.network == "round 0"
    assert (first.structures, first.unconverged) == (3, 2)
    assert first.mape == pytest.approx(10)
    assert (first.paper_mse, first.paper_mape, first.paper_pearson) == (3.611e-2, 15.634, 0.975)
    assert last.network == "round 1"
    assert (last.structures, last.unconverged) == (77, 3)
    assert (last.paper_mse, last.paper_mape, last.paper_pearson) == (5.739e-3, 7.133, 0.985)


def test_table1_tells_what_the_runs_were_after(by_hand, run, tmp_path):
    every = pd.read_csv(by_hand)
    every.loc[every.label == 1.0, "family"] = "maximised"
    every.loc[every.label == 0.8, "family"] = "maximised"
    every.loc[every.label == 0.5, "family"] = "minimised"
    every.to_csv(by_hand, index=False)
    tables.table1([by_hand], by_hand, run.config, tmp_path / "table1.csv")
    first = pd.read_csv(tmp_path / "table1.csv").iloc[0]  # the structures of round 1
    assert first.mape_maximised == pytest.approx(5)  # 0 and 10 %
    assert np.isnan(first.mape_minimised)  # one is too few


def test_walked_structures_are_scored_by_both_labels(by_hand, run, tmp_path):
    exact = pd.read_csv(by_hand).assign(group=list("abcdefg"), label_stderr=0.0)
    exact.to_csv(by_hand, index=False)
    walked = exact[exact.group.isin(["c", "e"])].assign(
        label=[0.6, 1.0], prediction=[0.6, 1.1], label_stderr=[0.006, 0.01]
    )
    flagged = walked.iloc[:1].assign(group="g", converged=False)
    pd.concat([walked, flagged]).to_csv(tmp_path / "walked.csv", index=False)
    arguments = ({"cnn": by_hand}, {"cnn": tmp_path / "walked.csv"}, run.config)
    tables.walked_table(*arguments, tmp_path / "w.csv")
    row = pd.read_csv(tmp_path / "w.csv").iloc[0]
    assert (row.structures, row.mape) == (2, pytest.approx(5))  # 0 and 10 %
    assert row.unconverged == 1
    assert row.exact_mape == pytest.approx(15)  # labels 0.5 and 1, predictions 0.6 and 1.1
    assert row.mape_noise_floor == pytest.approx(np.sqrt(2 / np.pi))  # of 1 % each
    walked.assign(group=["c", "unknown"]).to_csv(tmp_path / "walked.csv", index=False)
    with pytest.raises(MorphionError, match=r"walked\.csv: 2 structures, of which .* has 1"):
        tables.walked_table(*arguments, tmp_path / "w.csv")


def test_table2_puts_the_paper_beside_its_two_loadings_only(by_hand, run, tmp_path):
    tables.table2({0.15: by_hand, 0.2: by_hand}, run.config, tmp_path / "table2.csv")
    table = pd.read_csv(tmp_path / "table2.csv").set_index("volume_fraction")
    assert table.loc[0.15].paper_mape == 5.008
    assert np.isnan(table.loc[0.2].paper_mape)
    assert table.structures.tolist() == [5, 5]


def test_splits_table_names_network_scheme_and_split(by_hand, run, tmp_path):
    tables.splits_table({"cnn": by_hand}, {"cnn": by_hand}, run.config, tmp_path / "s.csv")
    table = pd.read_csv(tmp_path / "s.csv")
    assert table.scheme.tolist() == ["random"] * 3 + ["by_run"] * 3
    assert table.split.tolist() == ["train", "validation", "test"] * 2


def test_empty_or_foreign_inputs_are_refused_by_name(run, tmp_path):
    empty = _write(tmp_path / "empty.csv", [])
    with pytest.raises(SurrogateError, match=r"empty\.csv.*without rows"):
        tables.table2({0.15: empty}, run.config, tmp_path / "t.csv")
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("a,b\n1,2\n")
    with pytest.raises(SurrogateError, match=r"foreign\.csv.*no column 'structure'"):
        tables.table2({0.15: foreign}, run.config, tmp_path / "t.csv")
    with pytest.raises(SurrogateError, match=r"missing\.csv"):
        tables.table2({0.15: tmp_path / "missing.csv"}, run.config, tmp_path / "t.csv")
    for table in (tables.table2, tables.networks_table):
        with pytest.raises(MorphionError, match="at least one"):
            table({}, run.config, tmp_path / "t.csv")
    with pytest.raises(MorphionError, match="at least one"):
        tables.table1([], run.retrained, run.config, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


@pytest.fixture
def summarised(run, by_hand, tmp_path):
    """The summary of a run whose largest D is 1.25 of the first data set's, by labels 1.24."""
    tables.table1([run.annealed], run.retrained, run.config, tmp_path / "table1.csv")
    tables.table2({0.15: by_hand}, run.config, tmp_path / "table2.csv")
    tables.splits_table({"cnn": by_hand}, {"cnn": run.retrained}, run.config, tmp_path / "s.csv")
    solved = [("first data set", 0, 0.041, 0.04), ("first data set", 1, 0.042, 0.039)]
    solved += [("all rounds", 7, 0.052, 0.049), ("all rounds", 9, 0.051, 0.05)]
    rows = [("largest", of, i, 0, "chain", i, d, 1e-3, exact) for of, i, d, exact in solved]
    pd.DataFrame(rows, columns=extremes.COLUMNS).to_csv(tmp_path / "extremes.csv", index=False)
    speed = tmp_path / "speed.csv"
    speed.write_text(
        "network,seconds_per_label,seconds_per_prediction,seconds_per_prediction_low,"
        "seconds_per_prediction_high\nrdf,2,9,9,9\ncnn,2,1,1,1\ncnn,2,0.004,0.002,0.005\n"
    )
    files = [tmp_path / f for f in ("table1.csv", "table2.csv", "s.csv")]
    out = tmp_path / "summary.csv"
    summary.summary_table(*files, "cnn", tmp_path / "extremes.csv", run.pca, speed, out)
    return pd.read_csv(out).set_index("quantity")


def test_summary_puts_the_gain_in_diffusivity_beside_the_papers(summarised):
    gain = summarised.loc["maximum D over the first data set's"]
    assert (gain.paper, gain.ours) == pytest.approx((41.3, 25.0))


def test_summary_takes_each_number_from_its_table(summarised, run):
    assert summarised.loc["retrained network, training set: MAPE"].ours == pytest.approx(20)
    assert summarised.loc["retrained network, training set: MAPE"].paper == 3.147
    assert summarised.loc["15 % loading: Pearson R"].paper == 0.967
    assert summarised.loc["annealed, first network: MSE"].paper == 3.611e-2
    pca = store.load(run.pca, kind="pca")
    assert summarised.loc["R(PC1, D*)"].ours == pytest.approx(float(pca.correlation[0]), rel=1e-5)
    assert summarised.loc["R(PC1, D*)"].paper == -0.93
    speed = summarised.loc["time of a label over that of a prediction"]
    assert (speed.paper, speed.ours, speed.low, speed.high) == pytest.approx((1000, 500, 400, 1000))


def test_every_number_of_the_summary_carries_its_doubt(summarised):
    # Of as few structures as these sets have there are no resamples with an R.
    without = [f"retrained network, {set_} set: Pearson R" for set_ in ("training", "test")]
    without += ["15 % loading: Pearson R", "time of a label"]
    without.append("maximum D over the first data set's")  # of exact solutions
    doubted = summarised.drop(index=without)
    assert doubted[["ours", "low", "high"]].notna().all().all()
    assert ((doubted.low <= doubted.ours) & (doubted.ours <= doubted.high)).all()


def test_calibration_and_noise_floor_stand_beside_the_scores(by_hand, run, tmp_path):
    """Errors 0.1, 0, 0.1 at a spread of 0.02; labels 0.5, 0.8, 1 with a standard error of 0.01."""
    tables.networks_table({"cnn": by_hand}, run.config, tmp_path / "t.csv")
    row = pd.read_csv(tmp_path / "t.csv").set_index("split").loc["test"]
    assert row.coverage_68 == row.coverage_95 == pytest.approx(1 / 3, rel=1e-5)
    assert (row.coverage_68_least, row.coverage_68_most) == (0, 1)  # a structure to each third
    relative = (0.01 / 0.5 + 0.01 / 0.8 + 0.01) / 3
    assert row.mape_noise_floor == pytest.approx(100 * relative * (2 / np.pi) ** 0.5, rel=1e-5)


def test_learning_curves_count_what_each_training_saw(by_hand, run, tmp_path):
    rows = [(0, "train", 0.5, 0.4, True)] * 5 + [(0, "test", 0.5, 0.6, True)] * 2
    larger = _write(tmp_path / "larger.csv", rows)
    output = tmp_path / "t.csv"
    tables.learning_curve_table({"cnn": larger, "cnn-2": by_hand}, run.config, output)
    table = pd.read_csv(output)
    assert table.network.tolist() == ["cnn", "cnn"]
    assert table.training_structures.tolist() == [2, 5]
    assert table.mape.tolist() == pytest.approx([10, 20])


def test_out_of_distribution_scores_every_network_on_every_set(by_hand, run, tmp_path):
    sets = {name: {"cnn": by_hand, "rdf": by_hand} for name in ("evaluation", "loading-0.15")}
    pd.read_csv(by_hand).assign(group="another").to_csv(tmp_path / "known.csv", index=False)
    known = dict.fromkeys(("cnn", "rdf"), tmp_path / "known.csv")
    tables.out_of_distribution_table(sets, known, run.config, tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert table.set.tolist() == ["evaluation"] * 2 + ["loading-0.15"] * 2
    assert table.network.tolist() == ["cnn", "rdf"] * 2
    assert (table.structures == 5).all()


def test_what_comes_from_structures_that_were_trained_on_is_not_scored(by_hand, run, tmp_path):
    later = pd.read_csv(by_hand).assign(group=list("abcdefg"))
    later.to_csv(tmp_path / "later.csv", index=False)
    learned = later.assign(split=["train", "validation", "test", *["unused"] * 4])
    learned.to_csv(tmp_path / "learned.csv", index=False)
    sets = {"loading-0.15": {"cnn": tmp_path / "later.csv"}}
    learned = {"cnn": tmp_path / "learned.csv"}
    tables.out_of_distribution_table(sets, learned, run.config, tmp_path / "t.csv")
    row = pd.read_csv(tmp_path / "t.csv").iloc[0]
    assert (row.structures, row.mape) == (3, pytest.approx(10))  # c, d and e
