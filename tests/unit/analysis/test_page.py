"""A table's web page shows values with their intervals."""

import pandas as pd

from morphion.analysis.page import write_page


def test_limits_join_their_value_and_empty_columns_are_left_out(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame(
        {
            "network": ["a<b"],
            "mse": [0.123456],
            "mse_low": [0.1],
            "mse_high": [0.2],
            "paper": [None],
        }
    ).to_csv(path, index=False)
    write_page(path, "Accuracy & more")
    page = (tmp_path / "t.html").read_text()
    assert "0.1235 <small>[0.1, 0.2]</small>" in page
    assert "<td>a&lt;b</td>" in page
    assert "Accuracy &amp; more" in page
    assert "mse low" not in page
    assert "paper" not in page


def test_whole_numbers_stay_whole(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"structures": [29], "mape": [3.0], "r": [float("nan")], "s": [1.5]}).to_csv(
        path, index=False
    )
    write_page(path, "t")
    assert (
        '<td class="number">29</td><td class="number">3</td>'
        in path.with_suffix(".html").read_text()
    )
