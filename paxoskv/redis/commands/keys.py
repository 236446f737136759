"""Keys, whatever they hold."""

from paxoskv.core.numbers import parse_integer
from paxoskv.core.operations import DELETE, GET, OK, Operation, Result
from paxoskv.redis import replies
from paxoskv.redis.commands.table import ALL_KEYS, ONE_KEY, Arguments, One, Plan, command, container, counting, value_of
from paxoskv.redis.session import Session

_EMBEDDED_BYTES_MAX = 44


def _delete(session: Session, arguments: Arguments) -> Plan:
    return counting([Operation(DELETE, key) for key in arguments], lambda result: result.status == OK, changes=True)


def _exists(session: Session, arguments: Arguments) -> Plan:
    wanted = [Operation(GET, key) for key in arguments]
    return counting(wanted, lambda result: result.value is not None, changes=False)


command("del", -2, "write", ALL_KEYS, "generic", "1.0.0", "Deletes keys, each for itself.", "key...")(_delete)
command("unlink", -2, "write fast", ALL_KEYS, "generic", "4.0.0", "Deletes keys, each for itself.", "key...")(_delete)
command("exists", -2, "readonly fast", ALL_KEYS, "generic", "1.0.0", "Counts the keys that exist.", "key...")(_exists)
command("touch", -2, "readonly fast", ALL_KEYS, "generic", "3.2.1", "Counts the keys that exist.", "key...")(_exists)


@command("type", 2, "readonly fast", ONE_KEY, "generic", "1.0.0", "Says of what type a value is.", "key")
def type_(session: Session, arguments: Arguments) -> One:
    return One(
        Operation(GET, arguments[0]),
        lambda result, protocol: replies.simple("none" if result.value is None else "string"),
    )


container("object", "generic", "2.2.3", "Says how a value is held.", help_since="6.2.0")


@command("object|encoding", 3, "readonly", (2, 2, 1), "generic", "2.2.3", "How Redis would hold such a value.", "key")
def encoding(session: Session, arguments: Arguments) -> One:
    def finish(result: Result, protocol: int) -> bytes:
        value = value_of(result)
        if value is None:
            return replies.null(protocol)
        if parse_integer(value) is not None:
            return replies.bulk(b"int")
        return replies.bulk(b"embstr" if len(value) <= _EMBEDDED_BYTES_MAX else b"raw")

    return One(Operation(GET, arguments[0]), finish)
