"""What is checked: operations with the times at which clients called and were answered.

Operations are kept by key, as columns: an object for each of ten million operations costs more than checking them.
`Operation` is the form in which people, reports and small programs meet one.
"""

import marshal
import math
import operator
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

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
ROWS_MAX: Final = 1_000_000
"""Operations that a history keeps in memory, unless told otherwise: some 300 MB."""

OUTCOME_NUMBERS: Final = {name: number for number, name in enumerate(OUTCOMES)}
REFUSALS: Final = {
    CONDITION_FAILED: (PUT, DELETE, CAS),
    NOT_AN_INTEGER: (INCR,),
    INTEGER_OVERFLOW: (INCR,),
    VALUE_TOO_LARGE: (APPEND,),
}
"""Which kinds can be refused with an outcome."""


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
    """Its place in the history, from 1: the number of its line, where it was read from a file."""
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


Row = tuple[int, int | str, int, float, float, int, Argument, Argument, Answer, int | None]
"""number, client, kind, start, finish, outcome, argument, condition, result, version"""


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

    def lists(self) -> list[list[Any]]:
        """The columns, in the order of `Row`."""
        return [
            self.numbers,
            self.clients,
            self.kinds,
            self.starts,
            self.finishes,
            self.outcomes,
            self.arguments,
            self.conditions,
            self.results,
            self.versions,
        ]

    def extend(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        for at, column in enumerate(self.lists()):
            column.extend(map(operator.itemgetter(at), rows))

    def extend_lists(self, columns: Iterable[Iterable[Any]]) -> None:
        """Add to each column, in the order of `Row`."""
        for column, values in zip(self.lists(), columns, strict=True):
            column.extend(values)

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


def row_of(operation: Operation) -> Row:
    """An operation as a row."""
    unknown = operation.outcome == "unknown" or operation.finish is None
    return (
        operation.number,
        operation.client,
        KIND_NUMBERS[operation.kind],
        operation.start,
        math.inf if unknown or operation.finish is None else operation.finish,
        OUTCOME_NUMBERS[operation.outcome],
        operation.argument,
        operation.condition,
        operation.result,
        operation.version,
    )


class History:
    """Operations by key, initial values, and faults.

    Of more than `rows_max` operations the older ones are kept in a temporary file (its place is that of Python's
    `tempfile`; some 100 bytes each) and come back key by key.
    """

    def __init__(
        self, operations: Iterable[Operation] = (), faults: Iterable[Fault] = (), rows_max: int = ROWS_MAX
    ) -> None:
        self.faults: list[Fault] = list(faults)
        self.initial: dict[bytes, tuple[Value, int | None]] = {}
        """Value and version that a key had before the history began, for keys that were not absent."""
        self.time_unit = "s"
        """"s" for seconds; "line" when the recording tool wrote no times and the order of its lines stands for them."""
        self._columns: dict[bytes, Columns] = {}
        self._size = 0
        self._held = 0
        self._rows_max = rows_max
        self._file: BinaryIO | None = None
        self._segments: dict[bytes, list[tuple[int, int]]] = {}
        for operation in operations:
            self.add(operation)

    def __len__(self) -> int:
        return self._size

    def add(self, operation: Operation) -> None:
        """Add one operation, in any order of time."""
        self.extend(operation.key, (row_of(operation),))

    def extend(self, key: bytes, rows: Sequence[Row]) -> None:
        """Add operations on one key."""
        columns = self._columns.get(key)
        if columns is None:
            columns = self._columns[key] = Columns()
        columns.extend(rows)
        self._size += len(rows)
        self._held += len(rows)
        if self._held > self._rows_max:
            self._put_aside()

    def _put_aside(self) -> None:
        if self._file is None:
            self._file = cast(BinaryIO, tempfile.TemporaryFile(prefix="paxoskv-check-"))  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        self._file.seek(0, os.SEEK_END)
        for key, columns in self._columns.items():
            if len(columns):
                data = marshal.dumps(columns.lists())
                self._segments.setdefault(key, []).append((self._file.tell(), len(data)))
                self._file.write(data)
                self._columns[key] = Columns()
        self._held = 0

    @property
    def keys(self) -> list[bytes]:
        """All keys, in the order in which they were first seen."""
        return list(self._columns)

    def columns(self, key: bytes) -> Columns:
        """The operations on one key, as columns. Not to be changed."""
        held = self._columns[key]
        segments = self._segments.get(key)
        if segments is None:
            return held
        assert self._file is not None
        columns = Columns()
        for offset, size in segments:
            self._file.seek(offset)
            columns.extend_lists(marshal.loads(self._file.read(size)))
        columns.extend_lists(held.lists())
        return columns

    def operations(self, key: bytes) -> list[Operation]:
        """The operations on one key, in the order in which they were recorded. Builds an object for each."""
        columns = self.columns(key)
        return [columns.operation(key, index) for index in range(len(columns))]

    def __iter__(self) -> Iterator[Operation]:
        """Every operation, key by key."""
        for key in self.keys:
            yield from self.operations(key)
