"""Currents between particles: Voronoi cells, conservation, and the tensor they carry."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import morphion.currents.shard as shard_module
from morphion import store
from morphion.config import Config
from morphion.config.transport import CoverageShell
from morphion.currents import (
    nearest_particle,
    occupancy,
    pair_currents,
    pairs_of,
    read_currents,
    solve_shard,
)
from morphion.errors import StoreError
from morphion.exact import solve
from morphion.structures.generate import generate_shard
from morphion.transport import rasterise
from morphion.transport.files import transport_record

N, PARTICLES = 32, 60


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([16, 17]), st.booleans())
def test_every_site_belongs_to_the_nearest_particle(seed, particles, n, gapped):
    random = np.random.default_rng(seed)
    positions = random.uniform(0, 30, (particles, 3))
    if gapped:
        positions[:, 0] *= 0.1
    sites = (np.stack(np.indices((n, n, n)), -1) + 0.5) * 30 / n
    away = sites[..., None, :] - positions
    away -= 30 * np.round(away / 30)
    square = (away**2).sum(-1)
    found = nearest_particle(positions, 30.0, n)
    # At equal distances rounding decides.
    chosen = np.take_along_axis(square, found[..., None].astype(int), -1)[..., 0]
    np.testing.assert_allclose(chosen, square.min(-1), rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def config() -> Config:
    content = {
        "output": "out",
        "geometry": {"voxels": N, "particles": PARTICLES, "volume_fraction": 0.15},
        "structures": {"rsa": 5, "chain": 0, "gapped": 0, "shard_size": 5},
        "currents": {"relative_residual": 1e-7},
    }
    return Config.model_validate(content)


@pytest.fixture(scope="module")
def structures(config):
    return generate_shard(config, 0)


@pytest.fixture(scope="module")
def solved(config, structures):
    """Lattice, exact solution, cells and currents of a structure."""
    positions, diameter = structures.positions.values[0], config.geometry.diameter
    with pytest.warns(match="shell"):
        lattice = rasterise(positions, N, diameter, config.transport, N)
    solution = solve(lattice, 1e-7, return_chi=True)
    nearest = nearest_particle(positions, N, N)
    current = pair_currents(lattice, solution.chi, nearest, PARTICLES, diameter)
    return lattice, solution, nearest, current


def test_the_currents_alone_carry_the_tensor(config, structures, solved):
    _, solution, _, current = solved
    positions, diameter = structures.positions.values[0], config.geometry.diameter
    first, second = pairs_of(PARTICLES)
    separation = positions[first] - positions[second]
    separation -= N * np.round(separation / N)
    tensor = np.einsum("pa,pb->ab", current, separation / diameter)
    scale = np.abs(solution.tensor).max()
    np.testing.assert_allclose(tensor, solution.tensor, atol=1e-5 * scale)


def test_no_particle_is_a_source(solved):
    current = solved[3]
    first, second = pairs_of(PARTICLES)
    into = np.zeros((PARTICLES, 3))
    np.add.at(into, first, current)
    np.add.at(into, second, -current)
    assert np.abs(into).max() < 1e-5 * np.abs(current).max()


def test_occupancies_share_the_weight(solved):
    lattice, _, nearest, _ = solved
    found = occupancy(lattice, nearest, PARTICLES, 9.6)
    expected = [lattice.weight[nearest == i].sum(dtype=float) for i in range(PARTICLES)]
    expected /= lattice.weight.sum(dtype=float)
    np.testing.assert_allclose(found / found.sum(), expected, rtol=1e-6)


def held(centres, box, n, **transport):
    lattice = rasterise(np.array(centres), box, 4.0, CoverageShell(**transport), n)
    nearest = nearest_particle(np.array(centres), box, n)
    return occupancy(lattice, nearest, len(centres), 4.0)


def test_where_nothing_binds_an_occupancy_is_the_open_volume():
    centres = [[4.0, 4, 4], [12.0, 12, 12]]
    found = held(centres, 20.0, 80, affinity=0, interdigitation_affinity=0)
    assert found.sum() == pytest.approx((20 / 4) ** 3 - 2 * np.pi / 6, rel=1e-3)


def test_an_occupancy_does_not_depend_on_what_is_elsewhere():
    """Two shells that share more of their ligands hold cations more tightly than any others."""
    alone = held([[4.0, 4, 4], [16.0, 16, 16]], 24.0, 72)
    beside = held([[4.0, 4, 4], [16.0, 16, 16], [16.0, 16, 12.0]], 24.0, 72)
    assert beside[0] == pytest.approx(alone[0], rel=0.02)  # but for what solvent its cell has
    assert beside[1:].sum() > 2.5 * alone[1]


@pytest.fixture
def dataset(tmp_path, structures):
    """Five structures, of which the fourth joined in round 1 and the fifth is of no use."""
    data = structures[["positions"]].assign(
        round=("structure", np.array([0, 0, 0, 1, 0], "i4")),
        split_random=("structure", np.array(["train", "test", "train", "train", "unused"], object)),
    )
    data.attrs |= {"voxels": N}
    store.write(tmp_path / "round.zarr", data, kind="dataset", provenance={})
    return tmp_path / "round.zarr"


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_parts_cover_what_joined_in_a_round_and_are_read_by_row(
    config, structures, solved, dataset, tmp_path
):
    paths = [tmp_path / f"{part}.zarr" for part in range(2)]
    for part, path in enumerate(paths):
        solve_shard(config, dataset, 0, part, 2, path)
    positions, transport = structures.positions.values, transport_record(config.transport)
    found = read_currents(paths, positions, transport)
    np.testing.assert_array_equal(found.row, [0, 1, 2, -1, -1])
    np.testing.assert_allclose(found.current[0], solved[3], rtol=1e-5, atol=1e-8)
    with pytest.raises(StoreError, match=r"0\.zarr: currents of other structures"):
        read_currents(paths, positions[::-1], transport)
    with pytest.raises(StoreError, match=r"other structures"):
        read_currents(paths, positions[:1], transport)
    other = {**transport, "shell_width": 0.06}
    with pytest.raises(StoreError, match=r"currents with transport\.shell_width = 0\.05"):
        read_currents(paths, positions, other)


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_occupancies_of_an_older_version_are_refused(config, structures, dataset, tmp_path):
    solve_shard(config, dataset, 1, 0, 1, tmp_path / "new.zarr")
    old = store.load(tmp_path / "new.zarr", kind="currents")
    positions, transport = structures.positions.values, transport_record(config.transport)
    provenance = old.attrs["provenance"]
    del old.occupancy.attrs["units"]
    store.write(tmp_path / "old.zarr", old, kind="currents", provenance=provenance)
    with pytest.raises(StoreError, match=r"old\.zarr: occupancies as shares.*currents again"):
        read_currents([tmp_path / "old.zarr"], positions, transport)


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_a_killed_part_continues_to_the_same_currents(config, dataset, tmp_path, monkeypatch):
    solve_shard(config, dataset, 0, 0, 1, tmp_path / "whole.zarr")
    plain, calls = shard_module._solve, []

    def killed_at_the_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(shard_module, "_solve", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        solve_shard(config, dataset, 0, 0, 1, tmp_path / "resumed.zarr")
    assert not (tmp_path / "resumed.zarr").exists()
    solve_shard(config, dataset, 0, 0, 1, tmp_path / "resumed.zarr")
    assert len(calls) == 2 + 2
    one, other = (
        store.load(tmp_path / f"{name}.zarr", kind="currents") for name in ("whole", "resumed")
    )
    for name in one:
        np.testing.assert_array_equal(one[name].values, other[name].values)


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_a_killed_part_does_not_continue_with_another_diameter(
    config, dataset, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", None)
        with pytest.raises(TypeError):
            solve_shard(config, dataset, 0, 0, 1, tmp_path / "c.zarr")
    data = store.load(dataset, kind="dataset")
    data.attrs["diameter"] *= 1.003
    store.write(tmp_path / "wider.zarr", data, kind="dataset", provenance={})
    for name in ("c", "fresh"):
        solve_shard(config, tmp_path / "wider.zarr", 0, 0, 1, tmp_path / f"{name}.zarr")
    one, other = (store.load(tmp_path / f"{name}.zarr", kind="currents") for name in ("c", "fresh"))
    np.testing.assert_array_equal(one.current, other.current)


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_a_structure_whose_solution_stopped_short_has_no_currents(
    config, dataset, tmp_path, monkeypatch
):
    solve_shard(config, dataset, 0, 0, 1, tmp_path / "whole.zarr")
    plain, calls = shard_module.solve, []

    def second_stops_short(*arguments, **options):
        calls.append(arguments)
        return replace(plain(*arguments, **options), converged=len(calls) != 2)

    monkeypatch.setattr(shard_module, "solve", second_stops_short)
    solve_shard(config, dataset, 0, 0, 1, tmp_path / "part.zarr")
    whole, part = (
        store.load(tmp_path / f"{name}.zarr", kind="currents") for name in ("whole", "part")
    )
    left = np.arange(whole.sizes["structure"]) != 1
    np.testing.assert_array_equal(part.row.values, whole.row.values[left])
    np.testing.assert_array_equal(part.current.values, whole.current.values[left])


@pytest.mark.filterwarnings("ignore::morphion.errors.MorphionWarning")
def test_a_round_without_structures_leaves_an_empty_store(config, dataset, tmp_path):
    solve_shard(config, dataset, 2, 0, 1, tmp_path / "empty.zarr")
    data = store.load(tmp_path / "empty.zarr", kind="currents")
    assert data.current.shape == (0, PARTICLES * (PARTICLES - 1) // 2, 3)
