"""Seconds that one core needs for the data set's 8192 structures, by family and in all.

Run: python benchmarks/structures.py [--structures N]
"""

import argparse
import time

from morphion.config.geometry import Geometry, Structures
from morphion.structures.families import FAMILIES, enumerate_structures, generate


def seconds_for(entries: list[tuple[str, int]], seed: int) -> float:
    """Wall time of generating the given (family, index) in this thread."""
    geometry, structures = Geometry(), Structures()
    start = time.perf_counter()
    for family, index in entries:
        generate(geometry, structures, seed, family, index)
    return time.perf_counter() - start


def main() -> None:
    """Print a table: family, structures, seconds, milliseconds a structure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=8192, help="first N of the data set")
    parser.add_argument("--seed", type=int, default=2021)
    arguments = parser.parse_args()
    entries = enumerate_structures(Structures())[: arguments.structures]
    seconds_for([(family, 0) for family in FAMILIES], arguments.seed)  # compiles
    print(f"{'family':8} {'structures':>10} {'seconds':>8} {'ms each':>8}")
    total = 0.0
    for family in FAMILIES:
        chosen = [entry for entry in entries if entry[0] == family]
        seconds = seconds_for(chosen, arguments.seed)
        total += seconds
        each = 1e3 * seconds / max(1, len(chosen))
        print(f"{family:8} {len(chosen):10d} {seconds:8.2f} {each:8.3f}")
    print(f"{'all':8} {len(entries):10d} {total:8.2f} {1e3 * total / max(1, len(entries)):8.3f}")


if __name__ == "__main__":
    main()
