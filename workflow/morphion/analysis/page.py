"""A table as a web page, for the report: values with their intervals, readable numbers."""

import html
from pathlib import Path

import pandas as pd

from morphion.files import atomic_file

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 1.5em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; border-bottom: 2px solid #555; }
th, td { padding: 0.3em 1em 0.3em 0; vertical-align: top; }
td { border-bottom: 1px solid #ddd; }
td.number { text-align: right; white-space: nowrap; }
small { color: #777; }
"""


def write_page(table: Path, title: str) -> None:
    """Write a CSV table as HTML beside it.

    A column ``x`` with limits ``x_low`` and ``x_high`` becomes one column "x [low, high]", and so
    does ``ours`` with the limits ``low`` and ``high`` of the summary.
    """
    data = pd.read_csv(table)
    limits = {name: (f"{name}_low", f"{name}_high") for name in data if f"{name}_low" in data}
    if {"ours", "low", "high"} <= set(data):
        limits["ours"] = ("low", "high")
    hidden = {limit for pair in limits.values() for limit in pair}
    shown = [name for name in data if name not in hidden and not data[name].isna().all()]
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in shown)
    body = "".join(
        "<tr>" + "".join(_cell(row, name, limits.get(name)) for name in shown) + "</tr>\n"
        for _, row in data.iterrows()
    )
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h3>{html.escape(title)}</h3>\n<table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody></table>\n"
        + ("<p><small>In brackets: 95 % intervals.</small></p>" if limits else "")
        + "</body></html>\n"
    )
    with atomic_file(table.with_suffix(".html")) as scratch:
        scratch.write_text(page, encoding="utf-8")


def _cell(row: pd.Series, name: str, limits: tuple[str, str] | None) -> str:
    value = row[name]
    if isinstance(value, str):
        return f"<td>{html.escape(value)}</td>"
    text = _number(value)
    if limits and not row[list(limits)].isna().any():
        low, high = (_number(row[limit]) for limit in limits)
        text += f" <small>[{low}, {high}]</small>"
    return f'<td class="number">{text}</td>'


def _number(value: float) -> str:
    if pd.isna(value):
        return "–"
    if isinstance(value, bool) or float(value).is_integer():
        return str(int(value))
    return f"{value:.4g}"
