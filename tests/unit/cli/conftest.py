"""Fixtures of the commands' tests."""

import sys

import pytest

from morphion.cli import main


@pytest.fixture
def morphion(monkeypatch, capsys):
    """Run a command; returns its exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["morphion", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
