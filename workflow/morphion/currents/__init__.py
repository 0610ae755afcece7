"""Currents between particles: how each structure conducts, beside how much."""

from morphion.currents.between import occupancy, pair_currents, pairs_of
from morphion.currents.cells import nearest_particle
from morphion.currents.files import PairCurrents, read_currents
from morphion.currents.shard import solve_shard

__all__ = [
    "PairCurrents",
    "nearest_particle",
    "occupancy",
    "pair_currents",
    "pairs_of",
    "read_currents",
    "solve_shard",
]
