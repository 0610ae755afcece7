"""The coverage-shell model on a device; its kernels are in ``kernels/coverage.cu``."""

import numpy as np

from morphion.config.transport import CoverageShell
from morphion.gpu import CudaDevice
from morphion.transport import checks
from morphion.transport.coverage import REACH, model_parameters
from morphion.transport.lattice import SMALLEST_DIFFUSIVITY, Lattice

KERNELS = ("gpu/kernels/elementary.cu", "transport/kernels/coverage.cu")
_THREADS = 256
_BLOCKS_PER_MULTIPROCESSOR = 16


def rasterise(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    model: CoverageShell,
    n: int,
    device: CudaDevice,
) -> Lattice:
    """Lattice with its arrays on the device; see :func:`morphion.transport.rasterise`."""
    shell, width = model.shell_radius * diameter, model.shell_width * diameter
    geometry = [box_length, (diameter / 2) ** 2, shell, width, shell + REACH * width]
    parameters = [*geometry, *model_parameters(model), SMALLEST_DIFFUSIVITY]
    diffusivity = device.empty((n, n, n), np.float32)
    energy = device.empty((n, n, n), np.float32)
    # Lowest and highest energy, in the order of unsigned integers, and the sites in a shell.
    seen = device.array(np.array([0xFFFFFFFF, 0, 0], np.uint32))
    blocks = min(-(-(n**3) // _THREADS), _BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors)
    device.launch(
        KERNELS,
        "coverage",
        blocks,
        _THREADS,
        device.array(positions),
        np.int32(len(positions)),
        device.array(np.array(parameters, np.float64)),
        np.int32(n),
        diffusivity,
        energy,
        seen,
    )
    found = device.host(seen)
    checks.require_open(bool(found[0] <= found[1]))
    checks.require_shell(n, box_length, shell - diameter / 2, int(found[2]))
    lowest, highest = _from_ordered(found[:2])
    checks.require_spread(highest - lowest)
    device.launch(
        KERNELS,
        "to_weights",
        blocks,
        _THREADS,
        diffusivity,
        energy,
        np.int64(n**3),
        np.float64(lowest),
    )
    return Lattice(diffusivity, energy, float(box_length / n), lowest)


def _from_ordered(values: np.ndarray) -> list[float]:
    """Floats from the unsigned integers that the kernel compares."""
    negative = (values & 0x80000000) == 0
    bits = np.where(negative, ~values, values & 0x7FFFFFFF).astype(np.uint32)
    return [float(value) for value in bits.view(np.float32)]
