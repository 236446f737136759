"""What a verdict costs: histories of many clients on one key, as bad as it gets for a checker.

Half of the operations are reads, a quarter writes, a quarter read-modify-writes; about half of the clients are busy at
any time. With versions (every answer tells the key's version), with values alone, and with one answer in a hundred
missing.
Making the history is not measured, nor reading it from a file.
"""

import random
import statistics
from typing import Final

from bench import measuring
from bench.measuring import Figures
from paxoskv import check
from paxoskv.check.history import GET, OK, PUT, SWAP, UNKNOWN, History, Row

OPERATIONS: Final = (10_000, 100_000, 1_000_000)
OPERATIONS_QUICK: Final = (1_000,)
CLIENTS: Final = 4096
ROUNDS: Final = 3
INF: Final = float("inf")
STEP_S: Final = 1e-5
VARIANTS: Final[dict[str, tuple[bool, float]]] = {
    "with versions": (True, 0.0),
    "values alone": (False, 0.0),
    "values alone, 1 % without an answer": (False, 0.01),
}


def history(operations: int, versions: bool, unknown: float) -> History:
    """Linearizable: each operation takes effect at a moment of its own, some time between its call and its answer."""
    rng = random.Random(operations)
    width = CLIENTS * STEP_S / 2
    value: bytes | None = None
    version = 0
    rows: list[Row] = []
    for index in range(operations):
        moment = index * STEP_S
        draw, lost = rng.random(), rng.random() < unknown
        kind, argument, seen = GET, None, value
        if draw >= 0.5:
            kind, argument = (PUT, b"value-%d" % index) if draw < 0.75 else (SWAP, b"value-%d" % index)
            if not lost or rng.random() < 0.5:
                value, version = argument, version + 1
        start, finish = moment - rng.random() * width, INF if lost else moment + rng.random() * width
        result = None if lost or kind == PUT else seen
        told = version if versions and not lost else None
        outcome = UNKNOWN if lost else OK
        rows.append((index + 1, index % CLIENTS, kind, start, finish, outcome, argument, None, result, told))
    rows.sort(key=lambda row: min(row[4], row[3] + width))
    found = History()
    found.extend(b"k", rows)
    return found


def measure(made: History, rounds: int) -> float:
    """Microseconds of CPU for each operation, the median."""
    verdicts = []

    def judge() -> None:
        verdicts.append(check.check(made).verdict)

    times = [measuring.cpu_us(judge, 1) / len(made) for _ in range(rounds)]
    if set(verdicts) != {check.Verdict.OK}:
        raise RuntimeError(f"the checker says {verdicts} of a history that is linearizable")
    return statistics.median(times)


def run(quick: bool) -> Figures:
    """By what answers tell, and the number of operations."""
    figures: Figures = {}
    for operations in OPERATIONS_QUICK if quick else OPERATIONS:
        for name, (versions, unknown) in VARIANTS.items():
            made = history(operations, versions, unknown)
            rounds = 1 if quick or operations == max(OPERATIONS) else ROUNDS
            cost = measure(made, rounds)
            figures.setdefault(f"check, {name}", {})[f"{operations:,}"] = {
                "check_us": cost,
                "verdict_s": cost * operations / 1e6,
            }
    return figures


def show(figures: Figures) -> None:
    """Print the tables."""
    measuring.show(figures, "Checker: us of CPU for an operation, by operations on one key", "check_us", 2)
    measuring.show(figures, "Seconds to the verdict", "verdict_s", 2)


main = measuring.command(__doc__, run, show)

if __name__ == "__main__":
    main()
