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
    bootstrap: int = Field(1000, ge=100, description="resamples behind each confidence interval")
