"""A table file that agrees with the coverage model: an example, and a starting point."""

from pathlib import Path

import numpy as np

from morphion.config.transport import CoverageShell
from morphion.transport.coverage import local_transport, model_parameters
from morphion.transport.table import COLUMNS, UNITS


def write_coverage_table(
    path: Path | str, model: CoverageShell, spacing: float = 0.02, largest: float = 1.1
) -> None:
    """Write the table of a coverage-shell model for two particles at distances d1 <= d2.

    It gives the same transport wherever at most two shells overlap, up to interpolation between
    nodes ``spacing`` apart, from sigma/2 to ``largest`` (both in units of sigma).
    """
    axis = np.round(np.arange(0.5, largest + spacing / 2, spacing), 10)
    parameters = model_parameters(model)
    covered = 1 / (1 + np.exp(-2 * (model.shell_radius - axis) / model.shell_width))
    with Path(path).open("w", newline="\n") as file:
        file.write("# The coverage-shell model of two particles at distances d1 <= d2.\n")
        for key, known in UNITS.items():
            file.write(f"# {key}: {known[0]}\n")
        file.write(",".join(COLUMNS) + "\n")
        for i, d1 in enumerate(axis):
            for j in range(i, len(axis)):
                d, u = local_transport(covered[i] + covered[j], parameters)
                file.write(f"{d1:.12g},{axis[j]:.12g},{d:.8g},{u:.8g}\n")
