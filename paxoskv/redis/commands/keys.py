"""Keys, whatever they hold."""

from paxoskv.core.numbers import parse_integer
from paxoskv.core.operations import DELETE, GET, OK, Operation, Result
from paxoskv.redis import replies
from paxoskv.redis.commands.table import (
    ALL_KEYS,
    ONE_KEY,
    Arguments,
    Plan,
    Refusal,
    command,
    one,
    several,
    value_of,
    wrong_number,
)
from paxoskv.redis.session import Session

_EMBEDDED_BYTES_MAX = 44


def _delete(session: Session, arguments: Arguments) -> Plan:
    return several(
        [Operation(DELETE, key) for key in arguments],
        lambda results, protocol: replies.integer(sum(result.status == OK for result in results)),
    )


def _exists(session: Session, arguments: Arguments) -> Plan:
    return several(
        [Operation(GET, key) for key in arguments],
        lambda results, protocol: replies.integer(sum(result.value is not None for result in results)),
    )


command("del", -2, "write", ALL_KEYS, "generic", "1.0.0", "Deletes keys, each for itself.")(_delete)
command("unlink", -2, "write fast", ALL_KEYS, "generic", "4.0.0", "Deletes keys, each for itself.")(_delete)
command("exists", -2, "readonly fast", ALL_KEYS, "generic", "1.0.0", "Counts the keys that exist.")(_exists)
command("touch", -2, "readonly fast", ALL_KEYS, "generic", "3.2.1", "Counts the keys that exist.")(_exists)


@command("type", 2, "readonly fast", ONE_KEY, "generic", "1.0.0", "Says of what type a value is.")
def type_(session: Session, arguments: Arguments) -> Plan:
    return one(
        Operation(GET, arguments[0]),
        lambda result, protocol: replies.simple("none" if result.value is None else "string"),
    )


@command("object", -2, "readonly", (2, 2, 1), "generic", "2.2.3", "Says how a value is held.", ("encoding",))
def object_(session: Session, arguments: Arguments) -> Plan:
    subcommand = arguments[0].decode("latin-1")
    if subcommand.lower() != "encoding":
        raise Refusal(f"ERR unknown subcommand '{subcommand[:128]}'. Try OBJECT HELP.")
    if len(arguments) != 2:
        raise Refusal(wrong_number("object|encoding"))

    def finish(result: Result, protocol: int) -> bytes:
        value = value_of(result)
        if value is None:
            return replies.null(protocol)
        if parse_integer(value) is not None:
            return replies.bulk(b"int")
        return replies.bulk(b"embstr" if len(value) <= _EMBEDDED_BYTES_MAX else b"raw")

    return one(Operation(GET, arguments[1]), finish)
