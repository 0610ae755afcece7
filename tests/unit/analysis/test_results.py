"""The page that compares networks says what the tables say, and what was left out."""

import pandas as pd
import pytest

from morphion.analysis import overview, tables
from morphion.analysis.calibration import calibration_figure
from morphion.analysis.results import results_page


@pytest.fixture
def inputs(run, tmp_path):
    """Tables and figures of a run that left the paper's network out beyond 20 structures."""
    networks = {"periodic": run.retrained, "paper-20": run.annealed}
    named = {
        name: tmp_path / f"{name}.csv"
        for name in ("networks", "costs", "speed", "table1", "out_of_distribution", "left_out")
    }
    named["learning_curve"] = tmp_path / "learning_curve.csv"
    named["walked"] = tmp_path / "walked.csv"
    first = {"periodic": run.first_predictions}
    tables.walked_table(first, first, run.config, named["walked"])
    tables.networks_table(networks, run.config, named["networks"])
    tables.table1([run.annealed], run.retrained, run.config, named["table1"])
    sets = {"evaluation": networks}
    learned = dict.fromkeys(networks, run.first_predictions)
    tables.out_of_distribution_table(sets, learned, run.config, named["out_of_distribution"])
    tables.learning_curve_table(networks, run.config, named["learning_curve"])
    cost = {"epochs": 9, "training_seconds": 90.0, "ranks": 1, "device": "cpu"}
    costs = [
        {"network": "periodic", "kind": "periodic", "training_structures": 48, "flops": 2e6},
        {"network": "paper-20", "kind": "paper", "training_structures": 20, "flops": 3e10},
    ]
    pd.DataFrame([row | cost | {"parameters": 1234} for row in costs]).to_csv(named["costs"])
    where = {"device": "cpu", "processor": "P", "threads": 2}
    where |= {"label_method": "exact", "lattice": 60}
    times = [("periodic", 1, 2e-3), ("periodic", 64, 1e-3), ("paper-20", 1, 0.5)]
    pd.DataFrame(
        [
            {"network": name, "batch": batch, "seconds_per_prediction": seconds} | where
            for name, batch, seconds in times
        ]
    ).to_csv(named["speed"])
    left = {"network": "paper", "kind": "paper", "training_structures": 4096, "max_epochs": 10}
    left |= {"parameters": 11e6, "flops": 2e10}
    left |= {"seconds_single": 0.3, "seconds_batched": 0.25, "batch_predicted": 8}
    pd.DataFrame([left | {"seconds_per_sample": 1.5, "hours": 17.07}]).to_csv(named["left_out"])
    drawn = {n: tmp_path / f"{n}.png" for n in ("training", "calibration", "learning_curves")}
    overview.training_figure({"periodic": run.history}, drawn["training"])
    overview.learning_curves(named["learning_curve"], drawn["learning_curves"])
    calibration_figure(first, first["periodic"], run.annealed, drawn["calibration"])
    return named, drawn


def test_the_page_says_how_the_labels_were_made(inputs, run, tmp_path):
    """Not how the configuration, which may be another by now, would make them."""
    results_page(*inputs, run.config, tmp_path / "page.md")
    assert "exact labels on the 60³ lattice" in (tmp_path / "page.md").read_text()


def test_two_trainings_on_as_many_structures_are_one_entry(inputs, run, tmp_path):
    path = inputs[0]["learning_curve"]
    table = pd.read_csv(path)
    pd.concat([table, table[table.network == "periodic"]]).to_csv(path, index=False)
    results_page(*inputs, run.config, tmp_path / "page.md")
    curves = (tmp_path / "page.md").read_text().split("## Learning curves")[1].split("##")[0]
    assert curves.count("| periodic |") == 1


def test_the_page_holds_every_network_and_what_needs_a_gpu(inputs, run, tmp_path):
    page = tmp_path / "docs" / "page.md"
    results_page(*inputs, run.config, page)
    text = page.read_text()
    test = pd.read_csv(inputs[0]["networks"]).set_index(["network", "split"]).loc["periodic"]
    assert f"| test | {test.loc['test'].mse:.3g} [" in text
    assert "| paper | 4096 | needs a GPU |" in text
    assert "needs a GPU: 1.5 s a sample measured here, 17.1 h for 4096 structures" in text
    assert "| paper | 1.1e+07 | 2e+10 | needs a GPU: 1.5 s" in text
    assert "for 4096 structures and 10 epochs |  | 300 ms | 250 ms (8) |" in text
    assert "| periodic | 1234 | 2e+06 | 90 s on 1 x cpu | 9 | 2 ms | 1 ms (64) |" in text
    walked = pd.read_csv(inputs[0]["walked"]).iloc[0]
    shown = text.split("## Labels by kinetic Monte Carlo")[1]
    assert f"| periodic | {walked.mape:.3g} [" in shown
    assert f"| {walked.mape_noise_floor:.3g} |" in shown
    ratio = text.split("`paper-20` over each")[1]
    # 0.5 s over 2 ms, and over 1 ms; then 0.3 s, and 0.25
    assert "| 250 | 500 | 150 | 250 |" in ratio
    shown = {path.name for path in page.parent.iterdir()} - {"page.md"}
    assert shown == {
        f"page-{n}.{s}"
        for n in ("training", "calibration", "learning-curves")
        for s in ("png", "svg")
    }
    row = f"| periodic | {100 * test.loc['test'].coverage_68:.1f} | "
    assert row in text.split("## Calibration")[1]
    assert all(f"({name})" in text for name in shown if name.endswith("png"))
    assert "notes" not in text


def test_the_comparison_is_with_the_papers_network_that_learned_from_most(inputs, run, tmp_path):
    named, figures = inputs
    costs, speed, networks = (pd.read_csv(named[name]) for name in ("costs", "speed", "networks"))
    for table, changes in (
        (costs, {"training_structures": 8, "flops": 9e99}),
        (speed, {}),
        (networks, {}),
    ):
        smaller = table[table.network == "paper-20"].assign(network="paper-8", **changes)
        name = {id(costs): "costs", id(speed): "speed", id(networks): "networks"}[id(table)]
        pd.concat([table, smaller]).to_csv(named[name], index=False)
    results_page(named, figures, run.config, tmp_path / "page.md")
    assert "### `paper-20` over each" in (tmp_path / "page.md").read_text()


def test_notes_beside_the_page_are_linked(inputs, run, tmp_path):
    (tmp_path / "page-notes.md").write_text("# Notes")
    results_page(*inputs, run.config, tmp_path / "page.md")
    assert "(page-notes.md)" in (tmp_path / "page.md").read_text()


def test_a_run_without_learning_curves_and_loadings_has_a_page(inputs, run, tmp_path):
    named, figures = inputs
    del named["left_out"], named["learning_curve"], figures["learning_curves"]
    results_page(named, figures, run.config, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "Learning curves" not in text
    assert "needs a GPU" not in text
