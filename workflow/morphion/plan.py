"""What a run will make: rounds, sets, shards and annealing jobs, from the configuration alone."""

import math
from collections.abc import Callable, Iterator

from morphion.config import Config
from morphion.config.anneal import OBJECTIVES
from morphion.dataset.split import split_sizes
from morphion.errors import ConfigError
from morphion.gpu.present import gpu_is_present
from morphion.paths import EVALUATION, WALKED, loading_set, round_set

SPLITS = ("random", "by_run")


def planned_here(config: Config, gpu_here: Callable[[], bool] = gpu_is_present) -> Config:
    """The configuration with every ``needs_gpu_above`` lifted if the run has a GPU.

    ``engine: gpu`` says that it has one, ``cpu`` that it has none, and ``auto`` asks this machine.
    Raises ConfigError if the network that drives the annealing would be left out.
    """
    surrogates = config.surrogates
    if all(network.training.needs_gpu_above is None for network in surrogates.networks.values()):
        return config
    if config.engine == "gpu" or (config.engine == "auto" and gpu_here()):
        networks = {
            name: network.model_copy(
                update={"training": network.training.model_copy(update={"needs_gpu_above": None})}
            )
            for name, network in surrogates.networks.items()
        }
        surrogates = surrogates.model_copy(update={"networks": networks})
        return config.model_copy(update={"surrogates": surrogates})
    plan = Plan(config)
    for round_ in plan.rounds():
        if plan.needs_gpu(surrogates.driver, round_):
            raise ConfigError(
                f"surrogates.driver = {surrogates.driver!r} needs a GPU by its training."
                f"needs_gpu_above in round {round_}, and there is none here; choose another "
                "driver, or engine: gpu if the jobs have one"
            )
    return config


class Plan:
    """Counts that the workflow needs before anything was computed."""

    def __init__(self, config: Config):
        self.config = config

    @property
    def last_round(self) -> int:
        """The last round; rounds are counted from 0."""
        return self.config.rounds

    def rounds(self) -> range:
        """All rounds."""
        return range(self.config.rounds + 1)

    def structures_in(self, set_: str) -> int:
        """Structures that a set holds at most; a short selection leaves fewer."""
        base = self.config.structures.count
        annealed = self.config.anneal.maximise.select + self.config.anneal.minimise.select
        if set_ == round_set(0):
            return base
        if set_ == EVALUATION:
            return self.config.anneal.evaluation_sample
        if set_ == WALKED:
            return self.config.walked.structures
        if set_.startswith("loading-"):
            return round((base + self.config.rounds * annealed) * self.config.split[2])
        return annealed

    def shards(self, set_: str) -> range:
        """Shards of a set."""
        size = self.config.structures.shard_size
        return range(max(1, math.ceil(self.structures_in(set_) / size)))

    def currents(self, round_: int | str, network: str) -> list[tuple[int, int]]:
        """Round and part of every store of currents that a training of a round reads."""
        if not self.config.surrogates.network(network).learns_currents:
            return []
        rounds = range(int(round_) + 1)
        return [(r, part) for r in rounds for part in self.shards(round_set(r))]

    def sets(self) -> Iterator[str]:
        """Every set that is labelled by the run itself."""
        first = 0 if self.config.labelled is None else 1
        yield from map(round_set, self.rounds()[first:])
        yield from self.evaluation_sets()

    def evaluation_sets(self) -> Iterator[str]:
        """Sets that are labelled and predicted, but never trained on."""
        yield from self.unlike_sets()
        if self.config.walked.structures:
            yield WALKED

    def unlike_sets(self) -> Iterator[str]:
        """Those of them whose structures are unlike those of the first data set."""
        yield EVALUATION
        yield from (loading_set(loading) for loading in self.config.loadings)

    def threads(self, network: str, most: int, *, training: bool = False) -> int:
        """CPU threads that a job with a network asks for: ``most``, but no more than its processes
        can use. A ``training`` has a process to each rank, any other job one."""
        block = self.config.surrogates.network(network)
        if not block.one_thread:
            return most
        return min(most, block.training.ranks) if training else 1

    def annealing_jobs(self) -> Iterator[tuple[str, int]]:
        """Objective and job number of every annealing job of a round."""
        for objective in OBJECTIVES:
            for job in range(self.config.anneal.jobs(objective)):
                yield objective, job

    def trainings(self) -> list[str]:
        """Names of the trainings of round 0 (``Surrogates.network``), those on fewer structures
        after their network."""
        return [name for name in self._wanted() if not self.needs_gpu(name)]

    def left_out(self) -> list[str]:
        """Names of the trainings that this run has no GPU for."""
        return [name for name in self._wanted() if self.needs_gpu(name)]

    def compared(self) -> list[str]:
        """Names of the trainings that tables of networks show: one for each network, on the most
        structures that the run trains it on."""
        made = self.trainings()
        found = []
        for key in self.config.surrogates.networks:
            names = [name for name in made if name == key or name.startswith(f"{key}-")]
            found += sorted(names, key=self._structures)[-1:]
        return found

    def needs_gpu(self, name: str, round_: int = 0) -> bool:
        """Whether a training is one that a run without a GPU leaves out."""
        above = self.config.surrogates.network(name).training.needs_gpu_above
        return above is not None and self._structures(name, round_) > above

    def _structures(self, name: str, round_: int = 0) -> int:
        """Structures that a training is on."""
        training = self.config.surrogates.network(name).training
        return training.structures or self._training_split(round_)

    def _training_split(self, round_: int = 0) -> int:
        """Structures to train on in a round if all labels up to it can be used."""
        count = sum(self.structures_in(round_set(r)) for r in range(round_ + 1))
        return split_sizes(count, self.config.split)[0]

    def _wanted(self) -> Iterator[str]:
        curve = self.config.surrogates.learning_curve
        for key in self.config.surrogates.networks:
            yield key
            if key in curve.networks:
                # A size that the network itself is trained on would be the same training again.
                own = self._structures(key)
                yield from (f"{key}-{size}" for size in sorted(curve.sizes) if size != own)

    def models(self) -> Iterator[tuple[int, str, str]]:
        """Round, name and split of every training.

        All networks are compared in round 0; later rounds retrain the network that drives the
        annealing, the last of them once for each split.
        """
        driver = self.config.surrogates.driver
        yield from ((0, name, "random") for name in self.trainings())
        yield from ((round_, driver, "random") for round_ in self.rounds()[1:-1])
        if self.last_round:
            yield from ((self.last_round, driver, split) for split in SPLITS)
