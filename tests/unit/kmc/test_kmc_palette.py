"""The palette keeps what the diffusivity depends on."""

import numba
import numpy as np
import pytest
from kmc_lattices import random_lattice

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import solve
from morphion.kmc.palette import CODES, make_palette, quantise, quantised
from morphion.structures.families import generate
from morphion.transport import rasterise
from morphion.transport.lattice import Lattice

GEOMETRY = Geometry()


@pytest.fixture(scope="module")
def lattice():
    return random_lattice(17, 1, blocked=0.2)


def test_blocked_sites_and_only_they_have_code_zero(lattice):
    codes, palette = quantise(lattice)
    np.testing.assert_array_equal(codes == 0, lattice.b == 0)
    assert palette.b[0] == palette.weight[0] == 0
    assert (palette.b[np.unique(codes)[1:]] > 0).all()
    assert codes.max() < CODES


def test_palette_keeps_the_sums_of_b_and_of_the_weight(lattice):
    seen = quantised(lattice)
    for kept, field in ((seen.weight, lattice.weight), (seen.b, lattice.b)):
        total = field.sum(dtype=np.float64)
        assert kept.sum(dtype=np.float64) == pytest.approx(total, rel=1e-7)


def test_steps_are_narrow(lattice):
    """An octave of b apart, so 254 steps of at most 1.5 ln(max / min) / 254 each."""
    is_open = lattice.b > 0
    b = lattice.b[is_open]
    widest = 1.5 * np.log(b.max() / b.min()) / 254
    assert np.abs(np.log(quantised(lattice).b[is_open] / b)).max() < widest


def test_fixed_point_b_is_a_float32_as_well(lattice):
    codes, palette = quantise(lattice)
    np.testing.assert_array_equal(palette.b.astype(np.float32).astype(np.uint32), palette.b)
    assert 6 * int(palette.b.max()) < 2**32
    np.testing.assert_array_equal(
        quantised(lattice).b[codes > 0],
        (palette.b[codes[codes > 0]] * np.float64(palette.unit)).astype(np.float32),
    )


def test_palette_is_identical_for_any_number_of_threads(lattice):
    codes, palette = quantise(lattice)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        again, other = quantise(lattice)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(codes, again)
    np.testing.assert_array_equal(palette.b, other.b)
    np.testing.assert_array_equal(palette.weight, other.weight)


def test_uniform_lattice_has_one_kind():
    lattice = Lattice.from_fields(np.full((16, 16, 16), 0.7), np.zeros((16, 16, 16)), 1.0)
    codes, palette = quantise(lattice)
    assert (codes == 1).all()
    assert palette.b[1] * palette.unit == np.sqrt(np.float32(0.7)) == quantised(lattice).b[0, 0, 0]


def test_weights_far_below_the_sum_are_not_lost():
    """exp(-60) is 1e-26: pi is summed as two integers, down to 2^-62 a site."""
    sums = np.zeros((4, CODES), np.uint64)
    sums[:, 5] = 10, 10 << 20, 0, 0
    assert make_palette(sums, _Range(1.0)).weight[5] > 0


class _Range:
    def __init__(self, scale):
        self.scale = scale


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "on_average", "at_worst"),
    [(CoverageShell(), 1e-3, 2e-3), (CoverageShell(affinity=12), 1e-3, 2e-3)],
)
def test_palette_changes_the_diffusivity_by_less_than_a_label_can_tell(model, on_average, at_worst):
    """A structure of each family and window at n = 75, by the exact solver."""
    changes = []
    for family, index in [("rsa", 0), *(("chain", i) for i in range(8)), ("gapped", 2)]:
        positions = generate(GEOMETRY, Structures(), 1, family, index)
        lattice = rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, model, 75)
        exact, seen = (
            solve(field, relative_residual=1e-5).diffusivity
            for field in (lattice, quantised(lattice))
        )
        changes.append(abs(seen / exact - 1))
    assert np.mean(changes) < on_average
    assert np.max(changes) < at_worst
