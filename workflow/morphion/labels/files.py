"""Labels of structure files, for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphion.config.labels import Labels
from morphion.config.transport import Transport
from morphion.labels.label import label_structure
from morphion.philox import stream_key
from morphion.progress import progress
from morphion.structures.files import read_structure


def label_files(
    paths: Sequence[Path], transport: Transport, labels: Labels, seed: int
) -> list[dict[str, Any]]:
    """Labels of GSD or extended XYZ files as JSON-like dictionaries, in the order given.

    All files are read and checked before the first is labelled. The walk of a file depends on
    ``seed`` and its own lattice only: random numbers are the same for every file.
    """
    structures = [read_structure(path) for path in paths]
    results = []
    with progress("labels", len(structures), "structures") as report:
        for structure in structures:
            found = label_structure(
                structure.positions,
                structure.box_length,
                structure.diameter,
                transport,
                labels,
                stream_key(seed, "kmc-file"),
                what=str(structure.path),
                on_progress=lambda note: report.advance(0, note=f"({note})"),
            )
            results.append(
                {
                    "structure": str(structure.path),
                    "method": labels.method,
                    "lattice": labels.lattice,
                    "diffusivity": found.diffusivity,
                    "stderr": found.stderr,
                    "tensor": found.tensor.tolist(),
                    "tensor_stderr": found.tensor_stderr.tolist(),
                    "converged": bool(found.converged),
                    "hops": int(found.hops),
                    "seconds": round(float(found.seconds), 4),
                }
            )
            report.advance()
    return results
