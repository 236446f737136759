"""The table of commands, and what all of them share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from paxoskv.core import errors, operations
from paxoskv.core.numbers import parse_integer
from paxoskv.core.operations import Operation, Result
from paxoskv.redis import replies
from paxoskv.redis.session import Session

Arguments = Sequence[bytes]
"""A command's, without its name."""
Finish = Callable[[list[Result], int], "bytes | Plan"]
"""Makes the reply of a command from the results of its operations, in the protocol 2 or 3, or says how to go on."""

NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
SYNTAX_ERROR: Final = "ERR syntax error"
TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


class Refusal(Exception):
    """A command is wrong; the text is the error that it is answered with, with its code."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The operations that a command takes, and its reply once all are done."""

    operations: list[Operation]
    finish: Finish


Handler = Callable[[Session, Arguments], bytes | Plan]


@dataclass(frozen=True, slots=True)
class Command:
    """One command, as COMMAND shows it."""

    name: str
    arity: int
    """Number of arguments with the name; a negative number: at least so many."""
    flags: tuple[str, ...]
    first_key: int
    last_key: int
    key_step: int
    group: str
    since: str
    summary: str
    handler: Handler
    subcommands: tuple[str, ...] = ()

    @property
    def covers_all(self) -> bool:
        """It looks at all keys, or changes them."""
        return not self.first_key and ("readonly" in self.flags or "write" in self.flags)

    def keys(self, arguments: Arguments) -> Sequence[bytes]:
        """The keys among the arguments."""
        if not self.first_key:
            return ()
        if self.first_key == self.last_key:
            return arguments[self.first_key - 1 : self.first_key]
        return arguments[:: self.key_step]


TABLE: Final[dict[str, Command]] = {}


def command(
    name: str,
    arity: int,
    flags: str,
    keys: tuple[int, int, int],
    group: str,
    since: str,
    summary: str,
    subcommands: tuple[str, ...] = (),
) -> Callable[[Handler], Handler]:
    """Put a handler into the table."""

    def register(handler: Handler) -> Handler:
        assert name not in TABLE
        TABLE[name] = Command(name, arity, tuple(flags.split()), *keys, group, since, summary, handler, subcommands)
        return handler

    return register


ONE_KEY: Final = (1, 1, 1)
NO_KEY: Final = (0, 0, 0)
ALL_KEYS: Final = (1, -1, 1)


_REFUSED: Final = {
    "rename": "no command changes two keys at once here; copy and delete, knowing that others see both",
    "renamenx": "no command changes two keys at once here; copy and delete, knowing that others see both",
    "copy": "no command touches two keys at once here; GET and SET",
    "msetnx": "it is atomic over several keys, and every key stands for itself here; use SET with NX for each",
    "multi": "there are no transactions here, every key stands for itself; CAS, SETV and SET with NX are atomic",
    "exec": "there are no transactions here, every key stands for itself; CAS, SETV and SET with NX are atomic",
    "discard": "there are no transactions here, every key stands for itself",
    "watch": "there are no transactions here; GETV tells a key's version, SETV writes only if it still has it",
    "unwatch": "there are no transactions here; GETV tells a key's version, SETV writes only if it still has it",
    "eval": "there are no scripts here; CAS, SETV and INCRBY change a key atomically",
    "evalsha": "there are no scripts here; CAS, SETV and INCRBY change a key atomically",
    "subscribe": "there is no publish and subscribe here",
    "psubscribe": "there is no publish and subscribe here",
    "publish": "there is no publish and subscribe here",
    "swapdb": "there is one database here",
    "move": "there is one database here",
    "monitor": "other people's commands are not shown here; see paxoskv status",
}


def find(arguments: Sequence[bytes]) -> Command:
    """The command that the first of `arguments` names, with as many others as it takes. Raises Refusal."""
    name = arguments[0].decode("latin-1").lower()
    found = TABLE.get(name)
    if found is None:
        if name in _REFUSED:
            raise Refusal(f"ERR {name.upper()} is not supported: {_REFUSED[name]}")
        raise Refusal(_unknown(arguments))
    count = len(arguments)
    if count != found.arity and (found.arity > 0 or count < -found.arity):
        raise Refusal(wrong_number(name))
    return found


def _unknown(arguments: Sequence[bytes]) -> str:
    shown = ""
    for argument in arguments[1:]:
        if len(shown) >= 128:
            break
        shown += "'" + argument[: 128 - len(shown)].decode("latin-1") + "' "
    name = arguments[0][:128].decode("latin-1")
    return f"ERR unknown command '{name}', with args beginning with: {shown}"


def wrong_number(name: str) -> str:
    """The text for too few or too many arguments."""
    return f"ERR wrong number of arguments for '{name}' command"


def integer(text: bytes, refusal: str = NOT_AN_INTEGER) -> int:
    """An argument that is a signed 64-bit number. Raises Refusal."""
    number = parse_integer(text)
    if number is None:
        raise Refusal(refusal)
    return number


_CODES: Final = {
    errors.Overloaded.status: "TRYAGAIN",
    errors.ShuttingDown.status: "TRYAGAIN",
    errors.Unavailable.status: "CLUSTERDOWN",
    errors.OutcomeUnknown.status: "UNKNOWN",
}


def failure(result: Result) -> bytes | None:
    """The error that a result stands for, None if the operation was evaluated."""
    if result.status < operations.ERROR_STATUS_MIN:
        return None
    text = result.value.decode(errors="replace") if isinstance(result.value, bytes) else "no reason was given"
    return replies.error(f"{_CODES.get(result.status, 'ERR')} {text}")


def one(operation: Operation, finish: Callable[[Result, int], bytes]) -> Plan:
    """The plan of a command that is one operation."""

    def first(results: list[Result], protocol: int) -> bytes:
        result = results[0]
        if result.status >= operations.ERROR_STATUS_MIN:
            failed = failure(result)
            assert failed is not None
            return failed
        return finish(result, protocol)

    return Plan([operation], first)


def several(wanted: list[Operation], finish: Callable[[list[Result], int], bytes]) -> Plan:
    """The plan of a command that is one operation for each key. Its answer is the worst error, if there is one."""

    def together(results: list[Result], protocol: int) -> bytes:
        worst = max(results, key=lambda result: result.status)
        return failure(worst) or finish(results, protocol)

    return Plan(wanted, together)


def value_of(result: Result) -> bytes | None:
    """The value in a result."""
    assert not isinstance(result.value, int)
    return result.value
