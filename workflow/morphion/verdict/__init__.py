"""Verdicts on labels: some of each shard are solved exactly, then the whole set is judged."""

from morphion.verdict.decision import Decision, judge_set
from morphion.verdict.measure import measure_shard, read_measured

__all__ = ["Decision", "judge_set", "measure_shard", "read_measured"]
