"""The exact solver on every structure family."""

import pytest

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import ExactSolution, solve
from morphion.structures.families import generate
from morphion.transport import rasterise

CASES = [
    ("rsa", 0),
    *(("chain", window) for window in (0, 4, 7)),
    *(("gapped", i) for i in range(3)),
]


def solution(family: str, index: int, n: int) -> ExactSolution:
    geometry = Geometry()
    positions = generate(geometry, Structures(), 1, family, index)
    model = CoverageShell()
    return solve(rasterise(positions, geometry.box_length, geometry.diameter, model, n))


@pytest.mark.parametrize("n", [64, 75])
@pytest.mark.parametrize(("family", "index"), CASES)
def test_fifteen_iterations_reach_1e5_on_every_family_at_even_and_odd_n(family, index, n):
    solved = solution(family, index, n)
    assert solved.converged
    assert solved.iterations.max() <= 15


def test_chains_near_14_voxels_conduct_best_and_gaps_insulate():
    diffusivity = {case: solution(*case, 64).diffusivity for case in CASES}
    assert max(diffusivity, key=diffusivity.get) == ("chain", 4)
    assert min(diffusivity, key=diffusivity.get) == ("gapped", 2)
    assert 0.016 < diffusivity["rsa", 0] < 0.026
    assert 0.037 < diffusivity["chain", 4] < 0.048
    assert 0.003 < diffusivity["gapped", 2] < 0.006
