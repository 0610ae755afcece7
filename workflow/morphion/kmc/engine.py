"""What an engine is asked for and what it gives back.

An engine has ``prepare(lattice, control)``, which returns an object with the lattice's ``summary``
and the ``control`` (None without one), and ``walk(jobs, report)`` for a sequence of (prepared
lattice, request), all with a control or all without. Engines differ in speed only: positions, hop
counts, times and integrals of every walker are the same bit for bit.
"""

from dataclasses import dataclass, replace

import numpy as np

from morphion.kmc.curves import Curves

# A control's integrals are kept in units of h / 2^12: what rounding adds to a squared displacement
# does not grow with time, so that no slope notices it.
INTEGRAL_UNITS = 4096


@dataclass(frozen=True)
class WalkRequest:
    """Walkers first_walker, ... of a stream, observed every ``sample_interval``.

    Times in voxel^2 over the solvent's diffusivity.
    """

    key: tuple[np.uint32, np.uint32]
    first_walker: int
    walkers: int
    sample_interval: float
    samples: int

    def part(self, first: int, count: int) -> "WalkRequest":
        """At most ``count`` walkers from the one at position ``first`` on."""
        return replace(
            self,
            first_walker=self.first_walker + first,
            walkers=min(count, self.walkers - first),
        )


@dataclass(frozen=True)
class Walk:
    """What the walkers of a request did.

    Parameters
    ----------
    displacements : int32 array of shape [walkers, samples, 3]
        Unwrapped displacement from the start, in lattice spacings, at times
        (1, ..., samples) * sample_interval.
    hops : int64 array of shape [walkers]
        Hops of each walker until the last sample.
    next_sample : float64 array of shape [walkers]
        Time from the end of the last residence to the sample after the last one: negative if the
        walker would not hop before it.
    integrals : int32 array of shape [walkers, samples, 3] or None
        With a control: the integral A of its velocity from the start on, in units of h / 4096.
    """

    displacements: np.ndarray
    hops: np.ndarray
    next_sample: np.ndarray
    integrals: np.ndarray | None = None


@dataclass(frozen=True)
class Walked:
    """What an estimate keeps of a request: the walkers' curves and the sum of their hops.

    ``integral_curves`` are those of a control's integrals, None without one.
    """

    curves: Curves
    hops: int
    integral_curves: Curves | None = None
