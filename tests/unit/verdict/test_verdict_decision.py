"""A failed set stops the run in one line that says all; what was measured stays."""

import numpy as np
import pandas as pd
import pytest

from morphion.config import Config
from morphion.errors import StoreError, VerdictError
from morphion.philox import generator
from morphion.verdict import Decision, judge_set
from morphion.verdict.decision import decide
from morphion.verdict.measure import COLUMNS, read_measured


def measured(z, *, flagged=0, unsolved=0, method="kmc") -> pd.DataFrame:
    """Rows as a shard's table has them."""
    z = np.asarray(z, float)
    count = len(z) + flagged + unsolved
    value = np.concatenate([z, np.full(flagged + unsolved, np.nan)])
    table = pd.DataFrame(
        {
            "row": np.arange(count),
            "family": "chain",
            "index": np.arange(count),
            "method": method,
            "lattice": 75,
            "diffusivity": 0.02,
            "stderr": 0.0 if method == "exact" else 2e-4,
            "walkers": 0 if method == "exact" else 128,
            "converged": np.arange(count) < len(z) + unsolved,
            "exact": np.where(np.isnan(value), np.nan, 0.02),
            "residual": 1e-7,
            "solved": [*([True] * len(z)), *([False] * unsolved), *([None] * flagged)],
            "seconds": 1.0,
            "deviation": value * 0.01,
            "z": np.nan if method == "exact" else value,
            "score": np.nan if method == "exact" else value,
        }
    )
    return table[list(COLUMNS)]


def normal(count):
    return generator(1, "test-verdict").standard_normal(count)


def judge(tmp_path, *tables, **verdict) -> Decision:
    paths = [tmp_path / "round0" / f"shard-{i:04d}.csv" for i in range(len(tables))]
    for i, (path, table) in enumerate(zip(paths, tables, strict=True)):
        path.parent.mkdir(exist_ok=True)
        table.assign(index=table["index"] + 100 * i).to_csv(path, index=False)
    config = Config(output="out", verdict=verdict)
    judge_set(config, "round0", paths, tmp_path / "round0.json")
    return Decision.read(tmp_path / "round0.json")


def test_true_labels_pass(tmp_path):
    decision = judge(tmp_path, measured(normal(8), flagged=1), measured(-normal(8)))
    assert decision.verdict == "pass"
    assert (decision.tested, decision.flagged, decision.unsolved) == (16, 1, 0)
    assert [check.name for check in decision.checks] == ["largest_z", "mean_z", "rms_z"]
    assert decision.reasons() == []


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        (lambda z: z + np.eye(32)[5] * 8, "largest z"),
        (lambda z: z + 1.0, "mean z"),
        (lambda z: 0.4 * z, "rms z"),
        (lambda z: 2.0 * (z - z.mean()), "rms z"),
    ],
)
def test_each_way_of_being_wrong_is_a_failure_with_its_reason(spoiled, reason):
    decision = decide("round0", measured(spoiled(normal(32))), 3.0)
    assert decision.verdict == "fail"
    assert any(text.startswith(reason) for text in decision.reasons())


def test_a_failure_stops_with_set_worst_structures_and_what_to_do(tmp_path):
    z = normal(16)
    z[[3, 7]] = 12.0, -9.0
    with pytest.raises(VerdictError) as stopped:
        judge(tmp_path, measured(z))
    message = str(stopped.value)
    assert message.startswith("round0: labels failed their verdict: largest z = 12")
    assert "chain-3 (z = 12), chain-7 (z = -9)" in message
    assert str(tmp_path / "round0") in message
    assert "verdict.stop: false" in message
    assert "\n" not in message
    assert not (tmp_path / "round0.json").exists()
    assert (tmp_path / "round0/shard-0000.csv").exists()


def test_without_stop_a_failure_is_written_and_warned_of(tmp_path, capsys):
    decision = judge(tmp_path, measured(normal(16) + 5), stop=False)
    assert decision.verdict == "fail"
    assert "warning: round0: labels failed their verdict" in capsys.readouterr().err


def test_sigma_decides(tmp_path):
    table = measured([3.9, *normal(15)])
    assert judge(tmp_path, table).verdict == "pass"
    with pytest.raises(VerdictError, match="largest z"):
        judge(tmp_path, table, sigma=2.5)


def test_labels_without_an_exact_solution_to_compare_with_fail(tmp_path):
    with pytest.raises(VerdictError, match=r"short of verdict\.relative_residual: 1"):
        judge(tmp_path, measured(normal(8), unsolved=1))


@pytest.mark.parametrize("flagged", [0, 3])
def test_without_a_converged_label_there_is_no_verdict_and_no_stop(tmp_path, capsys, flagged):
    decision = judge(tmp_path, measured([], flagged=flagged))
    assert decision.verdict == "untested"
    assert decision.checks == ()
    assert "warning: round0: no converged label" in capsys.readouterr().err


def test_exact_labels_are_judged_by_their_largest_deviation():
    good = decide("round0", measured([1e-4, -2e-3], method="exact"), 3.0)
    assert (good.verdict, good.method) == ("pass", "exact")
    bad = decide("round0", measured([1e-4, -0.2], method="exact"), 3.0)
    assert bad.reasons() == ["largest deviation = 0.002 (limits 0 and 0.001)"]
    assert bad.worst[0] == "chain-1 (deviation -0.002)"


def test_infinite_z_fail_without_breaking_the_file(tmp_path):
    table = measured(normal(8))
    table.loc[2, ["z", "score"]] = -np.inf, -37.0
    assert judge(tmp_path, table, stop=False).verdict == "fail"
    assert "Infinity" not in (tmp_path / "round0.json").read_text()


def test_a_label_counts_once(tmp_path):
    table = measured(normal(4))
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    for name in (path, other):
        table.to_csv(name, index=False)
    with pytest.raises(StoreError, match=r"b\.csv: chain-0 is in a table before it"):
        read_measured([path, other])


@pytest.mark.parametrize("left", [10, 100])
def test_a_table_that_is_cut_off_is_named_with_its_line(tmp_path, left):
    path = tmp_path / "a.csv"
    measured(normal(4)).to_csv(path, index=False)
    head, *rows = path.read_text().splitlines()
    assert len(rows[-1]) > left
    path.write_text("\n".join([head, *rows[:-1], rows[-1][:10]]))
    with pytest.raises(StoreError, match=r"a\.csv, line 5: cut off"):
        read_measured([path])


def test_files_that_are_no_verdict_are_named(tmp_path):
    for text in ("", "[1]", "{}", '{"checks": []}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(StoreError, match=r"bad\.json: cannot be read as a verdict"):
            Decision.read(tmp_path / "bad.json")
