"""What nodes answer, and the error that each refusal is."""

from typing import Final

from paxoskv.core import errors, operations
from paxoskv.core.errors import OutcomeUnknown, PaxosKVError
from paxoskv.core.operations import Argument

Answered = tuple[int, Argument, int] | tuple[int, Argument, int, int, int]
"""Status, value, version, and of a key that expires when, and in how many milliseconds."""


def text_of(value: Argument) -> str:
    """The reason that an answer gives."""
    return value.decode(errors="replace") if type(value) is bytes else str(value)


def unknown_outcome(kind: int, address: str, reason: str) -> OutcomeUnknown:
    """Of what was sent and not answered."""
    name = operations.KIND_NAMES[kind]
    return OutcomeUnknown(
        f"{address}: {reason}, after the {name} was sent; it may or may not have happened, or happen yet"
    )


_NOTHING: Final = type(None)
TYPES: Final = {
    operations.GET: (bytes, _NOTHING),
    operations.PUT: (_NOTHING,),
    operations.DELETE: (_NOTHING,),
    operations.CAS: (_NOTHING,),
    operations.INCR: (int,),
    operations.APPEND: (int,),
    operations.SWAP: (bytes, _NOTHING),
    operations.EXPIRE: (_NOTHING,),
}
"""What an answer's value may be, by kind of operation."""
MALFORMED: Final = {
    operations.INCR: "incr adds a signed 64-bit integer",
    operations.EXPIRE: "expire takes a time to live, a number of seconds; persist takes it away",
}
"""What an operation of a kind takes."""
_FAILURES: Final = {
    operations.CONDITION_FAILED: "the condition does not hold",
    operations.NOT_AN_INTEGER: "the value is no signed 64-bit decimal number",
    operations.INTEGER_OVERFLOW: "the number would leave the signed 64-bit range",
    operations.VALUE_TOO_LARGE: "the value would become longer than the cluster allows",
    operations.NOT_A_NUMBER: "the value is no number that a long double can hold",
    operations.NUMBER_OVERFLOW: "the number would become infinite",
}


def error_of(status: int, value: Argument, version: int, address: str) -> PaxosKVError:
    """The error that the node's answer is."""
    kind = errors.BY_STATUS.get(status)
    if kind is None or type(version) is not int:
        return OutcomeUnknown(f"{address} answered with status {status}, which this client does not know")
    if issubclass(kind, errors.ConditionFailed):
        current = value if type(value) is bytes else None
        now = f"has version {version}" if version else "is absent"
        return kind(f"{_FAILURES[status]}; the key {now} and was not changed", current, version)
    return kind(f"{address}: {text_of(value)}")
