"""What Redis has not: values and versions as conditions."""

from paxoskv.core.operations import CONDITION_FAILED, DELETE, GET, OK, PUT, Operation, Result
from paxoskv.redis import replies
from paxoskv.redis.commands.table import ONE_KEY, Arguments, One, Refusal, command, integer, value_of
from paxoskv.redis.session import Session


@command(
    "cas", 4, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Sets a key if it holds a certain value.", "key old new"
)
def cas(session: Session, arguments: Arguments) -> One:
    key, old, new = arguments
    return One(
        Operation(PUT, key, new, old),
        lambda result, protocol: replies.ONE if result.status == OK else replies.ZERO,
    )


def _version(text: bytes) -> int:
    version = integer(text)
    if version < 0:
        raise Refusal("ERR a version is 0, for a key that must be absent, or above")
    return version


def _version_or_null(result: Result, protocol: int) -> bytes:
    return replies.null(protocol) if result.status == CONDITION_FAILED else replies.integer(result.version)


@command("getv", 2, "readonly fast", ONE_KEY, "string", "1.0.0", "Returns a value and its version, 0 if absent.", "key")
def getv(session: Session, arguments: Arguments) -> One:
    return One(
        Operation(GET, arguments[0]),
        lambda result, protocol: replies.array(
            [replies.bulk_or_null(value_of(result), protocol), replies.integer(result.version)]
        ),
    )


@command(
    "setv",
    4,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Sets a key if it has a version, 0: if it is absent.",
    "key value version",
)
def setv(session: Session, arguments: Arguments) -> One:
    key, value, version = arguments
    return One(Operation(PUT, key, value, _version(version)), _version_or_null)


@command("delv", 3, "write fast", ONE_KEY, "generic", "1.0.0", "Deletes a key if it has a version.", "key version")
def delv(session: Session, arguments: Arguments) -> One:
    key, version = arguments
    return One(
        Operation(DELETE, key, condition=_version(version)),
        lambda result, protocol: replies.ONE if result.status == OK else replies.ZERO,
    )
