"""Local fields to b and weights."""

import numpy as np
import pytest

from morphion.errors import TransportError
from morphion.transport import Lattice


def fields(n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    diffusivity = np.exp(random.normal(size=(n, n, n)))
    diffusivity[0] = 0
    return diffusivity, random.normal(size=(n, n, n))


def test_rates_obey_detailed_balance():
    diffusivity, energy = fields()
    lattice = Lattice.from_fields(diffusivity, energy, 2.0)
    rate_up = lattice.a[1, 0, 0] * lattice.b[2, 0, 0]
    expected = np.sqrt(diffusivity[1, 0, 0] * diffusivity[2, 0, 0])
    expected *= np.exp(-(energy[2, 0, 0] - energy[1, 0, 0]) / 2)
    assert rate_up == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(lattice.weight * lattice.a, lattice.b, rtol=1e-6)
    assert lattice.weight.max() == 1
    assert lattice.n == 4


def test_blocked_sites_have_no_weight_whatever_their_energy():
    diffusivity, energy = fields()
    energy[0] = np.nan
    lattice = Lattice.from_fields(diffusivity, energy, 1.0)
    assert not lattice.b[0].any()
    assert not lattice.weight[0].any()
    assert not lattice.a[0].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, u: (d[:2], u[:2]), "cubic"),
        (lambda d, u: (d, u[:, :, :3]), "cubic"),
        (lambda d, u: (np.full_like(d, np.nan), u), "finite"),
        (lambda d, u: (-d, u), "negative"),
        (lambda d, u: (0 * d, u), "no open"),
        (lambda d, u: (d, np.full_like(u, np.inf)), "free energies must be finite"),
        (lambda d, u: (d, 200 * u), "underflow"),
    ],
)
def test_unusable_fields_are_refused(change, message):
    with pytest.raises(TransportError, match=message):
        Lattice.from_fields(*change(*fields()), 1.0)
