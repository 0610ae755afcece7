"""Structure families: what each inserts, and that a structure depends on nothing but its name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from morphion.config.geometry import Geometry, Structures
from morphion.errors import StructureError
from morphion.structures.families import (
    FAMILIES,
    enumerate_structures,
    generate,
    generate_with_restarts,
    rsa_on_voxels,
    slabs_of,
    variant,
)
from morphion.structures.geometry import closest_pair, separations, validate_structure

GEOMETRY = Geometry()
STRUCTURES = Structures()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_structure_is_a_function_of_seed_family_and_index(family):
    first = generate(GEOMETRY, STRUCTURES, 7, family, 5)
    generate(GEOMETRY, STRUCTURES, 7, family, 6)
    assert first.dtype == np.float32
    assert first.shape == (91, 3)
    assert np.array_equal(first, generate(GEOMETRY, STRUCTURES, 7, family, 5))
    assert not np.array_equal(first, generate(GEOMETRY, STRUCTURES, 8, family, 5))
    assert not np.array_equal(first, generate(GEOMETRY, STRUCTURES, 7, family, 13))


def test_the_number_of_structures_does_not_change_a_structure():
    fewer = Structures(rsa=3, chain=20, gapped=4, shard_size=5)
    assert np.array_equal(
        generate(GEOMETRY, fewer, 7, "chain", 19), generate(GEOMETRY, STRUCTURES, 7, "chain", 19)
    )


@settings(max_examples=40, deadline=None)
@given(
    particles=st.integers(2, 120),
    volume_fraction=st.floats(0.01, 0.25),
    voxels=st.integers(16, 90),
    seed=st.integers(0, 2**40),
    family=st.sampled_from(("rsa", "chain")),
)
def test_no_structure_overlaps_and_all_particles_lie_in_the_box(
    particles, volume_fraction, voxels, seed, family
):
    geometry = Geometry(voxels=voxels, particles=particles, volume_fraction=volume_fraction)
    window = (1.01 * geometry.diameter, 1.4 * geometry.diameter)
    positions = generate(geometry, Structures(chain_windows=[window]), seed, family, 0)
    assert positions.shape == (particles, 3)
    assert (positions >= 0).all()
    assert (positions < voxels).all()
    assert closest_pair(positions, voxels)[0] >= geometry.diameter


@pytest.mark.parametrize("index", range(8))
def test_chain_neighbours_stand_within_their_window(index):
    low, high = STRUCTURES.chain_windows[index]
    restarts = 0
    for repeat in range(20):
        positions, restarted = generate_with_restarts(
            GEOMETRY, STRUCTURES, 1, "chain", index + 8 * repeat
        )
        steps = np.linalg.norm(separations(positions[:-1], positions[1:], 75.0), axis=1)
        linked = steps[~restarted[1:]]
        assert linked.min() > low - 1e-4
        assert linked.max() < high + 1e-4
        restarts += restarted[1:].sum()
    assert restarts < 0.02 * 20 * 90


def test_a_walled_in_chain_restarts_elsewhere():
    crowded = Geometry(volume_fraction=0.25)
    window = (1.001 * crowded.diameter, 1.01 * crowded.diameter)
    structures = Structures(chain_windows=[window], chain_tries=3)
    positions, restarted = generate_with_restarts(crowded, structures, 1, "chain", 0)
    assert restarted[1:].any()
    steps = np.linalg.norm(separations(positions[:-1], positions[1:], 75.0), axis=1)
    assert (steps[~restarted[1:]] < window[1] + 1e-4).all()
    validate_structure(positions, 75.0, crowded.diameter, where="restarted chain")


def test_first_link_of_a_chain_is_uniform_in_volume_and_direction():
    low, high = STRUCTURES.chain_windows[7]
    pairs = np.array(
        [generate(GEOMETRY, STRUCTURES, 3, "chain", 8 * i + 7)[:2] for i in range(3000)]
    )
    link = separations(pairs[:, 0], pairs[:, 1], 75.0)
    distance = np.linalg.norm(link, axis=1)
    share = (distance**3 - low**3) / (high**3 - low**3)
    # Two-sided three standard errors are a probability of 0.0027.
    assert stats.kstest(share, "uniform").pvalue > 0.0027
    for axis in range(3):
        cosine = link[:, axis] / distance
        assert stats.kstest((cosine + 1) / 2, "uniform").pvalue > 0.0027


@pytest.mark.parametrize("index", range(6))
def test_gapped_structures_have_an_empty_slab_on_the_right_number_of_axes(index):
    positions = generate(GEOMETRY, STRUCTURES, 11, "gapped", index).astype(float)
    slabs = slabs_of(GEOMETRY, STRUCTURES, 11, index)
    with_slab = slabs.width > 0
    assert with_slab.sum() == variant("gapped", index, STRUCTURES) == 1 + index % 3
    assert ((slabs.width[with_slab] >= 17) & (slabs.width[with_slab] <= 20)).all()
    inside = np.mod(positions - slabs.start, 75.0)
    assert not ((inside > 1e-4) & (inside < slabs.width - 1e-4)).any()
    gaps = [np.diff(np.sort(np.append(x, x.min() + 75))).max() for x in positions.T]
    assert np.array_equal(np.array(gaps) >= 17, with_slab)


def test_slabs_choose_axes_and_widths_uniformly():
    one_slab = [slabs_of(GEOMETRY, STRUCTURES, 5, 3 * i) for i in range(900)]
    widths = np.array([slabs.width for slabs in one_slab])
    counts = (widths > 0).sum(axis=0)
    assert stats.chisquare(counts).pvalue > 0.0027
    assert stats.kstest((widths[widths > 0] - 17) / 3, "uniform").pvalue > 0.0027


@pytest.mark.parametrize("family", FAMILIES)
def test_density_of_single_particles_is_uniform(family):
    modes = []
    for index in range(1500):
        phase = 2 * np.pi / 75 * generate(GEOMETRY, STRUCTURES, 17, family, index).astype(float)
        modes.append(np.concatenate([np.cos(phase).mean(axis=0), np.sin(phase).mean(axis=0)]))
    modes = np.array(modes)
    z = modes.mean(axis=0) / (modes.std(axis=0, ddof=1) / np.sqrt(len(modes)))
    assert np.abs(z).max() < 3


def test_variants_cycle_through_windows_and_numbers_of_slabs():
    assert [variant("chain", i, STRUCTURES) for i in (0, 7, 8)] == [0, 7, 0]
    assert [variant("gapped", i, STRUCTURES) for i in range(4)] == [1, 2, 3, 1]
    assert variant("rsa", 3, STRUCTURES) == 0
    with pytest.raises(StructureError, match="'plain' is unknown"):
        variant("plain", 0, STRUCTURES)


def test_enumeration_holds_every_structure_once_and_mixes_families_evenly():
    entries = enumerate_structures(STRUCTURES)
    assert len(entries) == len(set(entries)) == 8192
    for start in range(0, 8192, 256):
        families = [family for family, _ in entries[start : start + 256]]
        for family in FAMILIES:
            expected = 256 * getattr(STRUCTURES, family) / 8192
            assert abs(families.count(family) - expected) <= 2


def test_voxel_insertion_keeps_integer_distances_of_at_least_93():
    voxels = rsa_on_voxels(75, 91, GEOMETRY.diameter, 1, "anneal-start", "maximise", 0)
    assert voxels.dtype == np.int16
    assert voxels.shape == (91, 3)
    assert voxels.min() >= 0
    assert voxels.max() < 75
    apart = np.abs(voxels[:, None].astype(int) - voxels[None])
    squared = (np.minimum(apart, 75 - apart) ** 2).sum(axis=-1)
    assert squared[~np.eye(91, dtype=bool)].min() >= 93
    validate_structure(voxels + 0.5, 75.0, GEOMETRY.diameter, where="voxel start")


def test_voxel_insertion_has_a_stream_for_each_name():
    start = [rsa_on_voxels(75, 91, 9.6, 1, "anneal-start", "maximise", i) for i in (0, 0, 1)]
    assert np.array_equal(start[0], start[1])
    assert not np.array_equal(start[0], start[2])


def test_voxel_insertion_reaches_every_voxel_index_equally():
    found = np.concatenate([rsa_on_voxels(75, 20, 9.6, 2, "start", i) for i in range(600)])
    # Exclusion makes counts vary less than independent draws would, never more.
    for axis in range(3):
        counts = np.bincount(found[:, axis], minlength=75)
        assert stats.chisquare(counts).pvalue > 0.0027


def test_particles_that_do_not_fit_are_an_error_that_says_so():
    crowded = Geometry(volume_fraction=0.3)
    wide = Structures(slab_width=(40, 41))
    with pytest.raises(StructureError, match=r"gapped structure 2: only \d+ of 91 .*near 0.38"):
        generate(crowded, wide, 1, "gapped", 2)


def test_a_box_of_touching_voxel_spheres_is_an_error():
    with pytest.raises(StructureError, match=r"anneal-start 0: only \d+ of 30 spheres"):
        rsa_on_voxels(16, 30, 7.0, 1, "anneal-start", 0)


def test_a_chain_window_below_the_diameter_is_refused():
    with pytest.raises(StructureError, match=r"chain_windows\[0\] = \[9, 10\] starts below"):
        generate(GEOMETRY, Structures(chain_windows=[(9, 10)]), 1, "chain", 0)


def test_a_slab_as_wide_as_the_box_is_refused():
    small = Geometry(voxels=18, particles=4)
    with pytest.raises(StructureError, match=r"slab_width = \[17, 20\] reaches the box edge"):
        generate(small, STRUCTURES, 1, "gapped", 0)
