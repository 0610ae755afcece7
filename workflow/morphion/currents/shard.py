"""Solving the currents of a part of a round's structures, continuing where a killed job stopped."""

from pathlib import Path

import numpy as np
import xarray as xr

from morphion import provenance, store
from morphion.config import Config
from morphion.config.load import block
from morphion.currents.between import occupancy, pair_currents
from morphion.currents.cells import nearest_particle
from morphion.currents.files import KIND, OCCUPANCY, assemble
from morphion.errors import muted
from morphion.exact import solve
from morphion.progress import log, progress
from morphion.store.checksum import checksum
from morphion.transport import rasterise
from morphion.transport.files import transport_record


def solve_shard(
    config: Config, dataset: Path, round_: int, part: int, parts: int, output: Path
) -> None:
    """Solve part ``part`` of ``parts`` of the structures that joined a data set in ``round_``.

    Structures whose labels are of no use are left out, and those whose solution stopped short of
    its residual. Raises StoreError if the data set is not
    sound.
    """
    names = ("positions", "round", "split_random")
    data = store.load(dataset, kind="dataset", names=names)
    joined = (data["round"].values == round_) & (data.split_random.values != "unused")
    rows = np.array_split(np.flatnonzero(joined), parts)[part]
    positions = data.positions.values[rows]
    record = {"transport": transport_record(config.transport), "currents": block(config.currents)}
    geometry = [data.attrs[name] for name in ("box_length", "diameter", "voxels")]
    identity = [record, checksum(np.ascontiguousarray(positions)), geometry, OCCUPANCY]
    store.require_own(output, KIND)
    partial = store.Partial(output, identity)
    found = [partial.load(f"{row:06d}") for row in rows]
    done = sum(entry is not None for entry in found)
    if done:
        log(f"{output}: continues after {done} of {len(rows)} structures")
    with progress(f"currents round{round_}", len(rows), "structures", done=done) as report:
        for k, row in enumerate(rows):
            if found[k] is None:
                found[k] = _solve(config, data, row)
                partial.save(f"{row:06d}", found[k])
                report.advance()
    solved = np.array([entry["converged"].item() for entry in found], bool)
    found = [entry for entry, of_use in zip(found, solved, strict=True) if of_use]
    rows, positions = rows[solved], positions[solved]
    particles = data.sizes["particle"]
    sizes = {"current": (particles * (particles - 1) // 2, 3), "occupancy": (particles,)}
    arrays = {
        # With its shape also where no structure joined.
        name: np.reshape([entry[name] for entry in found], (len(rows), *size))
        for name, size in sizes.items()
    }
    store.write(
        output,
        assemble(rows, positions, **arrays),
        kind=KIND,
        provenance=provenance.record(record, round=round_, part=part, parts=parts),
    )
    partial.discard()
    log(f"{output}: currents of {len(rows)} structures")


def _solve(config: Config, data: xr.Dataset, row: int) -> dict[str, np.ndarray]:
    """Currents and occupancies of a structure of the data set."""
    positions, particles = data.positions.values[row], data.sizes["particle"]
    box_length, diameter = data.attrs["box_length"], data.attrs["diameter"]
    n = config.currents.lattice or int(data.attrs["voxels"])
    with muted():  # the labels' own log has what there is to say about the structure
        lattice = rasterise(positions, box_length, diameter, config.transport, n)
    solution = solve(lattice, config.currents.relative_residual, return_chi=True)
    if not solution.converged:
        reached = solution.relative_residual.max()
        log(f"structure {row}: residual {reached:.1e}; without currents")
    nearest = nearest_particle(positions, box_length, n)
    return {
        "current": pair_currents(lattice, solution.chi, nearest, particles, diameter),
        "occupancy": occupancy(lattice, nearest, particles, diameter),
        "converged": np.array(solution.converged),
    }
