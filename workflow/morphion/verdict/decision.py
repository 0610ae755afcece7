"""The verdict on all labels of a set, and the stop after a failed one."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from morphion.config import Config
from morphion.errors import StoreError, VerdictError
from morphion.files import atomic_file
from morphion.progress import log
from morphion.verdict.measure import read_measured
from morphion.verdict.scores import Check, score_checks

PASS, FAIL, UNTESTED = "pass", "fail", "untested"

# Exact labels have no statistical error. One that is off by more would be seen beside kMC labels
# of 1 %; the solver itself leaves 1e-6 at a residual of 1e-4.
LARGEST_DEVIATION = 1e-3
_NAMED = 3  # worst structures that a message names


@dataclass(frozen=True)
class Decision:
    """What is said of the labels of a set.

    ``verdict`` is ``pass``, ``fail`` or ``untested`` (no converged label was there to draw);
    ``tested``, ``flagged`` and ``unsolved`` count the drawn structures that were compared, whose
    label had not converged, and whose exact solution did not reach its residual. ``worst`` names
    the structures farthest from their exact solution, each with its z, as a normal variate, or
    deviation.
    """

    set: str
    method: str
    verdict: str
    tested: int
    flagged: int
    unsolved: int
    checks: tuple[Check, ...]
    worst: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Decision":
        """Decision written by ``judge_set``; raises StoreError if it cannot be read."""
        try:
            content = json.loads(Path(path).read_text())
            checks = tuple(Check(**check) for check in content.pop("checks"))
            return cls(checks=checks, **content)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{path}: cannot be read as a verdict ({error})") from error

    def write(self, path: Path) -> None:
        """Write as JSON."""
        with atomic_file(path) as scratch:
            scratch.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def reasons(self) -> list[str]:
        """What failed, in words; empty if nothing did."""
        found = [str(check) for check in self.checks if not check.passed]
        if self.unsolved:
            found.append(f"exact solutions short of verdict.relative_residual: {self.unsolved}")
        return found


def judge_set(config: Config, set_: str, measured: Sequence[Path], output: Path) -> None:
    """Judge the labels of a set by the tables of ``measure_shard`` for all its shards.

    Writes the decision (JSON). Raises VerdictError, and writes nothing, if it is a failure and
    ``verdict.stop`` is set; otherwise a failure is only said in the log.
    """
    decision = decide(set_, read_measured(measured), config.verdict.sigma)
    log(f"{set_}: {decision.tested} labels tested, {decision.flagged} flagged ones passed over")
    for check in decision.checks:
        log(f"{set_}: {'passed' if check.passed else 'FAILED'}: {check}")
    if decision.verdict == UNTESTED:
        log(f"warning: {set_}: no converged label was there to draw; the set has no verdict")
    if decision.verdict == FAIL:
        message = (
            f"{set_}: labels failed their verdict: {', '.join(decision.reasons())}; farthest of "
            f"{decision.tested}: {', '.join(decision.worst)}; each is in {measured[0].parent}"
        )
        if config.verdict.stop:
            raise VerdictError(
                f"{message}; docs/guide.md says what to do, verdict.stop: false goes on regardless"
            )
        log(f"warning: {message}; going on, as verdict.stop is false")
    decision.write(output)


def decide(set_: str, table: pd.DataFrame, sigma: float) -> Decision:
    """Decision on the rows of a set, as ``read_measured`` gives them."""
    converged = table.converged.astype(bool)
    solved = table.solved.eq(True)
    tested = table[converged & solved]
    unsolved = int((converged & ~solved).sum())
    exact = (tested.method == "exact").any()
    measure = tested["deviation" if exact else "score"].to_numpy(float)
    if len(tested) == 0:
        checks = ()
    elif exact:
        checks = (Check("largest_deviation", float(abs(measure).max()), 0.0, LARGEST_DEVIATION),)
    else:
        checks = score_checks(measure, sigma)
    farthest = tested.iloc[np.argsort(-np.abs(measure), kind="stable")[:_NAMED]]
    if unsolved or not all(check.passed for check in checks):
        verdict = FAIL
    else:
        verdict = PASS if len(tested) else UNTESTED
    return Decision(
        set=set_,
        method=str(table.method.iloc[0]) if len(table) else "",
        verdict=verdict,
        tested=len(tested),
        flagged=int((~converged).sum()),
        unsolved=unsolved,
        checks=checks,
        worst=tuple(map(_named, farthest.to_dict("records"))),
    )


def _named(row: dict) -> str:
    name = f"{row['family']}-{row['index']}"
    if row["method"] == "exact":
        return f"{name} (deviation {row['deviation']:.2g})"
    return f"{name} (z = {row['score']:.3g})"  # as in the checks
