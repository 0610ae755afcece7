"""Simulated annealing, selection, and the evaluation sample."""

from typing import Literal

from pydantic import Field

from morphion.config.base import Block

OBJECTIVES = ("maximise", "minimise")


class Objective(Block):
    """One direction of the search."""

    runs: int = Field(10, ge=1, description="independent runs")
    cycles: int = Field(50, ge=1, description="cycles, each at its own temperature")
    select: int = Field(ge=0, description="structures handed to the labels, over all runs")


class Maximise(Objective):
    """Towards large D*."""

    select: int = Field(5000, ge=0, description="structures handed to the labels, over all runs")


class Minimise(Objective):
    """Towards small D*."""

    cycles: int = Field(100, ge=1, description="cycles, each at its own temperature")
    select: int = Field(2280, ge=0, description="structures handed to the labels, over all runs")


class Anneal(Block):
    """Equations 2 and 3 of the paper; temperatures are in units of D*."""

    initial_temperature: float = Field(9.8e-3, gt=0, description="D*_1 of equation 3")
    cooling: float = Field(0.9, gt=0, lt=1, description="alpha of equation 3")
    steps_per_cycle: int = Field(2500, ge=1, description="attempted moves of a run in a cycle")
    maximise: Maximise = Field(Maximise(), description="runs towards large D*")
    minimise: Minimise = Field(Minimise(), description="runs towards small D*")
    selection: Literal["beyond", "all"] = Field(
        "beyond",
        description="structures selected have predictions beyond the data's labels, as in the "
        "paper, or all that the annealing reached",
    )
    # The paper selects uniformly in prediction without saying how. Fifty bins resolve the spread
    # of a good network's errors and still hold a hundred of 5000 structures each.
    selection_bins: int = Field(
        50,
        ge=1,
        description="equal-width bins of the prediction or its logarithm, drawn from evenly",
    )
    selection_scale: Literal["linear", "logarithmic"] = Field(
        "linear",
        description="what the bins are equally wide in: the prediction, as in the paper, or its "
        "logarithm, which gives small D* their share",
    )
    on_short_selection: Literal["fill", "error"] = Field(
        "fill",
        description="too few predictions beyond the data's extreme: fill with the nearest, or stop",
    )
    evaluation_sample: int = Field(
        500, ge=2, description="structures of the last annealing labelled for evaluation only"
    )
    runs_per_job: int = Field(10, ge=1, description="runs batched through the network in one job")

    def objective(self, name: str) -> Objective:
        """Settings of one direction, ``maximise`` or ``minimise``."""
        return {"maximise": self.maximise, "minimise": self.minimise}[name]

    def jobs(self, objective: str) -> int:
        """Jobs that share the runs of an objective; only the last may have fewer runs."""
        return -(-self.objective(objective).runs // self.runs_per_job)

    def dynamics(self, objective: str) -> dict:
        """What the runs of an objective depend on, as plain values; not what is selected later."""
        return {
            "initial_temperature": self.initial_temperature,
            "cooling": self.cooling,
            "steps_per_cycle": self.steps_per_cycle,
            "runs_per_job": self.runs_per_job,
            **self.objective(objective).model_dump(exclude={"select"}),
        }

    def selecting(self) -> dict:
        """What the selection depends on beside the runs, as plain values."""
        return {
            "select": [self.objective(name).select for name in OBJECTIVES],
            "selection": self.selection,
            "selection_bins": self.selection_bins,
            "selection_scale": self.selection_scale,
            "on_short_selection": self.on_short_selection,
        }
