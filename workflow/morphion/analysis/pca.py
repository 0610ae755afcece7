"""Principal components of g(r) and their correlation with the diffusivity (figure 10)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from sklearn.decomposition import PCA

from morphion import provenance, store
from morphion.bootstrap import interval, multiplicities
from morphion.config import Config
from morphion.config.load import block
from morphion.errors import StoreError
from morphion.philox import generator
from morphion.progress import log

KIND = "pca"

_RESAMPLES = 50  # bootstrap resamples in one matrix product


def pca_store(descriptors: Path, config: Config, output: Path) -> None:
    """Write the principal components of g(r) over all structures with a converged label.

    Equation 6 of the paper with centred features, PC_i = sum_r w_ir (g(r) - <g(r)>):

    ======  ==========================================================
    symbol  array
    ======  ==========================================================
    PC_i    ``scores`` (structure, component)
    w_ir    ``weights`` (component, r), of unit length
    <g(r)>  ``mean_g`` (r)
    ======  ==========================================================

    ``explained_variance_ratio`` and ``correlation`` (Pearson R with D*), both (component), carry
    95 % bootstrap limits ``_low`` and ``_high`` (:mod:`morphion.bootstrap`). A component's sign is
    arbitrary: PC1 gets the one with R(PC1, D*) < 0, as in the paper; of the others the largest
    weight is positive.

    Raises StoreError if fewer than three labels converged or all g(r) are equal.
    """
    data = store.load(descriptors, kind="descriptors")
    used = np.flatnonzero(data.converged.values)
    if len(used) < 3:
        raise StoreError(
            f"{descriptors}: {len(used)} structures with a converged label; "
            "principal components need at least 3"
        )
    g = data.g.values[used]
    diffusivity = data.diffusivity_star.values[used]
    if np.ptp(g, axis=0).max() == 0:
        raise StoreError(f"{descriptors}: all structures have the same g(r)")
    components = min(config.analysis.components, len(used) - 1, g.shape[1])
    pca = PCA(components, svd_solver="full").fit(g)
    weights, scores = pca.components_, pca.transform(g)
    correlation = _correlations(scores, diffusivity)
    if correlation[0] > 0:
        weights[0], scores[:, 0], correlation[0] = -weights[0], -scores[:, 0], -correlation[0]
    found = pca.explained_variance_ratio_, correlation
    limits = _limits(found, g, diffusivity, data.group.values[used], weights, config)
    result = xr.Dataset(
        {
            "scores": (("structure", "component"), scores),
            "weights": (("component", "r"), weights),
            "mean_g": ("r", pca.mean_),
            "explained_variance_ratio": ("component", pca.explained_variance_ratio_),
            "correlation": ("component", correlation),
            "diffusivity_star": ("structure", diffusivity),
            "source": ("structure", used, {"description": "index in the descriptors store"}),
            **limits,
        },
        coords={"r": data.r, "component": np.arange(1, components + 1)},
    )
    record = provenance.record(block(config.analysis), descriptors=str(descriptors))
    store.write(output, result, kind=KIND, provenance=record)
    log(
        f"{output}: PC1 {pca.explained_variance_ratio_[0]:.1%} of the variance of "
        f"{len(used)} structures, R(PC1, D*) = {correlation[0]:.3f}"
    )


def _correlations(scores: np.ndarray, diffusivity: np.ndarray) -> np.ndarray:
    """Pearson R of each column of scores with the diffusivity; NaN where one does not vary."""
    deviation = diffusivity - diffusivity.mean()
    centred = scores - scores.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0) * (deviation**2).sum())
    return np.divide(centred.T @ deviation, norm, out=np.full(len(norm), np.nan), where=norm > 0)


def _limits(
    found: tuple[np.ndarray, np.ndarray],
    g: np.ndarray,
    diffusivity: np.ndarray,
    group: np.ndarray,
    weights: np.ndarray,
    config: Config,
) -> dict:
    """95 % bootstrap limits, over groups of structures, of the variance ratios and correlations
    that were found; the components themselves are held fixed for R."""
    draws = [
        _resampled(covariance, weights)
        for covariance in _resampled_covariances(g, diffusivity, group, config)
    ]
    limits, groups = {}, len(np.unique(group))
    bounded = {"explained_variance_ratio": (0.0, 1.0), "correlation": (-1.0, 1.0)}
    for (name, bounds), value, values in zip(
        bounded.items(), found, zip(*draws, strict=True), strict=True
    ):
        low, high = interval(value, np.concatenate(values), groups, bounds)
        limits[f"{name}_low"] = ("component", low)
        limits[f"{name}_high"] = ("component", high)
    return limits


def _resampled_covariances(
    g: np.ndarray, diffusivity: np.ndarray, group: np.ndarray, config: Config
) -> Iterator[np.ndarray]:
    """Covariances of (g, D*) in resamples, in blocks [resamples, features + 1, features + 1].

    A resample is a set of multiplicities, and its covariance their product with the pairs of
    features of every structure: one matrix product instead of a copy of the data each.
    """
    random = generator(config.seed, "bootstrap", "pca")
    features = np.column_stack([g - g.mean(axis=0), diffusivity - diffusivity.mean()])
    rows, columns = np.triu_indices(features.shape[1])
    products = features[:, rows] * features[:, columns]
    for start in range(0, config.analysis.bootstrap, _RESAMPLES):
        resamples = min(_RESAMPLES, config.analysis.bootstrap - start)
        drawn = multiplicities(group, resamples, random)
        times = drawn / np.maximum(drawn.sum(axis=1, keepdims=True), 1)  # 0 of one group alone
        means, seconds = times @ features, times @ products
        covariance = np.empty((resamples, features.shape[1], features.shape[1]))
        covariance[:, rows, columns] = covariance[:, columns, rows] = seconds
        yield covariance - means[:, :, np.newaxis] * means[:, np.newaxis, :]


def _resampled(covariance: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance ratios and correlations [resamples, components] from covariances of (g, D*)."""
    features = covariance[:, :-1, :-1]
    variances = np.linalg.eigvalsh(features)[:, ::-1]
    total = np.maximum(variances.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    variance = np.einsum("ci,bij,cj->bc", weights, features, weights, optimize=True)
    norm = np.sqrt(np.maximum(variance * covariance[:, -1, -1:], 0))
    joint = covariance[:, :-1, -1] @ weights.T
    # A resample of one structure alone has no R.
    correlation = np.divide(joint, norm, out=np.full(norm.shape, np.nan), where=norm > 0)
    return variances[:, : len(weights)] / total, correlation
