"""Every path of the workflow, and nothing else.

Arguments may be values or Snakemake wildcards such as ``"{shard}"``. A *set* is a collection of
structures that is labelled together:

=====================  ======================================================
``round0``             the generated families
``round1``, ...        what the annealing of the round before selected
``evaluation``         a sample of the last annealing, never trained on
``loading-0.15``, ...  the test split at another volume fraction
``walked``             part of round 0's test split, labelled by walks too
=====================  ======================================================
"""

from dataclasses import dataclass
from pathlib import Path

EVALUATION = "evaluation"
WALKED = "walked"


def round_set(round_: int | str) -> str:
    """Name of the set that joins the data in a round."""
    return f"round{round_}"


def loading_set(volume_fraction: float | str) -> str:
    """Name of the set at another volume fraction."""
    if isinstance(volume_fraction, str):
        return f"loading-{volume_fraction}"
    return "loading-" + f"{volume_fraction:.10f}".rstrip("0")


@dataclass(frozen=True)
class Layout:
    """Paths below the output folder of a run."""

    output: Path | str

    def _path(self, *parts: str) -> str:
        return "/".join((str(self.output), *parts))

    def config(self) -> str:
        """The resolved configuration that every command of the run reads."""
        return self._path("config.yaml")

    def structures(self, set_: str, shard: int | str) -> str:
        """A shard of structures."""
        return self._path("structures", set_, f"shard-{_padded(shard)}.zarr")

    def labels(self, set_: str, shard: int | str) -> str:
        """The labels of that shard."""
        return self._path("labels", set_, f"shard-{_padded(shard)}.zarr")

    def verdict(self, set_: str, shard: int | str) -> str:
        """Some of those labels beside the exact solution (CSV)."""
        return self._path("verdict", set_, f"shard-{_padded(shard)}.csv")

    def decision(self, set_: str) -> str:
        """Whether the labels of a set passed (JSON)."""
        return self._path("verdict", f"{set_}.json")

    def dataset(self, set_: str) -> str:
        """Structures, labels, splits and voxel images; a round's holds all rounds up to it."""
        return self._path("dataset", f"{set_}.zarr")

    def currents(self, round_: int | str, part: int | str) -> str:
        """Currents between the particles of a part of the structures that joined in a round."""
        return self._path("currents", f"round{round_}", f"part-{_padded(part)}.zarr")

    def model(self, round_: int | str, network: str, split: str) -> str:
        """Folder of a trained network; split is ``random`` or ``by_run``.

        On N of the training structures a network is called ``name-N``.
        """
        return self._path("surrogates", f"round{round_}", f"{network}-{split}")

    def predictions(self, round_: int | str, network: str, split: str, set_: str) -> str:
        """What that network says of a data set, beside its labels (CSV)."""
        return self._path("predictions", f"round{round_}", f"{network}-{split}", f"{set_}.csv")

    def anneal(self, round_: int | str, objective: str, job: int | str) -> str:
        """Annealing runs of one job; objective is ``maximise`` or ``minimise``."""
        return self._path("anneal", f"round{round_}", f"{objective}-{_padded(job, 2)}.zarr")

    def selection(self, round_: int | str) -> str:
        """What a selection took and why (CSV); the structures themselves become a set."""
        return self._path("anneal", f"round{round_}", "selection.csv")

    def table(self, name: str, suffix: str = "csv") -> str:
        """A table of the report."""
        return self._path("tables", f"{name}.{suffix}")

    def figure(self, name: str, suffix: str = "png") -> str:
        """A figure of the report."""
        return self._path("figures", f"{name}.{suffix}")

    def results(self, figure: str | None = None, suffix: str = "md") -> str:
        """The page that compares the networks, or a figure it shows."""
        return self._path(f"networks{f'-{figure}' if figure else ''}.{suffix}")

    def analysis(self, name: str) -> str:
        """An intermediate result of the analysis (Zarr)."""
        return self._path("analysis", f"{name}.zarr")

    def log(self, *parts: str) -> str:
        """Log file of a job."""
        return self._path("logs", *parts[:-1], f"{parts[-1]}.log")

    def benchmark(self, *parts: str) -> str:
        """Time and memory of a job."""
        return self._path("benchmarks", *parts[:-1], f"{parts[-1]}.tsv")


def _padded(number: int | str, width: int = 4) -> str:
    return number if isinstance(number, str) else f"{number:0{width}d}"
