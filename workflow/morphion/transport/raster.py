"""Particle positions to the lattice on which cations hop."""

import math
from dataclasses import replace

import numpy as np
from numba import njit, prange

from morphion.config.transport import CoverageShell, Transport
from morphion.elementary import exp
from morphion.gpu import CudaDevice
from morphion.transport import checks, coverage, distances, raster_gpu
from morphion.transport.lattice import Lattice
from morphion.transport.table import read_table

_BYTES_PER_SITE = 8  # b and weight


def rasterise(
    positions: np.ndarray,
    box_length: float,
    diameter: float,
    model: Transport,
    n: int,
    device: CudaDevice | None = None,
) -> Lattice:
    """Lattice of n^3 sites for a structure under a transport model.

    Parameters
    ----------
    positions : array [particles, 3]
        Centres in voxels; taken modulo the box.
    box_length, diameter : float
        Edge of the periodic cube and sphere diameter sigma, voxels.
    model : CoverageShell or DistanceTable
        Lengths in units of sigma (a table may also be in voxels).
    n : int
        Sites along an edge, at least 16.
    device : CudaDevice, optional
        Where the arrays of the lattice shall lie. Their bits do not depend on it.

    All periodic images count. The truncated tails of the coverage and the float32 storage of U
    leave a relative error below 1e-6 in b and weight.

    Raises TransportError if the lattice is too small, too large for the memory, has no open site
    in any shell, or if the table is not usable; warns (MorphionWarning) if fewer than two sites
    span a shell. Results do not depend on the number of threads. Raises DeviceMemoryError if the
    lattice does not fit on the device.
    """
    checks.require_sites(n)
    positions = checks.require_positions(positions, box_length, diameter)
    if device is not None:
        device.require_memory(n, _BYTES_PER_SITE, "a lattice")
        if isinstance(model, CoverageShell):
            return raster_gpu.rasterise(positions, box_length, diameter, model, n, device)
    checks.require_memory(n, _BYTES_PER_SITE, "a lattice")
    lattice = _on_cores(positions, box_length, diameter, model, n)
    if device is None:
        return lattice
    return replace(lattice, b=device.array(lattice.b), weight=device.array(lattice.weight))


def _on_cores(positions, box_length, diameter, model, n) -> Lattice:
    diffusivity = np.empty((n, n, n), np.float32)
    energy = np.empty((n, n, n), np.float32)
    if isinstance(model, CoverageShell):
        _fill_coverage(positions, box_length, diameter, model, diffusivity, energy)
    else:
        grid = read_table(model.path).grid(diameter)
        reach = distances.largest_distance(grid, len(positions), box_length)
        distances.fill(positions, box_length, diameter, reach, *grid.arrays, diffusivity, energy)
    return _to_weights(diffusivity, energy, box_length / n)


def _fill_coverage(positions, box_length, diameter, model, diffusivity, energy) -> None:
    n = len(diffusivity)
    shell = model.shell_radius * diameter
    met = np.zeros(n, np.int64)
    coverage.fill(
        positions,
        float(box_length),
        float(diameter),
        shell,
        model.shell_width * diameter,
        coverage.model_parameters(model),
        diffusivity,
        energy,
        met,
    )
    checks.require_shell(n, box_length, shell - diameter / 2, int(met.sum()))


@njit(parallel=True, cache=True)
def _extremes(diffusivity, energy, lowest, highest):
    """Lowest and highest U over the open sites of each plane (float64 [n])."""
    n = diffusivity.shape[0]
    for i in prange(n):
        low, high = np.inf, -np.inf
        for j in range(n):
            for k in range(n):
                if diffusivity[i, j, k] > 0:
                    low = min(low, energy[i, j, k])
                    high = max(high, energy[i, j, k])
        lowest[i], highest[i] = low, high


@njit(parallel=True, cache=True)
def _replace(diffusivity, energy, lowest):
    """D -> b = sqrt(D) exp(-(U - lowest) / 2) and U -> weight = exp(-(U - lowest)), in place."""
    n = diffusivity.shape[0]
    for i in prange(n):
        for j in range(n):
            for k in range(n):
                d = diffusivity[i, j, k]
                if d > 0:
                    half = exp((lowest - energy[i, j, k]) / 2)
                    diffusivity[i, j, k] = math.sqrt(np.float64(d)) * half
                    energy[i, j, k] = half * half
                else:
                    energy[i, j, k] = 0.0


def _to_weights(diffusivity: np.ndarray, energy: np.ndarray, spacing: float) -> Lattice:
    """Lattice from float32 D and U, whose memory it takes over."""
    n = len(diffusivity)
    lowest, highest = np.empty(n), np.empty(n)
    _extremes(diffusivity, energy, lowest, highest)
    checks.require_open(bool(np.isfinite(lowest.min())))
    checks.require_spread(highest.max() - lowest.min())
    _replace(diffusivity, energy, lowest.min())
    return Lattice(diffusivity, energy, float(spacing), float(lowest.min()))
