"""Compiled loops are kept where Numba may write, whatever that is."""

import os
from pathlib import Path

import pytest

from morphion.loops import settle_cache


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A package, and a user's cache that is not there yet."""
    (tmp_path / "package").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return tmp_path / "package"


def forbid(monkeypatch, *folders):
    """As a file system that is mounted read-only, which root minds as well."""
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) not in folders and real(path, mode)
    )


def test_numba_chooses_where_it_can(folders, monkeypatch):
    settle_cache(folders)
    assert "NUMBA_CACHE_DIR" not in os.environ
    forbid(monkeypatch, folders)
    settle_cache(folders)
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_a_folder_of_the_process_where_nothing_else_may_be_written(folders, monkeypatch):
    forbid(monkeypatch, folders, folders.parent)
    settle_cache(folders)
    found = Path(os.environ["NUMBA_CACHE_DIR"])
    assert found.is_dir()
    assert found.stat().st_mode & 0o777 == 0o700
    settle_cache(folders)
    assert os.environ["NUMBA_CACHE_DIR"] == str(found)


def test_what_the_user_says_holds(folders, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/mine")
    forbid(monkeypatch, folders, folders.parent)
    settle_cache(folders)
    assert os.environ["NUMBA_CACHE_DIR"] == "/mine"
