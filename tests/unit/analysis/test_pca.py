"""Principal components: a planted one is found, with the paper's sign and sane intervals."""

import analysis_inputs as inputs
import numpy as np
import pytest
import xarray as xr

from morphion import store
from morphion.analysis.pca import _resampled_covariances, pca_store
from morphion.errors import StoreError
from morphion.philox import generator


def _write_descriptors(path, g, diffusivity, converged=None, group=None):
    count = len(g)
    converged = np.ones(count, dtype=bool) if converged is None else converged
    data = xr.Dataset(
        {
            "g": (("structure", "r"), g),
            "diffusivity_star": ("structure", diffusivity),
            "converged": ("structure", converged),
            "group": ("structure", np.arange(count) if group is None else group),
        },
        coords={"r": np.arange(g.shape[1])},
    )
    store.write(path, data, kind="descriptors", provenance={})
    return path


def _planted(count=300):
    """g(r) that varies along two known directions, D* falling along the first."""
    random = generator(4, "test-pca")
    first, second = np.zeros(39), np.zeros(39)
    first[10:12], first[14] = 0.6, -0.52
    second[20:24] = 0.5
    first /= np.linalg.norm(first)
    along = random.normal(0, [2.0, 0.7], (count, 2))
    g = 1 + along @ np.stack([first, second]) + random.normal(0, 0.02, (count, 39))
    diffusivity = 1 - 0.2 * along[:, 0] + random.normal(0, 0.1, count)
    return g, diffusivity, first, second


def _pca(tmp_path, *arrays, **analysis):
    path = _write_descriptors(tmp_path / "d.zarr", *arrays)
    pca_store(path, inputs.config(**analysis), tmp_path / "pca.zarr")
    return store.load(tmp_path / "pca.zarr", kind="pca")


def test_planted_components_are_recovered(tmp_path):
    g, diffusivity, first, second = _planted()
    found = _pca(tmp_path, g, diffusivity)
    assert found.weights.values[0] @ first == pytest.approx(1, abs=1e-3)
    assert abs(found.weights.values[1] @ second) == pytest.approx(1, abs=1e-2)
    assert found.explained_variance_ratio.values[0] == pytest.approx(4 / 4.49, abs=0.03)
    np.testing.assert_allclose(
        found.scores.values, (g - g.mean(axis=0)) @ found.weights.values.T, atol=1e-10
    )


def test_first_component_correlates_negatively_whatever_the_sign_of_the_data(tmp_path):
    g, diffusivity, first, _ = _planted()
    found = _pca(tmp_path, g, -diffusivity)
    assert found.correlation.values[0] < -0.9
    assert found.weights.values[0] @ first == pytest.approx(-1, abs=1e-3)
    expected = np.corrcoef(found.scores.values[:, 0], -diffusivity)[0, 1]
    assert found.correlation.values[0] == pytest.approx(expected)


def test_intervals_hold_the_value_and_shrink_with_the_number_of_structures(tmp_path):
    widths = []
    for count in (40, 1000):
        found = _pca(tmp_path, *_planted(count)[:2])
        for name in ("explained_variance_ratio", "correlation"):
            assert found[f"{name}_low"][0] < found[name][0] < found[f"{name}_high"][0]
        widths.append(float(found.correlation_high[1] - found.correlation_low[1]))
    assert widths[1] < 0.4 * widths[0]


def test_bootstrap_covariances_are_those_of_copied_resamples():
    g, diffusivity, *_ = _planted(50)
    config = inputs.config()
    group = np.arange(50) // 2
    found = np.concatenate(list(_resampled_covariances(g, diffusivity, group, config)))
    assert found.shape == (100, 40, 40)
    random = generator(config.seed, "bootstrap", "pca")
    drawn = np.concatenate([random.integers(25, size=(50, 24)) for _ in range(2)])
    for covariance, groups in zip(found[::33], drawn[::33], strict=True):
        rows = np.concatenate([np.flatnonzero(group == drawn) for drawn in groups])
        copied = np.column_stack([g, diffusivity])[rows]
        np.testing.assert_allclose(covariance, np.cov(copied.T, bias=True), atol=1e-12)


def test_copies_within_a_group_make_no_limit_narrower(tmp_path):
    g, diffusivity, *_ = _planted(30)
    once = _pca(tmp_path, g, diffusivity)
    copies = [np.repeat(values, 9, axis=0) for values in (g, diffusivity, np.arange(30))]
    copied = _pca(tmp_path, *copies[:2], None, copies[2])
    for name in ("explained_variance_ratio", "correlation"):
        for limit in ("_low", "_high"):
            first = slice(0, 2)  # of noise alone the others
            np.testing.assert_allclose(
                copied[name + limit].values[first], once[name + limit].values[first], rtol=1e-6
            )


def test_of_one_run_alone_components_have_no_limits(tmp_path):
    g, diffusivity, *_ = _planted(30)
    found = _pca(tmp_path, g, diffusivity, None, np.zeros(30, int))
    assert np.isfinite(found.correlation.values[0])
    assert np.isnan(found.correlation_low.values).all()
    assert np.isnan(found.explained_variance_ratio_high.values).all()


def test_structures_without_a_converged_label_are_left_out(tmp_path):
    g, diffusivity, *_ = _planted()
    converged = np.ones(len(g), dtype=bool)
    converged[:100] = False
    g[:100] += 50 * np.arange(100)[:, None]
    found = _pca(tmp_path, g, diffusivity, converged)
    assert found.source.values.tolist() == list(range(100, 300))
    assert found.explained_variance_ratio.values[0] < 0.95


def test_few_structures_give_as_many_components_as_they_can(tmp_path):
    g, diffusivity, *_ = _planted(3)
    assert _pca(tmp_path, g, diffusivity).sizes["component"] == 2


def test_too_few_or_equal_structures_are_refused(tmp_path):
    g, diffusivity, *_ = _planted(5)
    few = _write_descriptors(tmp_path / "few.zarr", g, diffusivity, np.arange(5) < 2)
    with pytest.raises(StoreError, match=r"2 structures with a converged label.*at least 3"):
        pca_store(few, inputs.config(), tmp_path / "out.zarr")
    equal = _write_descriptors(tmp_path / "equal.zarr", np.ones((5, 39)), diffusivity)
    with pytest.raises(StoreError, match=r"same g\(r\)"):
        pca_store(equal, inputs.config(), tmp_path / "out.zarr")
