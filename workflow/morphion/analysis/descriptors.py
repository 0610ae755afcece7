"""Descriptors of every structure of a data set, beside its label."""

from pathlib import Path

import numpy as np
import xarray as xr

from morphion import provenance, store
from morphion.config import Config
from morphion.config.load import block
from morphion.errors import StoreError
from morphion.progress import log, progress
from morphion.structures.descriptors import (
    connectivities,
    mean_nearest_distances,
    radial_distributions,
)

KIND = "descriptors"

_BLOCK = 512  # structures between two updates of the progress
_FROM_DATASET = ("family", "variant", "index", "group", "round", "converged")


def descriptors_store(dataset: Path, config: Config, output: Path) -> None:
    """Write g(r), nearest neighbours and clusters of all structures of a data set.

    Arrays: ``g`` (structure, r), ``mean_nearest_distance``, ``clusters`` (count),
    ``largest_cluster`` (fraction of particles), ``percolates`` (structure, xyz),
    ``diffusivity_star`` and its ``diffusivity_star_stderr``, and where each structure comes from.
    Raises StoreError for a data set without structures.
    """
    data = store.load(dataset, kind="dataset")
    count = data.sizes["structure"]
    if count == 0:
        raise StoreError(f"{dataset}: no structures to describe")
    described = xr.Dataset(
        _describe(data, config),
        coords={"r": ("r", np.arange(config.analysis.max_distance + 1), {"units": "voxel"})},
        attrs={
            name: data.attrs[name]
            for name in ("box_length", "diameter", "volume_fraction", "reference_diffusivity")
        },
    )
    described = described.assign({name: data[name] for name in _FROM_DATASET})
    described = described.assign_coords(xyz=["x", "y", "z"])
    for name, source in (
        ("diffusivity_star", "diffusivity"),
        ("diffusivity_star_stderr", "stderr"),
    ):
        values = data[source].values / data.attrs["reference_diffusivity"]
        described[name] = ("structure", values, {"units": "D0"})
    described.attrs["cluster_distance"] = config.analysis.cluster_distance
    record = provenance.record(block(config.analysis), dataset=str(dataset))
    store.write(output, described, kind=KIND, provenance=record)
    log(f"{output}: descriptors of {count} structures")


def _describe(data: xr.Dataset, config: Config) -> dict:
    analysis, box_length = config.analysis, data.attrs["box_length"]
    positions = data.positions.values
    parts = []
    with progress("descriptors", len(positions), "structures") as report:
        for start in range(0, len(positions), _BLOCK):
            some = positions[start : start + _BLOCK]
            labels, winds = connectivities(some, box_length, analysis.cluster_distance)
            largest = [np.bincount(label).max() / len(label) for label in labels]
            parts.append(
                (
                    radial_distributions(some, box_length, analysis.max_distance),
                    mean_nearest_distances(some, box_length),
                    (labels.max(axis=1) + 1).astype(np.int32),
                    np.array(largest),
                    winds,
                )
            )
            report.advance(len(some))
    g, nearest, clusters, largest, winds = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    return {
        "g": (("structure", "r"), g, {"description": "radial distribution, ideal gas = 1"}),
        "mean_nearest_distance": ("structure", nearest, {"units": "voxel"}),
        "clusters": ("structure", clusters, {"description": "number of clusters"}),
        "largest_cluster": ("structure", largest, {"description": "its share of the particles"}),
        "percolates": (
            ("structure", "xyz"),
            winds,
            {"description": "a cluster connects to its own periodic image along the axis"},
        ),
    }
