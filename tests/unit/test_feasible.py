"""What no stage could work with is found before anything is computed."""

from pathlib import Path

import numpy as np
import pytest

from morphion import feasible
from morphion.config import parse_config
from morphion.config.root import Config
from morphion.errors import ConfigError, StructureError, SurrogateError
from morphion.structures.descriptors import radial_distributions
from morphion.surrogates.build import build
from morphion.surrogates.pairs import find_pairs


def require_feasible(config):
    feasible.require_feasible(config, "run.yaml")


def configured(voxels=75, **keys) -> Config:
    """A run of 16 particles, so small that only its geometry and numbers can be wrong."""
    content = {
        "output": "out",
        "geometry": {"voxels": voxels, "particles": 16},
        "structures": {"rsa": 40, "chain": 0, "gapped": 0, "chain_windows": [[60, 61]]},
        "analysis": {"max_distance": 8},
        "surrogates": {"networks": {"dense": {"kind": "dense", "descriptor": "nearest-distance"}}},
        **keys,
    }
    content["surrogates"].setdefault("driver", next(iter(content["surrogates"]["networks"])))
    return parse_config(content, source="test", folder=".")


def network(**block):
    return {"surrogates": {"networks": {"it": block}}}


def test_a_run_that_fits_passes():
    require_feasible(configured())


@pytest.mark.parametrize("block", [{"kind": "dense", "descriptor": "rdf"}, {"kind": "trees"}])
def test_g_of_r_ends_where_descriptors_say(block):
    positions = np.random.default_rng(0).uniform(0, 41, (1, 16, 3))
    radial_distributions(positions, 41.0, 36)
    with pytest.raises(StructureError):
        radial_distributions(positions, 41.0, 37)
    require_feasible(configured(41, **network(**block, max_distance=36)))
    message = r"surrogates\.networks\.it\.max_distance = 37: .* edge 41 voxels; at most 36"
    with pytest.raises(ConfigError, match=message):
        require_feasible(configured(41, **network(**block, max_distance=37)))
    with pytest.raises(ConfigError, match=r"analysis\.max_distance = 37: .*at most 36"):
        require_feasible(configured(41, analysis={"max_distance": 37}))
    with pytest.raises(ConfigError, match=r"analysis\.cluster_distance = 500: no two particles"):
        require_feasible(configured(analysis={"max_distance": 8, "cluster_distance": 500}))


def test_weights_of_shell_and_solvent_fit_in_float32():
    for affinity in (-87.0, 87.0):
        require_feasible(configured(transport={"model": "coverage-shell", "affinity": affinity}))
    too_strong = configured(transport={"model": "coverage-shell", "affinity": 200.0})
    with pytest.raises(ConfigError, match=r"transport\.affinity = 200 kT: .* at most 87 kT"):
        require_feasible(too_strong)


def test_another_loading_has_two_particles_at_least():
    require_feasible(configured(loadings=[0.0125]))
    with pytest.raises(ConfigError, match=r"loadings\[1\] = 0\.008: 1 particles in the box"):
        require_feasible(configured(loadings=[0.0125, 0.008]))


@pytest.mark.parametrize("kind", ["resistor", "graph"])
def test_a_cutoff_ends_at_half_the_box_as_pairs_do(kind):
    geometry = configured().geometry
    most = geometry.box_length / geometry.diameter / 2
    for cutoff, fits in ((most - 1e-3, True), (most + 1e-3, False)):
        config = configured(**network(kind=kind, cutoff=cutoff))
        positions = np.random.default_rng(0).uniform(0, 75, (1, 16, 3))
        lengths = (geometry.box_length, geometry.diameter, 1.1, cutoff)
        if fits:
            require_feasible(config)
            find_pairs(positions, *lengths, facets=True)
            continue
        with pytest.raises(ConfigError, match=rf"networks\.it\.cutoff = .*at most {most:.4g}"):
            require_feasible(config)
        with pytest.raises(SurrogateError):
            find_pairs(positions, *lengths, facets=True)


@pytest.mark.parametrize(
    ("voxels", "cell", "fits"), [(64, 4, True), (64, 5, False), (75, 75, False)]
)
def test_cells_divide_the_box_as_the_network_asks(voxels, cell, fits):
    config = configured(voxels, **network(kind="periodic", cell=cell))
    block = config.surrogates.networks["it"]
    if fits:
        require_feasible(config)
        build(block, voxels)
        return
    with pytest.raises(ConfigError, match=rf"it\.cell = {cell} does not divide .* {voxels} into"):
        require_feasible(config)
    with pytest.raises(SurrogateError):
        build(block, voxels)


def test_more_structures_than_a_split_has_are_refused():
    dense = {"kind": "dense", "descriptor": "nearest-distance"}
    curve = {"sizes": [20, 26], "networks": ["it"]}
    some = network(**dense, training={"structures": 30})
    some["surrogates"]["learning_curve"] = curve
    config = configured(
        **some, labels={"method": "exact", "lattice": 75}, walked={"structures": 12}
    )
    with pytest.raises(ConfigError) as raised:
        require_feasible(config)
    found = str(raised.value).removeprefix("run.yaml: ").split("; ")
    keys = (
        "surrogates.networks.it.training.structures = 30",
        "surrogates.learning_curve.sizes[1] = 26",
    )
    for key, message in zip((*keys, "walked.structures = 12"), found, strict=True):
        assert message.startswith(f"{key}: of 40 structures this split leaves ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("d1,d2", "d1,d3"), r"transport\.path: .*mine\.csv, line 6: .*d2"),
        (("\n0.5,", "\n# 0.5,"), r"transport\.path: .*mine\.csv: d1 begins at"),
        (("-9.9999453", "nan"), r"transport\.path: .*mine\.csv, line 7: free_energy = nan"),
    ],
)
def test_a_transport_table_is_read_before_anything_runs(tmp_path, change, message):
    example = (Path(__file__).parents[2] / "config/transport/example-table.csv").read_text()
    (tmp_path / "mine.csv").write_text(example)
    keys = {"transport": {"model": "table", "path": str(tmp_path / "mine.csv")}}
    require_feasible(configured(**keys))
    (tmp_path / "mine.csv").write_text(example.replace(*change))
    with pytest.raises(ConfigError, match=message):
        require_feasible(configured(**keys))
