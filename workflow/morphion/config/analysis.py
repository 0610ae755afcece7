"""Loadings and the analysis of all labelled structures."""

from pydantic import Field

from morphion.config.base import Block


class Analysis(Block):
    """Structure descriptors and figures."""

    max_distance: int = Field(38, ge=8, description="largest r of g(r), voxels")
    components: int = Field(39, ge=2, description="principal components kept, as far as there are")
    cluster_distance: float = Field(
        14.5, gt=0, description="centres closer than this belong to one cluster, voxels"
    )
    extreme_fraction: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="share of structures in the extremes of figure 10d",
    )
    extremes: int = Field(
        4,
        ge=1,
        description="structures solved exactly of those with the largest labels in the first data "
        "set, in all rounds, and of those with the smallest: the largest noisy label is too large",
    )
    bootstrap: int = Field(1000, ge=100, description="resamples behind each confidence interval")
