"""What a training set held: quantities with known values, ranges, and who lies outside."""

import numpy as np
import pytest
from surrogate_cases import BOX, DIAMETER, make_positions

from morphion.config.transport import CoverageShell, DistanceTable
from morphion.errors import SurrogateError
from morphion.structures.geometry import separations
from morphion.surrogates.domain import (
    QUANTITIES,
    check_domain,
    describe,
    domain_reasons,
    measure_domain,
    transport_reasons,
)
from morphion.transport import transport_record


def cubic_lattice(edge, count):
    """Simple cubic lattice of count^3 particles, [1, N, 3]."""
    return np.indices((count,) * 3).reshape(3, -1).T[None] * edge / count + 0.3


@pytest.fixture(scope="module")
def held():
    """Domain of 64 structures with labels from 0.2 to 1."""
    spread = np.array([0.01, 0.03])
    return measure_domain(make_positions(), BOX, DIAMETER, np.linspace(0.2, 1, 64), spread)


def of_first(positions, box=BOX, diameter=DIAMETER):
    return {name: float(values[0]) for name, values in describe(positions, box, diameter).items()}


def test_a_cubic_lattice_has_the_values_of_theory():
    found = of_first(cubic_lattice(12.0, 4), 12.0, 2.1)
    expected = {
        "volume_fraction": 64 * np.pi / 6 * (2.1 / 12) ** 3,
        "box_length": 12 / 2.1,
        "nearest_distance": 3 / 2.1,
        "nearest_deviation": 0,
        "neighbours": 6,  # the next ones are at 4.24 / 2.1 = 2.02 diameters
        "density_wave": 0,
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_distances_are_those_of_the_nearest_periodic_images():
    positions = make_positions(3)
    found = describe(positions, BOX, DIAMETER)
    for row, structure in enumerate(positions):
        vectors = separations(structure[:, None], structure[None], BOX)
        distance = np.linalg.norm(vectors, axis=-1) / DIAMETER
        near = ((distance < 1.5).sum(axis=1) - 1).mean()
        np.fill_diagonal(distance, np.inf)
        assert found["nearest_distance"][row] == pytest.approx(distance.min(axis=1).mean())
        assert found["nearest_deviation"][row] == pytest.approx(distance.min(axis=1).std())
        assert found["neighbours"][row] == pytest.approx(near)


def test_an_ideal_gas_has_a_structure_factor_of_one_and_a_point_one_of_n():
    gas = np.random.default_rng(3).uniform(0, BOX, (4000, 12, 3))
    waves = describe(gas, BOX, DIAMETER)["density_wave"]
    assert abs(waves.mean() - 1) < 3 * waves.std() / np.sqrt(len(waves))
    together = np.full((1, 12, 3), 4.0) + 1e-9 * gas[:1]
    assert of_first(together)["density_wave"] == pytest.approx(12)


def test_the_unit_of_length_does_not_matter():
    positions = make_positions(2).astype(float)
    one, other = describe(positions, BOX, DIAMETER), describe(positions / 7, BOX / 7, DIAMETER / 7)
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, rtol=1e-9, err_msg=name)


def test_a_single_particle_is_described_without_a_neighbour():
    found = of_first(np.full((1, 1, 3), 2.0))
    assert found["nearest_distance"] == np.inf
    assert found["neighbours"] == found["nearest_deviation"] == 0
    assert found["density_wave"] == pytest.approx(1)


def test_the_training_set_lies_in_its_own_domain(held):
    check_domain(held, "model.json")
    found = describe(make_positions(), BOX, DIAMETER)
    for row in range(64):
        assert domain_reasons(held, {name: values[row] for name, values in found.items()}) == []


def test_radii_rounded_to_four_digits_stay_inside(held):
    assert domain_reasons(held, of_first(make_positions()[10:11], BOX, DIAMETER * 1.0001)) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"volume_fraction": 0.3}, r"volume fraction 0.3 (training structures: 0.05027)"),
        ({"box_length": 8}, "box edge 8 sphere diameters (training structures: 5)"),
        ({"diffusivity_star": 1.25}, "D* 1.25 (training labels: 0.2 to 1)"),
        ({"diffusivity_star": 0.1}, "D* 0.1 (training labels: 0.2 to 1)"),
        ({"relative_spread": 0.2}, "spread over D* 0.2 (validation structures: 0 to 0.03)"),
    ],
)
def test_what_lies_outside_is_told_with_its_value_and_the_range(held, changes, reason):
    assert domain_reasons(held, changes) == [reason]


def test_a_piece_of_a_crystal_lies_outside(held):
    crystal = " ".join(domain_reasons(held, of_first(cubic_lattice(BOX, 3)[:, :12])))
    assert "standard deviation of that distance 0 sphere diameters" in crystal


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbours": [3, 1]}, r"m.json: domain.neighbours = \[3, 1\]; expected \[low, high\]"),
        ({"neighbours": 3}, "domain.neighbours = 3"),
        ({"weight": [0, 1]}, "unknown key 'domain.weight'"),
        ({"neighbours": None}, "domain.neighbours = None"),
    ],
)
def test_a_domain_of_another_form_is_refused(held, change, message):
    with pytest.raises(SurrogateError, match=message):
        check_domain(held | change, "m.json")
    with pytest.raises(SurrogateError, match=r"no key 'domain\.box_length'"):
        check_domain({name: held[name] for name in QUANTITIES if name != "box_length"}, "m.json")


def test_a_parameter_of_the_transport_model_that_differs_is_named_with_both_values():
    trained = transport_record(CoverageShell())
    meant = transport_record(CoverageShell(affinity=6.5))
    assert transport_reasons(trained, trained) == []
    assert transport_reasons(meant, trained) == [
        "transport model: affinity = 6.5 (training labels: 8.0)"
    ]


def test_tables_are_compared_by_content_and_not_by_path(tmp_path):
    for name, text in (("a.csv", "1"), ("b.csv", "1"), ("c.csv", "2")):
        (tmp_path / name).write_text(text)
    a, b, c = (
        transport_record(DistanceTable(model="table", path=tmp_path / f"{name}.csv"))
        for name in "abc"
    )
    assert str(tmp_path) not in str(a)
    assert transport_reasons(a, b) == []
    (reason,) = transport_reasons(a, c)
    assert a["digest"] in reason
    assert c["digest"] in reason
    assert transport_reasons(a, transport_record(CoverageShell())) == [
        "transport model: model = table (training labels: coverage-shell)"
    ]
