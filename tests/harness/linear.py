"""A small search for an order: whether a few operations on one key can have happened one after the other.

What an operation does is said here once more, so that an error in `core.operations` is not taken for the truth.
"""

import re
from dataclasses import dataclass
from typing import Final

from paxoskv.core import errors, operations
from paxoskv.core.operations import Argument, Operation, Result

BUDGET: Final = 20_000

Outcome = tuple[str, Argument]


@dataclass(eq=False)
class Event:
    """One operation, from when it was asked to when it was answered; `outcome` None: it may have happened, or not."""

    operation: Operation
    began: float
    ended: float | None = None
    outcome: Outcome | None = None
    version: int = 0
    """The key's version after the operation, as far as it was told."""
    failed: bool = False
    """It certainly did not happen."""

    @property
    def is_effect(self) -> bool:
        """It changed something, for all that is known."""
        return self.operation.kind != operations.GET and (self.outcome is None or self.outcome[0] == "ok")

    def answered(self, result: Result, now: float) -> None:
        """Take an answer down."""
        names = {operations.OK: "ok", operations.ABSENT: "absent"}
        self.ended = now
        if result.status < operations.ERROR_STATUS_MIN:
            self.outcome = (names.get(result.status, "failed"), result.value)
            self.version = result.version
        elif errors.BY_STATUS[result.status].definite:
            self.failed = True
        else:
            self.ended = float("inf")


def apply(value: bytes | None, operation: Operation) -> tuple[Outcome, bytes | None]:
    """What the operation answers, and what stands there after it."""
    kind, argument, condition = operation.kind, operation.argument, operation.condition
    if kind == operations.GET:
        return ("ok", value), value
    if kind == operations.CAS:
        assert isinstance(argument, bytes)
        return (("ok", None), argument) if value == condition else (("failed", value), value)
    if kind == operations.DELETE:
        return (("ok", None), None) if value is not None else (("absent", None), None)
    if kind == operations.INCR:
        if value is not None and not re.fullmatch(rb"0|-?[1-9][0-9]*", value):
            return ("failed", value), value
        assert isinstance(argument, int)
        number = int(value or 0) + argument
        return ("ok", number), b"%d" % number
    assert isinstance(argument, bytes)
    if kind == operations.APPEND:
        longer = (value or b"") + argument
        return ("ok", len(longer)), longer
    return ("ok", value if kind == operations.SWAP else None), argument


def is_linearizable(events: list[Event]) -> bool | None:
    """Whether there is an order, in which versions grow. None when that took too long to find out."""
    events = sorted([event for event in events if not event.failed], key=lambda event: event.began)
    required = sum(1 << i for i, event in enumerate(events) if event.outcome is not None)
    versioned = sorted((event.version, i) for i, event in enumerate(events) if event.is_effect and event.version)
    seen: set[tuple[int, bytes | None, int]] = set()
    stack: list[tuple[int, bytes | None, int]] = [(0, None, 0)]
    while stack:
        # A version of -1: that of something whose answer nobody saw.
        done, value, version = stack.pop()
        soonest = min(
            (event.ended or 0.0 for i, event in enumerate(events) if not done >> i & 1 and required >> i & 1),
            default=float("inf"),
        )
        able = [(i, event) for i, event in enumerate(events) if not done >> i & 1 and event.began <= soonest]
        # What changes nothing and fits now can as well come now.
        fitting = 0
        for i, event in able:
            if (
                required >> i & 1
                and not event.is_effect
                and apply(value, event.operation)[0] == event.outcome
                and version in (event.version, -1)
            ):
                fitting |= 1 << i
        if fitting:
            stack.append((done | fitting, value, version))
            continue
        if done & required == required:
            return True
        if (done, value, version) in seen:
            continue
        seen.add((done, value, version))
        if len(seen) > BUDGET:
            return None
        following = next((i for _, i in versioned if not done >> i & 1), None)
        known, unknown = [], []
        tried = set()
        for i, event in able:
            if not event.is_effect or (event.version and i != following):
                continue
            outcome, after = apply(value, event.operation)
            if event.outcome is None:
                operation = event.operation
                alike = (operation.kind, operation.argument, operation.condition)
                if alike not in tried and outcome[0] == "ok":
                    tried.add(alike)
                    unknown.append((done | 1 << i, after, 0 if after is None else -1))
            elif outcome == event.outcome:
                known.append((done | 1 << i, after, event.version))
        # Tried last to first: what nobody was told of only where nothing else goes on.
        stack += unknown + known
    return False
