"""How often verdicts fail true labels, and how often they find false ones, on synthetic z.

    python benchmarks/verdict.py [--sets 200000]

z of true labels are standard normal variates; false ones have a common bias, errors of half or
twice the true size, or one structure far off.
"""

import argparse

import numpy as np

from morphion.philox import generator
from morphion.verdict.scores import false_alarm, score_checks

FALSE = {
    "bias of 0.5": lambda z: z + 0.5,
    "bias of 1": lambda z: z + 1,
    "errors half as large": lambda z: 2 * z,
    "errors twice as large": lambda z: z / 2,
    "one z shifted by 6": lambda z: z + 6 * (np.arange(z.shape[1]) == 0),
}


def failing(z: np.ndarray, sigma: float) -> float:
    """Share of the sets, rows of ``z``, that fail."""
    failed = [not all(check.passed for check in score_checks(row, sigma)) for row in z]
    return float(np.mean(failed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=200_000, help="of true labels, for each number")
    parser.add_argument("--sigma", type=float, default=3.0)
    options = parser.parse_args()
    print(f"promised: at most {100 * false_alarm(options.sigma):.3f} % of true sets fail")
    for m in (1, 4, 8, 16, 32, 128):
        z = generator(1, "verdict-benchmark", m).standard_normal((options.sets, m))
        share = failing(z, options.sigma)
        error = np.sqrt(share * (1 - share) / options.sets)
        found = {name: failing(change(z[:5000]), options.sigma) for name, change in FALSE.items()}
        print(f"{m:4d} tested: {100 * share:.3f} +- {100 * error:.3f} % of true sets fail; found:")
        print("             " + ", ".join(f"{n} {100 * f:.0f} %" for n, f in found.items()))


if __name__ == "__main__":
    main()
