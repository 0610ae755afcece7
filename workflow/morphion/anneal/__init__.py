"""Simulated annealing with a network as the energy, and what is taken from it."""

from morphion.anneal.annealer import Annealed, cooling_schedule, run_annealing
from morphion.anneal.relax import relax_to_voxels
from morphion.anneal.selection import evaluation_sample, select
from morphion.anneal.stage import anneal, runs_of_job

__all__ = [
    "Annealed",
    "anneal",
    "cooling_schedule",
    "evaluation_sample",
    "relax_to_voxels",
    "run_annealing",
    "runs_of_job",
    "select",
]
