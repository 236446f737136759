"""What is checked: operations with the times at which clients called and were answered.

Operations are kept by key, as columns: an object for each of ten million operations costs more than checking them.
`Operation` is the form in which people, reports and small programs meet one.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

Value = bytes | None
"""What a key holds; None is absent."""

Argument = bytes | int | None
Answer = bytes | int | bool | None

# Kinds and outcomes are these numbers in columns and these words everywhere else.
GET: Final = 0
PUT: Final = 1
DELETE: Final = 2
CAS: Final = 3
INCR: Final = 4
APPEND: Final = 5
SWAP: Final = 6
KINDS: Final = ("get", "put", "delete", "cas", "incr", "append", "swap")

OK: Final = 0
FAILED: Final = 1
UNKNOWN: Final = 2
CONDITION_FAILED: Final = 3
NOT_AN_INTEGER: Final = 4
INTEGER_OVERFLOW: Final = 5
VALUE_TOO_LARGE: Final = 6
OUTCOMES: Final = (
    "ok",
    "failed",
    "unknown",
    "condition-failed",
    "not-an-integer",
    "integer-overflow",
    "value-too-large",
)

KIND_NUMBERS: Final = {name: number for number, name in enumerate(KINDS)}
OUTCOME_NUMBERS: Final = {name: number for number, name in enumerate(OUTCOMES)}


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client on one key.

    `argument`, by kind: put, cas and swap, the value to write; append, the suffix; incr, the number to add; else None.
    `condition`, by kind: put and delete, the version that the key must have (0: it must be absent, None: whatever);
    cas, the value that it must have (None: it must be absent); else None.

    `outcome` is "ok"; "failed" (it certainly did not happen, and nothing was learnt); "unknown" (it may have happened,
    at any time from its start on); or why the store left the key as it was, having looked at it: "condition-failed",
    "not-an-integer", "integer-overflow", "value-too-large".

    `result`, by kind, when ok: get, the value (None: absent); swap, the value before (None: absent); incr, the number
    after (None: the store does not tell); append, the length in bytes after (None: not told); delete, whether the
    key was there (None: not told); put and cas, None. When the store left the key as it was: the value that it saw.

    `version` is the key's version after the operation, 0 when it is then absent, None when the store does not tell.
    """

    number: int
    """Its place in the history, from 1, in the order in which operations were recorded."""
    client: int | str
    kind: str
    key: bytes
    start: float
    """When it was called. In the history's unit of time, all clients on one clock."""
    finish: float | None
    """When it was answered; None when it never was (outcome "unknown"), and then it may take effect at any time."""
    outcome: str
    argument: Argument = None
    condition: Argument = None
    result: Answer = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was broken for a while, for the eye of the reader of a report: it has no say in the verdict."""

    kind: str
    """For example "kill", "pause", "partition"."""
    start: float
    finish: float | None
    """None: until the end of the history."""
    node: int | str | None = None
    """Whom it befell; None: everybody, or the text says it."""
    text: str = ""


class Columns:
    """The operations on one key, one list for each field; `finish` is infinite where the outcome is unknown."""

    __slots__ = (
        "arguments",
        "clients",
        "conditions",
        "finishes",
        "kinds",
        "numbers",
        "outcomes",
        "results",
        "starts",
        "versions",
    )

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.clients: list[int | str] = []
        self.kinds: list[int] = []
        self.starts: list[float] = []
        self.finishes: list[float] = []
        self.outcomes: list[int] = []
        self.arguments: list[Argument] = []
        self.conditions: list[Argument] = []
        self.results: list[Answer] = []
        self.versions: list[int | None] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def operation(self, key: bytes, index: int) -> Operation:
        """The operation in row `index`."""
        finish = self.finishes[index]
        return Operation(
            self.numbers[index],
            self.clients[index],
            KINDS[self.kinds[index]],
            key,
            self.starts[index],
            None if math.isinf(finish) else finish,
            OUTCOMES[self.outcomes[index]],
            self.arguments[index],
            self.conditions[index],
            self.results[index],
            self.versions[index],
        )

    def append(self, operation: Operation) -> None:
        """Add a row."""
        unknown = operation.outcome == "unknown"
        self.numbers.append(operation.number)
        self.clients.append(operation.client)
        self.kinds.append(KIND_NUMBERS[operation.kind])
        self.starts.append(operation.start)
        self.finishes.append(math.inf if unknown or operation.finish is None else operation.finish)
        self.outcomes.append(OUTCOME_NUMBERS[operation.outcome])
        self.arguments.append(operation.argument)
        self.conditions.append(operation.condition)
        self.results.append(operation.result)
        self.versions.append(operation.version)


class History:
    """Operations by key, initial values, and faults."""

    def __init__(self, operations: Iterable[Operation] = (), faults: Iterable[Fault] = ()) -> None:
        self.faults: list[Fault] = list(faults)
        self.initial: dict[bytes, tuple[Value, int | None]] = {}
        """Value and version that a key had before the history began, for keys that were not absent."""
        self.time_unit = "s"
        """"s" for seconds; "line" when the recording tool wrote no times and the order of its lines stands for them."""
        self._columns: dict[bytes, Columns] = {}
        self._size = 0
        for operation in operations:
            self.add(operation)

    def __len__(self) -> int:
        return self._size

    def add(self, operation: Operation) -> None:
        """Add one operation, in any order of time."""
        columns = self._columns.get(operation.key)
        if columns is None:
            columns = self._columns[operation.key] = Columns()
        columns.append(operation)
        self._size += 1

    @property
    def keys(self) -> list[bytes]:
        """All keys, in the order in which they were first seen."""
        return list(self._columns)

    def columns(self, key: bytes) -> Columns:
        """The operations on one key, as columns."""
        return self._columns[key]

    def operations(self, key: bytes) -> list[Operation]:
        """The operations on one key, in the order in which they were recorded. Builds an object for each."""
        columns = self.columns(key)
        return [columns.operation(key, index) for index in range(len(columns))]

    def __iter__(self) -> Iterator[Operation]:
        """Every operation, key by key."""
        for key in self.keys:
            yield from self.operations(key)
