"""A control variate: what is known of it without a walk, and that no psi biases an estimate."""

from dataclasses import replace

import numpy as np
import pytest
from kmc_lattices import random_lattice

from morphion.exact import solve
from morphion.exact.between import interpolated
from morphion.kmc.control import control_by, control_variate
from morphion.kmc.curves import COMPONENTS
from morphion.kmc.engine import INTEGRAL_UNITS, WalkRequest
from morphion.kmc.engine_cpu import walk
from morphion.kmc.palette import quantised
from morphion.kmc.plan import control_lag
from morphion.kmc.run import estimate
from morphion.kmc.tables import start_sites, walk_tables
from morphion.kmc.transient import Transient, transient
from morphion.philox import stream_key
from morphion.transport.lattice import Lattice

N = 16


@pytest.fixture(scope="module")
def lattice():
    return random_lattice(N, 6, blocked=0.2)


@pytest.fixture(scope="module")
def exact(lattice):
    return solve(quantised(lattice), relative_residual=1e-9, return_chi=True)


def psi_of(kind, lattice, exact):
    """psi of the three axes, float32 [n, n, n] in units of h."""
    chi = [x / np.float32(lattice.spacing) for x in exact.chi]
    if kind == "noise":
        return list(np.random.default_rng(2).normal(0, 0.5, (3, N, N, N)).astype(np.float32))
    return [
        x * np.float32({"chi": 1, "nothing": 0, "half": 0.5, "opposite": -1}[kind]) for x in chi
    ]


def test_interpolation_keeps_constants_and_what_is_smooth():
    open_site = np.random.default_rng(1).random((20, 20, 20)) > 0.2
    np.testing.assert_allclose(
        interpolated(np.full((20, 20, 20), 3.5), open_site, 48), 3.5, rtol=1e-6
    )

    def wave(n):
        x, y, z = np.meshgrid(*3 * [2 * np.pi * (np.arange(n) + 0.5) / n], indexing="ij")
        return np.sin(x) + np.cos(y) * np.sin(z)

    everywhere = np.ones((20, 20, 20), bool)
    found = interpolated(wave(20), everywhere, 48)
    np.testing.assert_allclose(found, wave(48), atol=2 * (2 * np.pi / 20) ** 2 / 4)


def test_blocked_coarse_sites_take_what_lies_beside_them():
    open_site = np.ones((16, 16, 16), bool)
    open_site[:, :, 4:10] = False
    x = np.where(open_site, 1.0, 77.0)
    x[:, :, 10] = 2.0
    found = interpolated(x, open_site, 16)
    assert (found[:, :, 4:7] == 1).all()
    assert (found[:, :, 7:10] == 2).all()


def test_with_the_corrector_itself_nothing_is_left_to_walk(lattice, exact):
    control = control_by(quantised(lattice), psi_of("chi", lattice, exact))
    np.testing.assert_allclose(control.trial, exact.tensor, rtol=1e-6, atol=1e-8)
    unfollowed = control_by(quantised(lattice), psi_of("nothing", lattice, exact))
    assert np.abs(control.velocity).max() < 1e-5 * np.abs(unfollowed.velocity).max()
    assert (np.diag(unfollowed.trial) > np.diag(exact.tensor)).all()
    summary = walk_tables(lattice).summary
    np.testing.assert_allclose(np.diag(unfollowed.trial), summary.axis_bound, rtol=1e-6)


def test_velocity_has_no_mean_at_equilibrium(lattice, exact):
    seen = quantised(lattice)
    control = control_by(seen, psi_of("noise", lattice, exact))
    weight = seen.weight.reshape(-1, 1).astype(float)
    largest = (weight * np.abs(control.velocity)).sum(axis=0)
    assert (np.abs((weight * control.velocity).sum(axis=0)) < 1e-6 * largest).all()
    assert (control.velocity[weight[:, 0] == 0] == 0).all()


@pytest.mark.parametrize("kind", ["nothing", "half", "noise"])
def test_squares_of_integral_and_displacement_add_up_to_the_trial_diffusivity(lattice, exact, kind):
    """<A_e A_f> + <y_e y_f> = 2 D_psi,ef t at every t, within three standard errors."""
    psi = psi_of(kind, lattice, exact)
    control = control_by(quantised(lattice), psi)
    tables, key, walkers = walk_tables(lattice, control), stream_key(3, "identity"), 20_000
    interval = 30 / tables.summary.hop_rate
    result = walk(tables, WalkRequest(key, 0, walkers, interval, 6))
    start = np.array(np.unravel_index(start_sites(tables, key, 0, walkers), (N, N, N))).T
    site = (start[:, None] + result.displacements) % N
    values = np.stack(psi, axis=-1)
    y = (
        result.displacements
        + values[tuple(np.moveaxis(site, -1, 0))]
        - values[tuple(start.T)][:, None]
    )
    area = result.integrals / INTEGRAL_UNITS
    for sample in (0, 2, 5):
        time = (sample + 1) * interval
        for e, f in COMPONENTS:
            sums = area[:, sample, e] * area[:, sample, f] + y[:, sample, e] * y[:, sample, f]
            mean, error = sums.mean(), sums.std() / np.sqrt(walkers)
            expected = 2 * control.trial[e, f] * time / lattice.spacing**2
            # 54 comparisons: the largest of so many normal variates stays below 3.9.
            assert abs(mean - expected) < 3.9 * error, (sample, e, f)


@pytest.mark.parametrize("kind", ["chi", "half", "nothing", "opposite", "noise"])
def test_no_psi_biases_the_estimate_and_a_good_one_leaves_less_noise(lattice, exact, kind):
    control = control_by(quantised(lattice), psi_of(kind, lattice, exact))
    plain = estimate(lattice, 1, target_relative_error=0.02)
    found = estimate(lattice, 1, target_relative_error=0.02, control=control)
    assert found.converged, found.reason
    # The corrector itself leaves nothing but the rounding of the integrals.
    error = found.stderr + 1e-6 * exact.diffusivity
    assert abs(found.diffusivity - exact.diffusivity) < 3 * error
    for e, f in COMPONENTS:
        error = found.tensor_stderr[e, f] + 1e-6 * exact.diffusivity
        assert abs(found.tensor[e, f] - exact.tensor[e, f]) < 3.5 * error
    cost = found.stderr**2 * found.hops / (plain.stderr**2 * plain.hops)
    if kind in ("chi", "half"):
        assert cost < 0.3


def test_control_from_a_coarser_lattice_lies_just_above_the_diffusivity():
    """Layers of a smooth profile, whose corrector the coarse lattice has well."""

    def layers(n):
        place = 2 * np.pi * (np.arange(n) + 0.5) / n
        energy = np.broadcast_to(np.sin(place)[:, None, None], (n, n, n)).copy()
        return Lattice.from_fields(np.ones((n, n, n)), energy, 75.0 / n)

    fine = layers(48)
    exact = solve(quantised(fine), relative_residual=1e-9)
    control = control_variate(fine, layers(24))
    bound = walk_tables(fine).summary.axis_bound
    np.testing.assert_allclose(np.diag(control.trial), np.diag(exact.tensor), rtol=2e-3)
    assert (np.diag(control.trial) >= np.diag(exact.tensor) * (1 - 1e-6)).all()
    assert bound[0] > 1.2 * exact.tensor[0, 0]


def test_a_control_that_the_displacements_contradict_is_flagged(lattice, exact):
    control = control_by(quantised(lattice), psi_of("half", lattice, exact))
    false = replace(control, trial=1.5 * control.trial)
    found = estimate(lattice, 1, target_relative_error=0.05, control=false)
    assert not found.converged
    assert "displacements of the same walkers" in found.reason


def test_a_uniform_lattice_is_known_without_noise():
    uniform = np.ones((16, 16, 16), np.float32)
    lattice = Lattice(uniform, uniform, 75 / 16)
    control = control_by(quantised(lattice), [np.zeros_like(uniform)] * 3)
    found = estimate(lattice, 1, target_relative_error=0.05, control=control)
    assert found.converged
    assert found.diffusivity == pytest.approx(1, rel=1e-6)
    assert found.stderr == 0


def test_lag_leaves_a_small_share_of_the_error_even_if_all_of_delta_is_slow(lattice):
    summary, known = walk_tables(lattice).summary, transient(lattice)
    slow = Transient(known.diffusivity, 50 * known.times, known.weights)
    mean = known.diffusivity.mean()
    for target, delta in ((0.01, 0.05 * mean), (0.01, 2 * mean), (0.001, 0.05 * mean)):
        tau, error = control_lag(summary, slow, delta, target)
        assert error == pytest.approx(min(0.1, target * mean / delta), rel=1e-12)
        assert delta * np.exp(-tau / slow.slowest) < 0.2 * error * delta
