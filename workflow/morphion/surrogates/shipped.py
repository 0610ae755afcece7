"""The network that ships inside the package, and the check that a published one is whole."""

import hashlib
from pathlib import Path

from morphion.errors import SurrogateError
from morphion.surrogates.model import DESCRIPTION, WEIGHTS

MODELS = Path(__file__).parents[1] / "models"
DEFAULT = "coverage-shell-75"  # transport model and lattice of its labels
CHECKSUMS = "SHA256SUMS"


def shipped_model() -> Path:
    """Folder of the network for the default transport model.

    Raises SurrogateError if the installed package lacks it.
    """
    folder = MODELS / DEFAULT
    for name in (DESCRIPTION, CHECKSUMS):
        if not (folder / name).is_file():
            raise SurrogateError(
                f"{folder / name}: the network that ships with morphion is not whole; install the "
                "package again, or name a model folder with --model"
            )
    return folder


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` of weights and description, as ``sha256sum --check`` reads it."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in (DESCRIPTION, WEIGHTS)]
    (folder / CHECKSUMS).write_text("".join(lines), newline="\n")


def verify_checksums(folder: Path) -> None:
    """Compare the files of a published folder with its ``SHA256SUMS``; without one, do nothing.

    Raises SurrogateError naming the first file that is missing or differs.
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        expected, _, name = line.partition("  ")
        if not name or "/" in name:
            raise SurrogateError(f"{path}, line {number}: expected a checksum and a file's name")
        if not (folder / name).is_file() or _sha256(folder / name) != expected:
            raise SurrogateError(
                f"{folder / name}: differs from {CHECKSUMS} (missing, truncated or altered); "
                "install or copy it again"
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
