"""The whole configuration of a run."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from morphion.config.analysis import Analysis
from morphion.config.anneal import Anneal
from morphion.config.base import Block, named, plain_path
from morphion.config.currents import Currents
from morphion.config.geometry import RSA_JAMMING, Geometry, Structures
from morphion.config.labels import Labels, Walked
from morphion.config.surrogates import Surrogates
from morphion.config.transport import CoverageShell, Transport
from morphion.config.verdict import Verdict
from morphion.paths import WALKED

Split = tuple[
    Annotated[float, Field(gt=0, lt=1)],
    Annotated[float, Field(gt=0, lt=1)],
    Annotated[float, Field(gt=0, lt=1)],
]


class Config(Block):
    """Everything a run depends on. Defaults are the paper's values where it states them."""

    output: Annotated[Path, BeforeValidator(named), AfterValidator(plain_path)] = Field(
        description="folder of all results of this run"
    )
    seed: int = Field(2021, ge=0, lt=2**63, description="run seed, the root of every random stream")
    environment: Literal["cpu", "cuda12", "cuda13"] = Field(
        "cpu", description="conda environment under envs/ (only used with --sdm conda)"
    )
    engine: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="where labels are computed: auto takes a GPU where there is one; the walks are "
        "the same bit for bit. Also tells whether jobs have a GPU for needs_gpu_above",
    )
    rounds: int = Field(1, ge=1, description="retraining rounds")
    geometry: Geometry = Field(Geometry(), description="box and particles")
    structures: Structures = Field(Structures(), description="what is generated in round 0")
    transport: Transport = Field(CoverageShell(), description="local diffusivity and affinity")
    labels: Labels = Field(Labels(), description="how structures are labelled")
    walked: Walked = Field(
        Walked(), description="kinetic Monte Carlo beside exact labels, on part of the test split"
    )
    labelled: Path | None = Field(
        None,
        description="packed data set (*.zarr.zip) that is round 0, instead of generating and "
        "labelling; relative to the file that names it",
    )
    currents: Currents = Field(
        Currents(), description="exact currents between particles, for resistor networks to learn"
    )
    verdict: Verdict = Field(Verdict(), description="how labels are judged before they are used")
    split: Split = Field((0.6, 0.2, 0.2), description="training, validation and test shares")
    surrogates: Surrogates = Field(Surrogates(), description="networks and their training")
    anneal: Anneal = Field(Anneal(), description="annealing and selection")
    loadings: tuple[Annotated[float, Field(gt=0, lt=RSA_JAMMING)], ...] = Field(
        (0.15, 0.05), description="other volume fractions at which the last network is tried"
    )
    analysis: Analysis = Field(Analysis(), description="descriptors and figures")

    def labels_of(self, set_: str) -> Labels:
        """How the structures of a set are labelled."""
        if set_ != WALKED:
            return self.labels
        error = self.walked.target_relative_error
        return self.labels.model_copy(update={"method": "kmc", "target_relative_error": error})

    @model_validator(mode="after")
    def _fits_together(self):
        diameter = self.geometry.diameter
        for i, (low, high) in enumerate(self.structures.chain_windows):
            if self.structures.chain and low < diameter:
                raise ValueError(
                    f"structures.chain_windows[{i}] = [{low}, {high}] starts below the sphere "
                    f"diameter {diameter:.4f} voxels: neighbours would overlap"
                )
        widest = self.structures.slab_width[1]
        if self.structures.gapped and widest >= self.geometry.box_length:
            raise ValueError(
                f"structures.slab_width = {list(self.structures.slab_width)} reaches the box edge "
                f"of {self.geometry.voxels} voxels: no place is left for particles"
            )
        self.labels.require_shell(self.transport, self.geometry.box_length, diameter)
        if self.anneal.maximise.select + self.anneal.minimise.select == 0:
            raise ValueError("anneal.maximise.select and anneal.minimise.select are both 0")
        if self.walked.structures and self.labels.method != "exact":
            raise ValueError(
                f"walked.structures = {self.walked.structures} needs labels.method: exact; labels "
                "are walks already: leave it out"
            )
        if abs(sum(self.split) - 1) > 1e-9:
            raise ValueError(f"split = {list(self.split)} sums to {sum(self.split):g}, not 1")
        if len(set(self.loadings)) != len(self.loadings):
            raise ValueError(f"loadings = {list(self.loadings)} names a volume fraction twice")
        return self
