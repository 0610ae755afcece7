"""The report shows every verdict, and where the z of each set lie."""

import analysis_inputs as inputs
import pandas as pd
import pytest
from test_figures import assert_drawn

from morphion.analysis.page import write_page
from morphion.analysis.verdicts import verdict_figure, verdict_table
from morphion.errors import MorphionError, StoreError


@pytest.fixture
def sets(tmp_path):
    """Decisions and tables of a good set, a shifted one, and one without a label to test."""
    made = {
        "round0": inputs.write_verdict(tmp_path / "verdict", "round0", 24),
        "round1": inputs.write_verdict(tmp_path / "verdict", "round1", 24, shift=2.0),
        "evaluation": inputs.write_verdict(tmp_path / "verdict", "evaluation", 0),
    }
    decisions = {name: decision for name, (decision, _) in made.items()}
    return decisions, {name: [table] for name, (_, table) in made.items()}


def test_the_table_spells_out_which_set_failed_and_why(sets, tmp_path):
    decisions, _ = sets
    verdict_table(decisions, tmp_path / "verdict.csv")
    table = pd.read_csv(tmp_path / "verdict.csv").set_index("set")
    assert table.verdict.to_dict() == {"round0": "pass", "round1": "FAIL", "evaluation": "untested"}
    assert table.tested.to_dict() == {"round0": 24, "round1": 24, "evaluation": 0}
    assert "mean z = " in table.failed["round1"]
    assert pd.isna(table.failed["round0"])
    assert table.mean_z_limits["round0"] == "-0.678 to 0.678"
    write_page(tmp_path / "verdict.csv", "Labels against the exact solution")
    page = (tmp_path / "verdict.html").read_text()
    assert "<td>FAIL</td>" in page
    assert "95 %" not in page


def test_the_figure_shows_every_set_with_its_verdict(sets, tmp_path):
    output = tmp_path / "figures" / "verdict.png"
    verdict_figure(*sets, output)
    assert_drawn(output)
    text = output.with_suffix(".svg").read_text()
    for word in ("round0", "round1", "evaluation", "FAIL", "untested"):
        assert f"<!-- {word} -->" in text


def test_a_figure_without_any_tested_label_says_so(sets, tmp_path):
    decisions, measured = ({"evaluation": part["evaluation"]} for part in sets)
    output = tmp_path / "figures" / "verdict.png"
    verdict_figure(decisions, measured, output)
    assert_drawn(output)
    assert "no structure tested" in output.with_suffix(".svg").read_text()


def test_missing_verdicts_are_refused_by_name(sets, tmp_path):
    with pytest.raises(MorphionError, match="needs at least one set"):
        verdict_table({}, tmp_path / "t.csv")
    with pytest.raises(MorphionError, match="needs at least one set"):
        verdict_figure({}, {}, tmp_path / "f.png")
    with pytest.raises(StoreError, match=r"gone\.json"):
        verdict_table({"round0": tmp_path / "gone.json"}, tmp_path / "t.csv")
