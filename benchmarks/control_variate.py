"""What a corrector from a coarse lattice saves a walk on a fine one, at equal error.

    python benchmarks/control_variate.py [--lattice 150] [--coarse 75] [--target 0.01]

psi is the corrector of the cell problem on the coarse lattice, interpolated to the fine one and
smoothed there by ``--sweeps`` Chebyshev steps. Three estimates of D come from the same walkers:

* r: the slope of the mean squared displacement, as the labels do;
* y: that of r + psi(r), whose transient is smaller, so that shorter lags are enough;
* drift: D_psi - delta. D_psi, the energy of psi as a trial corrector, is a sum over the lattice and
  has no noise. y(t) - y(0) is a martingale of just this diffusivity plus A(t), the integral over
  the residence times of v = the mean velocity of y at a site. Reversed in time, y(t) - y(0)
  changes its sign and A(t) keeps it, so that the two are uncorrelated and
  <|A(t)|^2> + <|y(t) - y(0)|^2> = 6 D_psi t exactly. The slope of <|A|^2> / 6 is then
  delta = D_psi - D, and noise in proportion to delta is all there is.

For each, tau is the shortest lag at which the noise-free transient (``morphion.kmc.transient``) is
below a fifth of the error asked for, and the cost is relative variance x hops of the fit from tau
on. z is the deviation from the exact D plus the bias that these lags leave. Lines are kept in
``--csv``; a later call continues there.
"""

import argparse
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit, uint32, uint64
from scipy.ndimage import map_coordinates

from morphion.config.geometry import Geometry, Structures
from morphion.config.transport import CoverageShell
from morphion.exact import finest, solve
from morphion.exact.bonds import Bonds
from morphion.exact.multigrid import CHEBYSHEV
from morphion.kmc.estimator import mean_and_stderr
from morphion.kmc.exponential import exponential
from morphion.kmc.palette import quantised
from morphion.kmc.tables import DIRECTION_BITS, WalkTables, start_sites, walk_tables
from morphion.kmc.threads import in_parts
from morphion.kmc.transient import Transient, joined, relaxation
from morphion.kmc.weights import LAGS, LAGS_PER_WINDOW_START, slope_weights
from morphion.philox import philox4x32, stream_key
from morphion.structures.families import generate
from morphion.transport import Lattice, rasterise

GEOMETRY = Geometry()
SEED = 41
STRUCTURES = (("rsa", 0), ("chain", 0), ("chain", 4), ("chain", 7), ("gapped", 0), ("gapped", 2))
BIAS_SHARE = 0.2
WINDOWS = 24  # duration over tau of r
MOST_LAGS = 50.0  # tau of r over that of y
THREADS = 2
_TO_DIRECTION = np.uint32(32 - DIRECTION_BITS)


def lattice_of(family: str, index: int, n: int) -> Lattice:
    positions = generate(GEOMETRY, Structures(), SEED, family, index)
    return rasterise(positions, GEOMETRY.box_length, GEOMETRY.diameter, CoverageShell(), n)


def interpolated(chi: np.ndarray, open_site: np.ndarray, n: int) -> np.ndarray:
    """chi (voxels) of a coarse lattice, trilinear on n^3 sites.

    Blocked sites first take the mean of what their neighbours hold, layer by layer inwards.
    """
    value, known = np.where(open_site, chi, 0.0), open_site.copy()
    for _ in range(3):
        around = [(shift, axis) for axis in range(3) for shift in (1, -1)]
        count = sum(np.roll(known, *move).astype(int) for move in around)
        total = sum(np.roll(np.where(known, value, 0.0), *move) for move in around)
        new = ~known & (count > 0)
        value[new] = total[new] / count[new]
        known |= new
    place = (np.arange(n) + 0.5) * chi.shape[0] / n - 0.5
    coordinates = np.meshgrid(place, place, place, indexing="ij")
    return map_coordinates(value, coordinates, order=1, mode="grid-wrap")


def smoothed(bonds: Bonds, psi: np.ndarray, axis: int, sweeps: int) -> np.ndarray:
    """psi (units of h) after pairs of Chebyshev steps towards A psi = drift."""
    f = finest.padded(bonds.drift(axis))
    x = finest.padded(psi.astype(np.float32))
    y = x.copy()
    for _ in range(sweeps // len(CHEBYSHEV)):
        for weight, momentum in CHEBYSHEV:
            finest.sweep(bonds.padded, f, x, y, weight, momentum, 1.0)
            x, y = y, x
    return x[:, :, 1:-1].astype(np.float64)


@dataclass(frozen=True)
class Followed:
    """psi on the fine lattice, what is known without a walk, and the transients of r and of y.

    ``psi`` and ``velocity`` are [n^3, 3], in units of h and in h per unit of time.
    """

    psi: np.ndarray
    velocity: np.ndarray
    trial: float
    exact: float
    of_r: Transient
    of_y: Transient


def approximate(bonds: Bonds, coarse: Bonds, axis: int) -> np.ndarray:
    """The coarse lattice's corrector on the fine one, not yet smoothed; units of the fine h."""
    chi = coarse.solve(coarse.drift(axis)) * coarse.lattice.spacing
    return interpolated(chi, coarse.lattice.b > 0, bonds.lattice.n) / bonds.lattice.spacing


def prepare(lattice: Lattice, coarse: Lattice, sweeps: int, steps: int) -> Followed:
    bonds, coarse_bonds = Bonds(lattice), Bonds(coarse)
    psi, velocity, of_r, of_y = [], [], [], []
    trial, exact = np.empty(3), np.empty(3)
    for axis in range(3):
        own = approximate(bonds, coarse_bonds, axis)
        own = bonds.centred(smoothed(bonds, own, axis, sweeps))
        chi = bonds.solve(bonds.drift(axis))
        of_r.append(relaxation(bonds, chi, steps, 1e-5))
        of_y.append(relaxation(bonds, chi - own, steps, 1e-5))
        residual = bonds.drift(axis) - bonds.times(own)
        rate = np.divide(residual, bonds.weight, out=np.zeros_like(own), where=bonds.weight > 0)
        psi.append(own.ravel())
        velocity.append(rate.ravel() / lattice.spacing**2)
        trial[axis], exact[axis] = bonds.energy(own, axis), bonds.energy(chi, axis)
    return Followed(
        psi=np.stack(psi, axis=1).astype(np.float32),
        velocity=np.stack(velocity, axis=1).astype(np.float32),
        trial=trial.mean(),
        exact=exact.mean(),
        of_r=joined(exact, of_r),
        of_y=joined(exact, of_y),
    )


def shortest_lag(rest: Transient, allowed: float) -> float:
    """First lag at which the transient is below ``allowed`` (diffusivity)."""
    lags = np.geomspace(1e-2, 1e6, 4000)
    return float(lags[np.argmax(rest.rate(lags).mean(axis=1) < allowed)])


def walk(
    tables: WalkTables,
    velocity: np.ndarray | None,
    key,
    walkers: int,
    interval: float,
    samples: int,
):
    """Displacements (int32, sites), integrated velocity (float32, h) [walkers, samples, 3], hops.

    Without ``velocity`` nothing is integrated.
    """
    start = start_sites(tables, key, 0, walkers)
    moved = np.empty((walkers, samples, 3), np.int32)
    drift = np.zeros((walkers, samples if velocity is not None else 0, 3), np.float32)
    hops = np.zeros(walkers, np.int64)
    n = tables.summary.n
    step = np.array([n**2, -(n**2), n, -n, 1, -1])
    table = np.zeros((1, 3), np.float32) if velocity is None else velocity

    def part(low: int, high: int) -> None:
        _walk(
            *(tables.records, tables.records.view(np.float32), table, step, n),
            *(start[low:high], *key, low, interval, moved[low:high], drift[low:high]),
            hops[low:high],
        )

    in_parts(part, walkers, THREADS)
    return moved, drift, hops, start


@njit(cache=True, nogil=True)
def _walk(
    records, residence, velocity, step, n, start, key_0, key_1, first, interval, moved, drift, hops
):
    samples = moved.shape[1]
    wrap = step * (1 - n)
    integrates = drift.shape[1] > 0
    for w in range(start.size):
        site = start[w]
        place = np.zeros(3, np.int32)
        total = np.zeros(3)
        sample = 0
        left = interval
        block = uint64(0)
        direction_word, time_word = uint32(0), uint32(0)
        while sample < samples:
            if hops[w] % 2 == 0:
                w0, w1, w2, w3 = philox4x32(
                    uint32(block), uint32(first + w), uint32(0), uint32(0), key_0, key_1
                )
                block += uint64(1)
            else:
                w0, w1 = w2, w3
            direction_word, time_word = uint32(w0) >> _TO_DIRECTION, uint32(w1)
            record = records[site]
            stay = exponential(time_word) * residence[site, 5]
            if stay == 0:
                stay = np.inf
            while stay >= left and sample < samples:
                for axis in range(3):
                    moved[w, sample, axis] = place[axis]
                if integrates:
                    for axis in range(3):
                        total[axis] += velocity[site, axis] * left
                        drift[w, sample, axis] = total[axis]
                stay -= left
                left = interval
                sample += 1
            if sample == samples:
                break
            left -= stay
            if integrates:
                for axis in range(3):
                    total[axis] += velocity[site, axis] * stay
            direction = 0
            for d in range(5):
                direction += direction_word >= record[d]
            crosses = (record[6] >> uint32(direction)) & uint32(1)
            site += wrap[direction] if crosses else step[direction]
            place[direction // 2] += 1 - 2 * (direction % 2)
            hops[w] += 1


def slopes(path: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """Each walker's diffusivity from a path [walkers, samples, 3] by weights on its lags."""
    path = np.concatenate([np.zeros_like(path[:, :1]), path], axis=1)
    found = np.zeros(path.shape[0])
    for lag in np.flatnonzero(weights) + 1:
        step = path[:, lag:] - path[:, :-lag]
        found += weights[lag - 1] * (step**2).sum(axis=2).mean(axis=1)
    return found * scale / 6


def followed(tables: WalkTables, psi: np.ndarray, start: np.ndarray, moved: np.ndarray):
    """y(t) - y(0) in units of h from the start sites and the displacements."""
    n = tables.summary.n
    origin = np.stack(np.unravel_index(start, (n, n, n)), axis=1)
    place = (origin[:, None] + moved) % n
    site = (place[..., 0] * n + place[..., 1]) * n + place[..., 2]
    return moved + (psi[site] - psi[start][:, None])


def estimate_all(tables: WalkTables, known: Followed, walkers: int, target: float, key) -> dict:
    """Relative variance x hops of the three estimates, each at its own shortest lag."""
    allowed = BIAS_SHARE * target * known.exact
    tau_r = shortest_lag(known.of_r, allowed)
    # A shorter one saves no more: the fit's lags would end within a few hops.
    tau_y = np.clip(shortest_lag(known.of_y, allowed), tau_r / MOST_LAGS, tau_r)
    duration = WINDOWS * tau_r
    row = {"tau_r": tau_r, "tau_y": tau_y}
    for name, tau, rest in (("r", tau_r, known.of_r), ("y", tau_y, known.of_y)):
        interval = tau / LAGS_PER_WINDOW_START
        samples = math.ceil(duration / interval)
        velocity = known.velocity if name == "y" else None
        begin = time.perf_counter()
        moved, drift, hops, start = walk(tables, velocity, key, walkers, interval, samples)
        row[f"hops_per_second_{name}"] = hops.sum() / (time.perf_counter() - begin)
        scale = tables.summary.spacing**2 / interval
        total = float((rest.weights * rest.times).sum()) / 3
        model = slope_weights(samples, total / (known.exact * interval), LAGS_PER_WINDOW_START)
        path = moved.astype(np.float32)
        if name == "y":
            path = followed(tables, known.psi, start, moved).astype(np.float32)
            flat = slope_weights(samples, 0.0, LAGS_PER_WINDOW_START)
            by_drift = known.trial - slopes(drift, flat.weights, scale)
            expected = known.exact + rest.bias(flat.weights, interval).mean()
            put(row, "drift", by_drift, expected, hops.sum())
        expected = known.exact + rest.bias(model.weights, interval).mean()
        put(row, name, slopes(path, model.weights, scale), expected, hops.sum())
    return row


def put(row: dict, name: str, values: np.ndarray, expected: float, hops: int) -> None:
    """Deviation from the exact D plus the bias of the lags in standard errors, and the cost."""
    mean, stderr = mean_and_stderr(values)
    row[f"z_{name}"] = (mean - expected) / stderr
    row[f"cost_{name}"] = (stderr / expected) ** 2 * hops


def measure(family: str, index: int, options) -> dict:
    lattice = lattice_of(family, index, options.lattice)
    coarse = lattice_of(family, index, options.coarse)
    known = prepare(quantised(lattice), coarse, options.sweeps, options.steps)
    tables = walk_tables(lattice)
    row = {
        "lattice": options.lattice,
        "coarse": options.coarse,
        "sweeps": options.sweeps,
        "target": options.target,
        "family": family,
        "index": index,
        "exact": known.exact,
        "trial": known.trial,
    }
    key = stream_key(SEED, "control variate", family, index)
    walk(tables, known.velocity, key, 1, 1e-3, LAGS)
    return row | estimate_all(tables, known, options.walkers, options.target, key)


def trial_only(family: str, index: int, options) -> None:
    """Print how far D_psi lies above D after 0, 2, 4, 8 and 16 steps on the fine lattice."""
    lattice = lattice_of(family, index, options.lattice)
    bonds = Bonds(lattice)
    coarse = Bonds(lattice_of(family, index, options.coarse))
    exact = solve(lattice, relative_residual=1e-5).diffusivity
    above = dict.fromkeys((0, 2, 4, 8, 16), -1.0)
    for axis in range(3):
        psi = approximate(bonds, coarse, axis)
        for sweeps in above:
            above[sweeps] += bonds.energy(smoothed(bonds, psi, axis, sweeps), axis) / (3 * exact)
    print(
        f"{family:>6} {index:>3} {exact:>11.5f}",
        *(f"{v:>9.4f}" for v in above.values()),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattice", type=int, default=150)
    parser.add_argument("--coarse", type=int, default=75)
    parser.add_argument("--sweeps", type=int, default=0, help="even; on the fine lattice")
    parser.add_argument("--steps", type=int, default=12, help="of the Lanczos recursion")
    parser.add_argument("--target", type=float, default=0.01, help="relative error of tau")
    parser.add_argument("--walkers", type=int, default=256)
    parser.add_argument("--csv", type=Path, default=Path("control_variate.csv"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="start none beyond")
    parser.add_argument(
        "--trial-only", type=int, metavar="N", help="D_psi of N structures, no walk"
    )
    options = parser.parse_args()
    if options.trial_only:
        print("structure     D exact   delta/D after 0, 2, 4, 8, 16 sweeps")
        for family, index in STRUCTURES[: options.trial_only]:
            trial_only(family, index, options)
        return
    end = time.monotonic() + 60 * options.minutes
    case = {k: str(getattr(options, k)) for k in ("lattice", "coarse", "sweeps", "target")}
    rows = []
    if options.csv.exists():
        with open(options.csv, newline="", encoding="utf-8") as file:
            rows = [r for r in csv.DictReader(file) if all(r[k] == v for k, v in case.items())]
    print(
        "structure     D exact  delta/D  tau_r    tau_y   z r, y, drift        "
        "cost r     r/y   r/drift   million hops/s r, drift"
    )
    for family, index in STRUCTURES:
        row = next((r for r in rows if (r["family"], r["index"]) == (family, str(index))), None)
        if row is None:
            if time.monotonic() > end:
                break
            row = measure(family, index, options)
            with open(options.csv, "a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row))
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
        show({k: float(v) if k != "family" else v for k, v in row.items()})


def show(row: dict) -> None:
    print(
        f"{row['family']:>6} {row['index']:>3.0f} {row['exact']:>11.5f} "
        f"{row['trial'] / row['exact'] - 1:>8.4f} {row['tau_r']:>8.3g} {row['tau_y']:>8.3g} "
        f"{row['z_r']:>6.2f} {row['z_y']:>6.2f} {row['z_drift']:>6.2f} {row['cost_r']:>10.3g} "
        f"{row['cost_r'] / row['cost_y']:>7.1f} {row['cost_r'] / row['cost_drift']:>9.1f} "
        f"{row['hops_per_second_r'] / 1e6:>8.1f} {row['hops_per_second_y'] / 1e6:>6.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
