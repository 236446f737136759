"""What a client can ask of a key, and what each request does to a value.

Both engines evaluate operations with the one function below, so that they cannot differ in what an
operation means. It is pure: value, version and expiry in, verdict out. It knows no time: that a value's time has
passed is a change of its own, which an engine applies before and after each operation (protocol.md section 8).

Besides its key, an operation has three parts that combine freely: its kind with an argument says what becomes of the
value, its condition when, its expiry what becomes of the time at which the value ceases to exist.
"""

from typing import Final, NamedTuple

from paxoskv.core import numbers
from paxoskv.core.numbers import INTEGER_MAX, INTEGER_MIN

# Operation kinds. Plain integers and not an Enum: they are compared and hashed on the hot path and
# travel on the wire as they are.
GET: Final = 0
PUT: Final = 1
DELETE: Final = 2
CAS: Final = 3  # a put, whose condition None means: must be absent
INCR: Final = 4
APPEND: Final = 5
SWAP: Final = 6  # a put that answers the value it replaced
EXPIRE: Final = 7  # sets the expiry of what is there
TAKE: Final = 8  # a delete that answers the value it deleted
RENEW: Final = 9  # an expire that answers the value
SETRANGE: Final = 10
INCRFLOAT: Final = 11

KIND_NAMES: Final = (
    "get",
    "put",
    "delete",
    "cas",
    "incr",
    "append",
    "swap",
    "expire",
    "take",
    "renew",
    "setrange",
    "incrfloat",
)

# Conditions beyond None (always), a version from 0 up (0: must be absent) and bytes (the value that must be there).
EXISTS: Final = -1
NO_EXPIRY: Final = -2  # also of an absent key
HAS_EXPIRY: Final = -3
LATER: Final = -4  # the operation's expiry is later than the present one; no expiry is later than any
SOONER: Final = -5
HAS_EXPIRY_SOONER: Final = -6
CONDITION_MIN: Final = HAS_EXPIRY_SOONER

# Expiries beyond None (what the kind does by itself) and a time in milliseconds since the epoch, by which the value
# ceases to exist.
NEVER: Final = 0
KEEP: Final = -1
EXPIRY_MAX: Final = 2**63 - 1

OFFSET_BYTES: Final = 8

# Statuses of a result. Below ERROR_STATUS_MIN an operation was evaluated, and the status says how;
# from there on it is one of the errors in `core.errors`, by its `status`.
OK: Final = 0
ABSENT: Final = 1  # there was nothing to delete, or to expire
CONDITION_FAILED: Final = 2
NOT_AN_INTEGER: Final = 3
INTEGER_OVERFLOW: Final = 4
VALUE_TOO_LARGE: Final = 5
NOT_A_NUMBER: Final = 6
NUMBER_OVERFLOW: Final = 7
ERROR_STATUS_MIN: Final = 16

CONDITION_MAX: Final = 2**64 - 1

Argument = bytes | int | None
Condition = bytes | int | None
Expiry = int | None


class Result(NamedTuple):
    """The answer to one operation.

    `value` is, by operation: get and renew, the value; swap and take, the old value; incr, the new number; incrfloat,
    its text; append and setrange, the new length in bytes; a failed condition, the current value; for an error, its
    explanation in UTF-8. `version` is the key's version after the operation, 0 when the key is absent, `expires_at`
    when it ceases to exist (milliseconds since the epoch; 0: never).
    """

    status: int
    value: bytes | int | None
    version: int
    expires_at: int = 0


class Operation:
    """One request of one client, and what the engine remembers about it while it is in flight.

    `argument` by kind: put, cas and swap, the new value; append, the suffix; incr, the number to add; incrfloat, its
    text; setrange, what `range_argument` makes. `condition`: what must be so, or else nothing happens: None
    (nothing need be; for cas, the key must be absent), a version (0: absent), the value itself, or one of the constants
    from EXISTS on. `expiry`: a time in milliseconds since the epoch, KEEP, NEVER, or None: puts forget the expiry that
    was, everything else keeps it. `deadline` is in the engine's time (seconds). `reply` belongs to the driver.
    """

    __slots__ = (
        "argument",
        "condition",
        "deadline",
        "done",
        "evaluations",
        "expiry",
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
        condition: Condition = None,
        deadline: float = float("inf"),
        reply: object = None,
        expiry: Expiry = None,
    ) -> None:
        self.kind = kind
        self.key = key
        self.argument = argument
        self.condition = condition
        self.expiry = expiry
        self.deadline = deadline
        self.reply = reply
        # From here on: the engine's. `number` orders the operations of one origin and is 0 until the
        # operation is first exposed; `exposed` is the first ballot at which it was.
        self.number = 0
        self.exposed = 0
        self.evaluations: dict[int, Result] | None = None
        self.done = False

    def __repr__(self) -> str:
        words = f"{KIND_NAMES[self.kind]} {self.key!r} {self.argument!r} if {self.condition!r}"
        return f"<{words} until {self.expiry!r} #{self.number}>"


def range_argument(offset: int, part: bytes) -> bytes:
    """The argument of a setrange that puts `part` at `offset` (bytes, below 2^63) in the value."""
    return offset.to_bytes(OFFSET_BYTES, "big") + part


def is_well_formed(kind: int, argument: object, condition: object, expiry: object = None) -> bool:
    """Whether the parts have the types and ranges that `kind` demands, and go together (lengths aside)."""
    if expiry is not None and (
        type(expiry) is not int or not KEEP <= expiry <= EXPIRY_MAX or kind in (GET, DELETE, TAKE)
    ):
        return False
    if kind in (EXPIRE, RENEW) and (expiry is None or expiry == KEEP):
        return False
    if condition is not None:
        if kind == GET:
            return False
        if type(condition) is int:
            if kind == CAS or not CONDITION_MIN <= condition <= CONDITION_MAX:
                return False
            if condition in (LATER, SOONER, HAS_EXPIRY_SOONER) and (type(expiry) is not int or expiry <= 0):
                return False
        elif type(condition) is not bytes:
            return False
    if kind in (PUT, CAS, APPEND, SWAP):
        return type(argument) is bytes
    if kind == INCR:
        return type(argument) is int and INTEGER_MIN <= argument <= INTEGER_MAX
    if kind == SETRANGE:
        return type(argument) is bytes and len(argument) >= OFFSET_BYTES
    if kind == INCRFLOAT:
        return type(argument) is bytes and numbers.parse_extended(argument) is not None
    return kind in (GET, DELETE, EXPIRE, TAKE, RENEW) and argument is None


_TYPES_WHEN_OK: Final[dict[int, frozenset[type]]] = {
    GET: frozenset((bytes, type(None))),
    INCR: frozenset((int,)),
    APPEND: frozenset((int,)),
    SETRANGE: frozenset((int,)),
    INCRFLOAT: frozenset((bytes,)),
    SWAP: frozenset((bytes, type(None))),
    TAKE: frozenset((bytes, type(None))),
    RENEW: frozenset((bytes, type(None))),
}
_NOTHING: Final = frozenset((type(None),))
_TEXT: Final = frozenset((bytes, type(None)))


def is_answer(kind: int, result: Result) -> bool:
    """Whether the result's value has a type that an operation of this kind is answered with."""
    allowed = _TYPES_WHEN_OK.get(kind, _NOTHING) if result.status == OK else _TEXT
    return type(result.value) in allowed


class Evaluation(NamedTuple):
    """What an operation does to a value. Without `effect` all stays, and `value` and `expires_at` are meaningless."""

    status: int
    result: bytes | int | None
    effect: bool
    value: bytes | None
    expires_at: int


def holds(condition: bytes | int, value: bytes | None, version: int, expires_at: int, expiry: Expiry) -> bool:
    """Whether what stands is as `condition` demands, of an operation with that expiry."""
    if type(condition) is bytes:
        return value == condition
    assert type(condition) is int
    if condition >= 0:
        return condition == version
    if condition == EXISTS:
        return value is not None
    if condition == NO_EXPIRY:
        return expires_at == 0
    if condition == HAS_EXPIRY:
        return expires_at != 0
    assert expiry is not None
    if condition == LATER:
        return 0 != expires_at < expiry
    if condition == SOONER:
        return expires_at == 0 or expiry < expires_at
    return expires_at != 0 and expiry < expires_at


def evaluate(
    operation: Operation, value: bytes | None, version: int, expires_at: int, value_bytes_max: int
) -> Evaluation:
    """Apply `operation` to the current `value` (None: absent), whose user-visible version and expiry are given.

    Whether anything takes effect depends on these alone, never on a clock.
    """
    kind = operation.kind
    argument = operation.argument
    condition = operation.condition
    expiry = operation.expiry
    if kind == PUT:
        assert type(argument) is bytes
        if condition is not None and not holds(condition, value, version, expires_at, expiry):
            return Evaluation(CONDITION_FAILED, value, False, None, 0)
        if expiry is None:
            return Evaluation(OK, None, True, argument, 0)
        return Evaluation(OK, None, True, argument, expires_at if expiry == KEEP else expiry)
    if kind == GET:
        return Evaluation(OK, value, False, None, 0)
    if kind == CAS:
        if value != condition:
            return Evaluation(CONDITION_FAILED, value, False, None, 0)
    elif condition is not None and not holds(condition, value, version, expires_at, expiry):
        return Evaluation(CONDITION_FAILED, value, False, None, 0)
    if kind == INCR:
        number = 0 if value is None else numbers.parse_integer(value)
        if number is None:
            return Evaluation(NOT_AN_INTEGER, value, False, None, 0)
        assert type(argument) is int
        number += argument
        if not INTEGER_MIN <= number <= INTEGER_MAX:
            return Evaluation(INTEGER_OVERFLOW, value, False, None, 0)
        if expiry is not None and expiry != KEEP:
            expires_at = expiry
        return Evaluation(OK, number, True, b"%d" % number, expires_at)
    if kind in (CAS, SWAP):
        assert type(argument) is bytes
        expires_at = expires_at if expiry == KEEP else expiry or 0
        return Evaluation(OK, value if kind == SWAP else None, True, argument, expires_at)
    if kind in (DELETE, TAKE):
        if value is None:
            return Evaluation(ABSENT, None, False, None, 0)
        return Evaluation(OK, value if kind == TAKE else None, True, None, 0)
    if expiry is not None and expiry != KEEP:
        expires_at = expiry
    if kind in (EXPIRE, RENEW):
        if value is None:
            return Evaluation(ABSENT, None, False, None, 0)
        return Evaluation(OK, value if kind == RENEW else None, True, value, expires_at)
    if kind == INCRFLOAT:
        assert type(argument) is bytes
        return _add_number(argument, value, expires_at, value_bytes_max)
    if kind == APPEND:
        assert type(argument) is bytes
        longer = argument if value is None else value + argument
    else:
        assert kind == SETRANGE
        assert type(argument) is bytes
        offset, part = int.from_bytes(argument[:OFFSET_BYTES], "big"), argument[OFFSET_BYTES:]
        before = value or b""
        if not part:
            return Evaluation(OK, len(before), False, None, 0)
        if offset + len(part) > value_bytes_max:
            return Evaluation(VALUE_TOO_LARGE, value, False, None, 0)
        longer = before[:offset].ljust(offset, b"\0") + part + before[offset + len(part) :]
    if len(longer) > value_bytes_max:
        return Evaluation(VALUE_TOO_LARGE, value, False, None, 0)
    return Evaluation(OK, len(longer), True, longer, expires_at)


def _add_number(addend: bytes, value: bytes | None, expires_at: int, value_bytes_max: int) -> Evaluation:
    term = numbers.parse_extended(addend)
    number = numbers.parse_extended(b"0" if value is None else value)
    if number is None:
        return Evaluation(NOT_A_NUMBER, value, False, None, 0)
    assert term is not None
    text = numbers.add_extended(number, term)
    if text is None:
        return Evaluation(NUMBER_OVERFLOW, value, False, None, 0)
    if len(text) > value_bytes_max:
        return Evaluation(VALUE_TOO_LARGE, value, False, None, 0)
    return Evaluation(OK, text, True, text, expires_at)
