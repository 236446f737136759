"""What the checker says."""

import enum
from dataclasses import dataclass, field

from paxoskv.check.history import Operation


class Verdict(enum.Enum):
    """Of a key or a whole history."""

    OK = "ok"
    """Linearizable: there is an order that explains every answer."""
    ILLEGAL = "illegal"
    """Not linearizable: there is no such order."""
    UNKNOWN = "unknown"
    """The search ran out of its budget. Never a pass."""


class Way(enum.Enum):
    """How a key was decided."""

    ANSWER = "answer"
    """One answer contradicts itself, and no other needs to be looked at."""
    CHAIN = "chain"
    """Versions put the writes in order; checked in one pass."""
    ZONES = "zones"
    """Every write is recognisable by its value; near-linear, after Gibbons and Korach."""
    COUNTER = "counter"
    """Increments by one; near-linear."""
    LIST = "list"
    """Appends of recognisable elements; near-linear."""
    SEARCH = "search"
    """Wing, Gong and Lowe's search."""


WITNESS_OPERATIONS_MAX = 6


@dataclass(slots=True)
class KeyVerdict:
    """The verdict on one key."""

    key: bytes
    verdict: Verdict
    way: Way
    why: str
    """Why the key was decided in that way, as half a sentence."""
    operations: int
    """How many operations the key had."""
    sentence: str = ""
    """If illegal: what is impossible, for people. If unknown: how far the search got."""
    witness: tuple[Operation, ...] = ()
    """If illegal: the operations, six at most, that prove it; the first is the one that the sentence is about."""
    order: list[int] | None = None
    """If ok and orders were asked for: numbers of the operations that took effect or were answered, in an order that
    explains every answer. Operations that failed, or are best explained as never having happened, are missing."""
    states: int = 0
    """States that the search visited; 0 when there was none."""
    seconds: float = 0.0
    """Time it took to decide."""


@dataclass(slots=True)
class Result:
    """The verdict on a history, with its statistics."""

    verdict: Verdict
    """Illegal if any key is, else unknown if any key is, or no call was answered, else ok."""
    keys: list[KeyVerdict]
    """One for each key, in the history's order."""
    operations: int
    clients: int
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    """How many operations by kind, then by outcome."""
    ways: dict[str, int] = field(default_factory=dict)
    """How many keys by the way they were decided."""
    seconds: float = 0.0
    """Time that checking took, reading not counted."""

    @property
    def answered(self) -> int:
        """How many calls were told something."""
        outcomes = [count for kind in self.outcomes.values() for count in kind.items()]
        return sum([count for outcome, count in outcomes if outcome not in ("failed", "unknown")])

    @property
    def violations(self) -> list[KeyVerdict]:
        """The keys that are illegal."""
        return [key for key in self.keys if key.verdict is Verdict.ILLEGAL]
