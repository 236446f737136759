"""What clients ask for in tests of a cluster: operations drawn so that their effects can be told apart.

The simulator's clients and those of `paxoskv verify` draw from here.
"""

import random
from collections.abc import Callable
from typing import Final

from paxoskv.core import operations
from paxoskv.core.operations import Argument

# Kinds by weight, reads apart.
MIXES: Final[dict[str, dict[int, int]]] = {
    "mixed": {
        operations.PUT: 3,
        operations.DELETE: 2,
        operations.CAS: 2,
        operations.INCR: 3,
        operations.APPEND: 1,
        operations.SWAP: 2,
    },
    "register": {operations.PUT: 4, operations.DELETE: 1, operations.CAS: 3, operations.SWAP: 2},
    "counter": {operations.INCR: 1},
    "append": {operations.APPEND: 1},
    "contended": {operations.CAS: 3, operations.INCR: 3, operations.SWAP: 1, operations.PUT: 1},
    "churn": {operations.PUT: 3, operations.DELETE: 4, operations.INCR: 3},
}

Request = tuple[int, bytes, Argument, Argument]
"""(kind, key, argument, condition), as in `core.operations.Operation`."""


def key_names(count: int) -> list[bytes]:
    """The keys of a workload that has so many."""
    return [b"%c" % (97 + index) if count <= 26 else b"key%d" % index for index in range(count)]


class Workload:
    """Draws requests. Every written value is written once; conditions name what was seen lately, or did not hold."""

    def __init__(self, name: str, keys: int, reads: float, hot: float, rng: random.Random, prefix: bytes = b"") -> None:
        """`name` is one of MIXES, `reads` the share of gets, `hot` the share that goes to the first key in any case;
        the names of all keys begin with `prefix`.
        """
        self.keys = [prefix + name for name in key_names(keys)]
        self._name = name
        self._reads = reads
        self._hot = hot
        self._rng = rng
        mix = MIXES[name]
        self._kinds = list(mix)
        self._weights = list(mix.values())
        self._written = 0
        self._seen: dict[bytes, list[tuple[bytes | None, int]]] = {key: [(None, 0)] for key in self.keys}
        self._draw: dict[int, Callable[[bytes], tuple[Argument, Argument]]] = {
            operations.PUT: lambda key: (self._value(), self._version(key)),
            operations.DELETE: lambda key: (None, self._version(key)),
            operations.CAS: lambda key: (self._value(), self._recent(key)[0]),
            operations.INCR: lambda key: (self._rng.choice((1, 1, 1, 7, -3)), None),
            operations.APPEND: lambda key: (self._value() + b";", None),
            operations.SWAP: lambda key: (self._value(), None),
        }

    def draw(self) -> Request:
        """The next request."""
        rng = self._rng
        key = self.keys[0] if rng.random() < self._hot else rng.choice(self.keys)
        if rng.random() < self._reads:
            return operations.GET, key, None, None
        kind = rng.choices(self._kinds, self._weights)[0]
        argument, condition = self._draw[kind](key)
        return kind, key, argument, condition

    def write(self, key: bytes) -> Request:
        """A write that takes effect whatever the key holds, and fits the others of this workload."""
        kind = {"counter": operations.INCR, "append": operations.APPEND}.get(self._name, operations.SWAP)
        argument, condition = self._draw[kind](key)
        return kind, key, argument, condition

    def saw(self, key: bytes, value: bytes | None, version: int) -> None:
        """Somebody was answered this of a key."""
        seen = self._seen[key]
        seen.append((value, version))
        if len(seen) > 8:
            del seen[0]

    def _value(self) -> bytes:
        self._written += 1
        # Half of them are numbers, for increments to work on, far enough apart to stay different.
        return b"%d" % (self._written * 1000) if self._rng.random() < 0.5 else b"v%d" % self._written

    def _recent(self, key: bytes) -> tuple[bytes | None, int]:
        seen = self._seen[key]
        return seen[-1] if self._rng.random() < 0.8 else self._rng.choice(seen)

    def _version(self, key: bytes) -> int | None:
        return self._recent(key)[1] if self._rng.random() < 0.4 else None
