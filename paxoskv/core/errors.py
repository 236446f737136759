"""Every error, and for each the one thing a caller must know: did the operation happen?

`definite` errors certainly did not happen and never will; a checker reads histories by that bit. The client retries
what is `retryable`. The table in `docs/operating.md` is made from these classes.
"""

from typing import ClassVar

from paxoskv.core import operations


class PaxosKVError(Exception):
    """The base of all of them."""

    code: ClassVar[str] = "error"
    definite: ClassVar[bool] = True
    retryable: ClassVar[bool] = False
    """Worth sending again as it is: definite, and the cause may pass."""
    status: ClassVar[int] = 0
    """Its number on the client wire, 0 for what never travels."""


class ConditionFailed(PaxosKVError):
    """The key was not as the operation demanded; `value` and `version` say how it was. Nothing changed."""

    code, status = "condition-failed", operations.CONDITION_FAILED

    def __init__(self, message: str, value: bytes | None = None, version: int = 0) -> None:
        super().__init__(message)
        self.value = value
        self.version = version


class NotAnInteger(ConditionFailed):
    """incr found a value that is no signed 64-bit decimal number. Nothing changed."""

    code, status = "not-an-integer", operations.NOT_AN_INTEGER


class IntegerOverflow(ConditionFailed):
    """incr would have left the signed 64-bit range. Nothing changed."""

    code, status = "integer-overflow", operations.INTEGER_OVERFLOW


class ValueTooLarge(ConditionFailed):
    """append, SETRANGE or INCRBYFLOAT would have made the value longer than the cluster allows. Nothing changed."""

    code, status = "value-too-large", operations.VALUE_TOO_LARGE


class NotANumber(ConditionFailed):
    """INCRBYFLOAT of the Redis port found a value that is no number a long double can hold. Nothing changed."""

    code, status = "not-a-number", operations.NOT_A_NUMBER


class NumberOverflow(ConditionFailed):
    """INCRBYFLOAT of the Redis port would have come to infinity, or to no number at all. Nothing changed."""

    code, status = "number-overflow", operations.NUMBER_OVERFLOW


class BadRequest(PaxosKVError):
    """The request itself is wrong: an empty or too long key, a too large value, an unknown operation."""

    code, status = "bad-request", 16


class Overloaded(PaxosKVError):
    """The node has as many operations in flight as it takes; this one was refused before it began."""

    code, status, retryable = "overloaded", 17, True


class Unavailable(PaxosKVError):
    """No majority could be reached in time, and nothing that could take effect had been sent."""

    code, status, retryable = "unavailable", 18, True


class ShuttingDown(PaxosKVError):
    """The node is stopping and takes no new operations; this one was refused before it began."""

    code, status, retryable = "shutting-down", 19, True


class NotReached(PaxosKVError):
    """No node could be connected to, so the operation was never sent."""

    code, retryable = "not-reached", True


class ClientClosed(NotReached):
    """The client was closed, or made before a fork, so the operation was never sent; only another client will do."""

    code, retryable = "client-closed", False


class OutcomeUnknown(PaxosKVError):
    """The deadline passed, or the connection broke, after the operation was sent: it may have happened."""

    code, status, definite = "outcome-unknown", 32, False


class ProtocolError(PaxosKVError):
    """Bytes that are no frame of ours. Peers and clients that send them are disconnected."""

    code = "protocol-error"


class ConfigurationError(PaxosKVError):
    """A node cannot start, or a command cannot run, with what it was given; the text says the way out."""

    code = "configuration"


class StorageError(PaxosKVError):
    """The data file cannot be used as it is; the text names the file and the way out."""

    code = "storage"


def all_errors() -> list[type[PaxosKVError]]:
    """Every concrete error class, in a stable order."""
    found: list[type[PaxosKVError]] = []

    def walk(cls: type[PaxosKVError]) -> None:
        for subclass in cls.__subclasses__():
            found.append(subclass)
            walk(subclass)

    walk(PaxosKVError)
    return found


BY_STATUS: dict[int, type[PaxosKVError]] = {cls.status: cls for cls in all_errors() if cls.status}
