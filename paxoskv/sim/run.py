"""Many universes, one after the other or on all cores; and the smallest one that still fails."""

import gc
import math
import multiprocessing
import signal
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from multiprocessing import resource_tracker
from typing import Any, Final

from paxoskv.sim import history
from paxoskv.sim.configuration import Configuration, Wire, draw
from paxoskv.sim.trace import Trace
from paxoskv.sim.universe import Failure, Universe

# A search for a smaller universe ends after so many attempts.
SHRINK_ATTEMPTS_MAX: Final = 400
_COLLECTED_OBJECTS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Report:
    """What a universe came to, without its history."""

    seed: int
    failure: Failure | None
    outcomes: Counter[str]
    """How many calls ended as ok, failed and unknown."""
    marks: Counter[str]
    """How often each branch that matters was reached: faults, what became of frames and disks, engines' counters."""
    seconds: float
    """Virtual ones."""
    steps: int
    frames: int
    crashes: int
    undecided: int
    """Keys on which the checker gave up."""


class Totals:
    """What many universes came to together, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self.universes = 0
        self.outcomes: Counter[str] = Counter()
        self.marks: Counter[str] = Counter()
        self.frames = 0
        self.crashes = 0
        self.undecided = 0
        self.steps = 0
        self._names: set[str] = set()

    def add(self, report: Report) -> None:
        """Count one more."""
        self.universes += 1
        self.outcomes.update(report.outcomes)
        self.marks.update(report.marks)
        self._names.update(report.marks)
        self.frames += report.frames
        self.crashes += report.crashes
        self.undecided += report.undecided
        self.steps += report.steps

    @property
    def unreached(self) -> list[str]:
        """The branches that no universe came to."""
        return sorted(name for name in self._names if not self.marks[name])


def simulate(configuration: Configuration, trace: Trace | None = None) -> Report:
    """Run one universe and judge it: its invariants, its end, and what its clients saw."""
    universe = Universe(configuration, trace)
    outcome = universe.run()
    failure, undecided = outcome.failure, 0
    proof: list[int] = []
    if failure is None:
        illegal, proof, undecided = history.judge(outcome.calls)
        if illegal:
            failure = Failure("illegal", illegal)
    if trace is not None and failure is not None:
        trace.failed(failure.kind, failure.message, proof)
    return Report(
        configuration.seed,
        failure,
        outcome.outcomes,
        outcome.marks,
        outcome.seconds,
        outcome.steps,
        outcome.frames,
        outcome.crashes,
        undecided,
    )


@dataclass(frozen=True, slots=True)
class Universes:
    """Which universe each seed is: what is drawn for it, with the same changes to all. `nodes` None: as drawn."""

    mode: str
    nodes: int | None
    operations: int
    changes: tuple[str, ...] = ()

    def configuration(self, seed: int) -> Configuration:
        """Raises ValueError, with a sentence, where the changes make no universe of that seed."""
        return change(draw(seed, self.mode, self.nodes, self.operations), self.changes)

    def simulate(self, seed: int) -> Report:
        """Run one, and judge it. Raises ValueError as `configuration` does."""
        return simulate(self.configuration(seed))


def simulate_all(universes: Universes, seeds: Iterable[int], jobs: int = 1) -> Iterator[Report]:
    """Run universes on so many cores; reports in the order of the seeds. Raises ValueError at a seed that is none."""
    if jobs == 1:
        _collect_seldom()
        yield from map(universes.simulate, seeds)
        return
    # Spawned rather than forked, so that every universe also proves that it depends on nothing but its configuration.
    # A Ctrl-C is for this process alone, which ends the others: they are born with the signal blocked. First comes the
    # helper of multiprocessing's own, since whoever starts it finds the signal unblocked afterwards.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        pool = multiprocessing.get_context("spawn").Pool(jobs, _collect_seldom)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with pool:
        yield from pool.imap(universes.simulate, seeds, chunksize=4)


def _collect_seldom() -> None:
    """A universe is garbage all at once, so looking for some after every 700 objects finds none, and takes time."""
    gc.freeze()
    gc.set_threshold(_COLLECTED_OBJECTS)


# Smaller relatives.


def change(configuration: Configuration, changes: Sequence[str]) -> Configuration:
    """Apply changes such as "operations=40", "loss=0" or "faults=3,7" (keep those two; "faults=" keeps none).

    Raises ValueError with a sentence.
    """
    for text in changes:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} changes nothing; write NAME=VALUE, such as operations=40")
        if name == "faults":
            drawn = range(len(configuration.faults))
            try:
                kept = [configuration.faults[drawn.index(int(index))] for index in value.split(",") if index]
            except ValueError:
                numbers = (
                    f"give numbers from 0 to {drawn[-1]}, separated by commas" if drawn else "only faults= fits it"
                )
                raise ValueError(
                    f"faults={value!r}: seed {configuration.seed} has {len(drawn)} of them; {numbers}"
                ) from None
            configuration = replace(configuration, faults=tuple(kept))
        elif name in _TYPES[Configuration] and name not in ("seed", "mode", "wire"):
            configuration = replace(configuration, **{name: _parse(_TYPES[Configuration][name], text, value)})
        elif name in _TYPES[Wire]:
            wire = replace(configuration.wire, **{name: _parse(_TYPES[Wire][name], text, value)})
            configuration = replace(configuration, wire=wire)
        else:
            known = sorted([*_TYPES[Configuration], *_TYPES[Wire]])
            raise ValueError(f"there is no {name!r} to change; there are {', '.join(known)}")
    if configuration.expiring and configuration.workload != "register":
        raise ValueError(
            f"workload={configuration.workload}: values of seed {configuration.seed} expire, which only the workload "
            "register takes into account; change expiring=0, too"
        )
    return configuration


_TYPES: Final[dict[type, dict[str, Any]]] = {
    kind: {field.name: typing.get_type_hints(kind)[field.name] for field in fields(kind)}
    for kind in (Configuration, Wire)
}


def _parse(kind: Any, text: str, value: str) -> Any:
    try:
        found = _TRUTHS[value.lower()] if kind is bool else kind(value)
    except KeyError:
        raise ValueError(f"{text!r}: {value!r} is neither true nor false") from None
    except ValueError:
        raise ValueError(f"{text!r}: {value!r} is no {kind.__name__}") from None
    name = text.partition("=")[0]
    least, most = (1 if name in _ONE_AT_LEAST else 0), (1 if name in _SHARES else math.inf)
    if kind in (int, float) and not (least <= found <= most and math.isfinite(found)):
        bounds = f"from {least} to {most}" if most == 1 else f"{least} or above"
        raise ValueError(f"{text!r} makes no universe: {name} is a number {bounds}")
    return found


_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
_ONE_AT_LEAST: Final = frozenset(("clients", "in_flight", "keys", "nodes", "operations"))
_SHARES: Final = frozenset(("duplicate", "expiring", "hot", "loss", "reads", "sticky", "straggle"))


def shrink(configuration: Configuration, kind: str, tried: Callable[[int], object] = lambda count: None) -> list[str]:
    """Changes that make a failing universe smaller and let it fail in the same way, most of them at least.

    Not its history: an operation left out of a history makes innocent ones look guilty. `tried` hears of progress.
    """
    attempts = 0
    kept = list(range(len(configuration.faults)))
    settled: dict[str, str] = {}

    def changes(faults: list[int], others: dict[str, str]) -> list[str]:
        found = [f"{name}={value}" for name, value in others.items()]
        if len(faults) < len(configuration.faults):
            found.append("faults=" + ",".join(map(str, faults)))
        return found

    def fails(faults: list[int], others: dict[str, str]) -> bool:
        nonlocal attempts
        if attempts >= SHRINK_ATTEMPTS_MAX:
            return False
        attempts += 1
        tried(attempts)
        failure = simulate(change(configuration, changes(faults, others))).failure
        return failure is not None and failure.kind == kind

    def attempt(name: str, value: object) -> bool:
        others = {**settled, name: str(value)}
        if fails(kept, others):
            settled[name] = str(value)
            return True
        return False

    progress = True
    while progress and attempts < SHRINK_ATTEMPTS_MAX:
        progress = False
        size = max(1, len(kept) // 2)
        while size:
            for start in range(0, len(kept), size):
                fewer = kept[:start] + kept[start + size :]
                if len(fewer) < len(kept) and fails(fewer, settled):
                    kept = fewer
                    progress = True
                    break
            else:
                size //= 2
        now = change(configuration, changes(kept, settled))
        operations = now.operations
        for count in (operations // 4, operations // 2, operations * 3 // 4, operations * 9 // 10, operations - 1):
            if 0 < count < operations and attempt("operations", count):
                progress = True
                break
        for name, smaller in (
            ("nodes", [3] if now.nodes > 3 else []),
            ("keys", [1] if now.keys > 1 else []),
            ("clients", [count for count in (1, 2, 3) if count < now.clients]),
            ("loss", [0.0] if now.wire.loss else []),
            ("duplicate", [0.0] if now.wire.duplicate else []),
            ("straggle", [0.0] if now.wire.straggle else []),
            ("turn_s", [0.0] if now.turn_s else []),
            ("drift", [0.0] if now.drift else []),
            ("cache_bytes", [1 << 28] if now.cache_bytes < 1 << 28 else []),
            ("journal_bytes", [1 << 25] if now.journal_bytes < 1 << 25 else []),
        ):
            progress = any(attempt(name, value) for value in smaller) or progress
    return changes(kept, settled)
