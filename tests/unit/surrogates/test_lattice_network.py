"""Kirchhoff's laws on a lattice of cells against exact results."""

import numpy as np
import pytest
import torch

from morphion.exact import solve
from morphion.surrogates.lattice_network import dissipation, potentials
from morphion.transport.lattice import Lattice


def random_conductance(n=9, seed=0, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    return torch.exp(spread * torch.randn(2, 3, n, n, n, generator=generator))


def test_layers_conduct_in_parallel_and_in_series():
    layers = torch.tensor([1.0, 4.0, 0.5, 2.0])
    n = len(layers)
    conductance = layers[:, None, None].expand(1, 3, n, n, n).contiguous()
    found = dissipation(conductance)[0]
    # Axis z crosses the layers; the conductance between planes z and z + 1 is that of plane z.
    series, parallel = n**4 / (1 / layers).sum(), n**2 * layers.sum()
    expected = torch.diag(torch.stack((parallel, parallel, series)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_the_power_is_that_of_the_exact_solver():
    n = 12
    b = np.exp(np.random.default_rng(1).normal(0, 1, (n, n, n))).astype(np.float32)
    # The solver's axis 0 is x where arrays are [x, y, z]; here the last axis is x.
    exact = solve(Lattice(b, b**2, 1.0), relative_residual=1e-8).tensor * np.sum(b**2.0)
    field = torch.from_numpy(b)
    conductance = torch.stack([field * field.roll(-1, axis) for axis in range(3)])[None]
    found = dissipation(conductance)[0].flip(0, 1).numpy()
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4 * np.trace(exact))


def test_potentials_obey_kirchhoffs_laws():
    n = 4
    conductance = random_conductance(n)[:1]
    cells = np.arange(n**3).reshape(n, n, n)
    matrix, load = np.zeros((n**3, n**3)), np.zeros((n**3, 3))
    for axis, faces in enumerate(conductance[0].double().numpy()):
        here, there = cells.ravel(), np.roll(cells, -1, axis).ravel()
        for i, j, g in zip(here, there, faces.ravel(), strict=True):
            matrix[[i, j, i, j], [i, j, j, i]] += [g, g, -g, -g]
            load[[i, j], axis] += [g, -g]
    exact = np.linalg.lstsq(matrix, load, rcond=None)[0].T.reshape(3, n, n, n)
    found = potentials(conductance)[0]
    found = found - found.mean((1, 2, 3), keepdim=True)
    np.testing.assert_allclose(found, exact - exact.mean((1, 2, 3), keepdims=True), atol=1e-2)


def test_structures_of_a_batch_do_not_see_each_other():
    conductance = random_conductance()
    assert torch.equal(potentials(conductance)[1], potentials(conductance[1:])[0])


def test_gradients_are_those_of_the_power():
    conductance = random_conductance(4, spread=0.5)[:1].requires_grad_(True)
    weights = torch.tensor([[1.0, 0.3, 0.2], [0.3, 0.5, 0.1], [0.2, 0.1, 2.0]])
    power = (weights * dissipation(conductance)[0]).sum()
    (gradient,) = torch.autograd.grad(power, conductance)
    direction = torch.randn(conductance.shape, generator=torch.Generator().manual_seed(3))
    step = 1e-2
    ends = [
        (weights * dissipation(conductance.detach() + sign * step * direction)[0]).sum()
        for sign in (1, -1)
    ]
    numerical = (ends[0] - ends[1]) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(numerical.item(), rel=0.01)
