"""Running the workflow on a configuration in a temporary folder."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).with_name("tiny.yaml")


@pytest.fixture(scope="session")
def snakemake() -> Callable[..., subprocess.CompletedProcess]:
    """Call Snakemake on the project's Snakefile; its output is captured as text."""

    def run(folder: Path, config: Path, *options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(folder), "--configfile", str(config)]
        return subprocess.run(
            [*command, *options], capture_output=True, text=True, cwd=folder, check=False
        )

    return run


@pytest.fixture
def tiny(tmp_path) -> Callable[..., Path]:
    """Write the tiny configuration with some top-level keys changed; returns its path."""

    def write(**changes) -> Path:
        content = yaml.safe_load(TINY.read_text()) | changes
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write
