"""What a client can ask of a key, and what each request does to a value.

Both engines evaluate operations with the one function below, so that they cannot differ in what an
operation means. It is pure: value and version in, verdict out.
"""

import re
from typing import Final, NamedTuple

# Operation kinds. Plain integers and not an Enum: they are compared and hashed on the hot path and
# travel on the wire as they are.
GET: Final = 0
PUT: Final = 1
DELETE: Final = 2
CAS: Final = 3
INCR: Final = 4
APPEND: Final = 5
SWAP: Final = 6

KIND_NAMES: Final = ("get", "put", "delete", "cas", "incr", "append", "swap")

# Statuses of a result. Below ERROR_STATUS_MIN an operation was evaluated, and the status says how;
# from there on it is one of the errors in `core.errors`, by its `status`.
OK: Final = 0
ABSENT: Final = 1  # a delete found nothing to delete
CONDITION_FAILED: Final = 2
NOT_AN_INTEGER: Final = 3
INTEGER_OVERFLOW: Final = 4
VALUE_TOO_LARGE: Final = 5
ERROR_STATUS_MIN: Final = 16

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
VERSION_MAX: Final = 2**64 - 1
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")

Argument = bytes | int | None


class Result(NamedTuple):
    """The answer to one operation.

    `value` is, by operation: get, the value; swap, the old value; incr, the new number; append, the new
    length in bytes; a failed condition, the current value; for an error, its explanation in UTF-8.
    `version` is the key's version after the operation, 0 when the key is absent.
    """

    status: int
    value: Argument
    version: int


class Operation:
    """One request of one client, and what the engine remembers about it while it is in flight.

    `argument` by kind: put and swap, the value; cas, the new value; append, the suffix; incr, the number
    to add. `condition` by kind: put and delete, the version the key must have (0: it must be absent, None:
    whatever); cas, the value it must have (bytes, None: it must be absent). `deadline` is in the engine's
    time (seconds). `reply` belongs to the driver.
    """

    __slots__ = (
        "argument",
        "condition",
        "deadline",
        "done",
        "evaluations",
        "exposed",
        "key",
        "kind",
        "number",
        "reply",
    )

    def __init__(
        self,
        kind: int,
        key: bytes,
        argument: Argument = None,
        condition: Argument = None,
        deadline: float = float("inf"),
        reply: object = None,
    ) -> None:
        self.kind = kind
        self.key = key
        self.argument = argument
        self.condition = condition
        self.deadline = deadline
        self.reply = reply
        # From here on: the engine's. `number` orders the operations of one origin and is 0 until the
        # operation is first exposed; `exposed` is the first ballot at which it was.
        self.number = 0
        self.exposed = 0
        self.evaluations: dict[int, Result] | None = None
        self.done = False

    def __repr__(self) -> str:
        return f"<{KIND_NAMES[self.kind]} {self.key!r} {self.argument!r} if {self.condition!r} #{self.number}>"


def is_well_formed(kind: int, argument: Argument, condition: Argument) -> bool:
    """Whether argument and condition have the types and ranges that `kind` demands (lengths aside)."""
    if kind == PUT:
        return type(argument) is bytes and (
            condition is None or (type(condition) is int and 0 <= condition <= VERSION_MAX)
        )
    if kind == GET:
        return argument is None and condition is None
    if kind == INCR:
        return type(argument) is int and INTEGER_MIN <= argument <= INTEGER_MAX and condition is None
    if kind == CAS:
        return type(argument) is bytes and (condition is None or type(condition) is bytes)
    if kind == DELETE:
        return argument is None and (condition is None or (type(condition) is int and 0 <= condition <= VERSION_MAX))
    return kind in (APPEND, SWAP) and type(argument) is bytes and condition is None


class Evaluation(NamedTuple):
    """What an operation does to a value. Without `effect` the value stays, and `value` is meaningless."""

    status: int
    result: Argument
    effect: bool
    value: bytes | None


def parse_integer(text: bytes) -> int | None:
    """The signed 64-bit number in canonical decimal `text` (no sign but "-", no leading zero), or None."""
    if _INTEGER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if INTEGER_MIN <= number <= INTEGER_MAX else None


def evaluate(operation: Operation, value: bytes | None, version: int, value_bytes_max: int) -> Evaluation:
    """Apply `operation` to the current `value` (None: absent) whose user-visible version is `version`."""
    kind = operation.kind
    argument = operation.argument
    condition = operation.condition
    if kind == PUT:
        if condition is not None and condition != version:
            return Evaluation(CONDITION_FAILED, value, False, None)
        assert type(argument) is bytes
        return Evaluation(OK, None, True, argument)
    if kind == INCR:
        number = 0 if value is None else parse_integer(value)
        if number is None:
            return Evaluation(NOT_AN_INTEGER, value, False, None)
        assert type(argument) is int
        number += argument
        if not INTEGER_MIN <= number <= INTEGER_MAX:
            return Evaluation(INTEGER_OVERFLOW, value, False, None)
        return Evaluation(OK, number, True, b"%d" % number)
    if kind == GET:
        return Evaluation(OK, value, False, None)
    if kind == CAS:
        if value != condition:
            return Evaluation(CONDITION_FAILED, value, False, None)
        assert type(argument) is bytes
        return Evaluation(OK, None, True, argument)
    if kind == DELETE:
        if condition is not None and condition != version:
            return Evaluation(CONDITION_FAILED, value, False, None)
        if value is None:
            return Evaluation(ABSENT, None, False, None)
        return Evaluation(OK, None, True, None)
    if kind == APPEND:
        assert type(argument) is bytes
        longer = argument if value is None else value + argument
        if len(longer) > value_bytes_max:
            return Evaluation(VALUE_TOO_LARGE, value, False, None)
        return Evaluation(OK, len(longer), True, longer)
    assert kind == SWAP
    assert type(argument) is bytes
    return Evaluation(OK, value, True, argument)
