"""Labels of structure files, for people."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from morphion.config.geometry import Geometry
from morphion.config.labels import Labels
from morphion.config.transport import DistanceTable, Transport
from morphion.errors import ConfigError
from morphion.gpu import CudaDevice
from morphion.labels.label import Label, Task, label_structures
from morphion.philox import stream_key
from morphion.progress import progress
from morphion.store.export import structures_in
from morphion.structures.files import StructureFile
from morphion.transport.table import read_table


def label_files(
    paths: Sequence[Path],
    transport: Transport,
    labels: Labels,
    seed: int,
    device: CudaDevice | None = None,
) -> Iterator[dict[str, Any]]:
    """Labels of GSD or extended XYZ files, and of all structures of a store, as JSON-like
    dictionaries, in the order given, each as soon as it is there.

    All files are read and checked before the first is labelled. The walk of a file depends on
    ``seed`` and its own lattice only: random numbers are the same for every file. Raises
    ConfigError if the lattice of a control variate is too coarse for the shells of a file.
    """
    structures = structures_in(paths)
    for structure in structures:
        try:
            labels.require_shell(transport, structure.box_length, structure.diameter)
        except ValueError as error:
            raise ConfigError(f"{structure}: {error}") from None
    key = stream_key(seed, "kmc-file")
    tasks = [_in_voxels(structure, transport, key) for structure in structures]
    with progress("labels", len(tasks), "structures") as report:
        found = label_structures(
            tasks, transport, labels, device, lambda note: report.advance(0, note=f"({note})")
        )
        for task, label in zip(tasks, found, strict=True):
            report.advance()
            yield _for_people(task, label, labels)


def _in_voxels(structure: StructureFile, transport: Transport, key: tuple) -> Task:
    """A file's structure in the pipeline's unit of length: how lags are planned knows its order.

    With a table in voxels that is the file's own unit, or it would be of another chemistry.
    """
    in_voxels = isinstance(transport, DistanceTable) and read_table(transport.path).in_voxels
    unit = 1.0 if in_voxels else structure.diameter / Geometry().diameter
    return Task(
        structure.positions / unit,
        structure.box_length / unit,
        structure.diameter / unit,
        key,
        str(structure),
    )


def _for_people(task: Task, found: Label, labels: Labels) -> dict[str, Any]:
    return {
        "structure": task.what,
        "method": labels.method,
        "lattice": labels.lattice,
        "control_variate": found.control_variate or None,
        "diffusivity": found.diffusivity,
        "stderr": found.stderr,
        "tensor": found.tensor.tolist(),
        "tensor_stderr": found.tensor_stderr.tolist(),
        "converged": bool(found.converged),
        "hops": int(found.hops),
        "seconds": round(float(found.seconds), 4),
    }
