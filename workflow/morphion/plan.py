"""What a run will make: rounds, sets, shards and annealing jobs, from the configuration alone."""

import math
from collections.abc import Iterator

from morphion.config import Config
from morphion.config.anneal import OBJECTIVES
from morphion.paths import EVALUATION, loading_set, round_set

SPLITS = ("random", "by_run")


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
        if set_.startswith("loading-"):
            return round((base + self.config.rounds * annealed) * self.config.split[2])
        return annealed

    def shards(self, set_: str) -> range:
        """Shards of a set."""
        size = self.config.structures.shard_size
        return range(max(1, math.ceil(self.structures_in(set_) / size)))

    def sets(self) -> Iterator[str]:
        """Every set that is labelled."""
        yield from map(round_set, self.rounds())
        yield from self.evaluation_sets()

    def evaluation_sets(self) -> Iterator[str]:
        """Sets that are labelled and predicted, but never trained on."""
        yield EVALUATION
        yield from (loading_set(loading) for loading in self.config.loadings)

    def annealing_jobs(self) -> Iterator[tuple[str, int]]:
        """Objective and job number of every annealing job of a round."""
        for objective in OBJECTIVES:
            for job in range(self.config.anneal.jobs(objective)):
                yield objective, job

    def models(self) -> Iterator[tuple[int, str, str]]:
        """Round, network and split of every training.

        All networks are compared in round 0; later rounds retrain the network that drives the
        annealing, once for each split.
        """
        yield from ((0, network, "random") for network in self.config.surrogates.networks)
        for round_ in self.rounds()[1:]:
            yield from ((round_, self.config.surrogates.driver, split) for split in SPLITS)
