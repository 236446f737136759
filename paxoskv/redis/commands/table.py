"""The table of commands, and what all of them share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
ANSWER_TOO_LARGE: Final = f"ERR the answer has more than {ANSWER_BYTES_MAX} bytes; ask for fewer keys at once"
WINDOW: Final = 1024
"""Operations of one command under way at a time: all must be done in the time that an operation has."""
WINDOW_LARGE: Final = 256
"""The same, where answers may be large."""
TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


ONE_KEY: Final = (1, 1, 1)
NO_KEY: Final = (0, 0, 0)
ALL_KEYS: Final = (1, -1, 1)


class Refusal(Exception):
    """A command is wrong; the text is the error that it is answered with, with its code."""


class TransactionRefusal(Refusal):
    """The command would begin a transaction."""


class Call:
    """A command that was not answered yet, as its connection keeps it."""

    __slots__ = ("keys", "protocol", "reply", "silent")

    def __init__(self, reply: bytes | None = None) -> None:
        self.reply = reply
        """Once it is known."""
        self.protocol = 2
        self.silent = False
        """Nobody wants to know the reply."""
        self.keys: Sequence[bytes] = ()
        """On which later commands wait for it."""


class One(Call):
    """A command that is one operation. `finish` makes the reply of a result that is no error."""

    __slots__ = ("finish", "operation")

    def __init__(self, operation: Operation, finish: Callable[[Result, int], bytes]) -> None:
        self.reply = None
        self.operation = operation
        self.finish = finish


class Plan(Call):
    """A command that takes several operations at once, or several one after the other."""

    __slots__ = ("finish", "left", "operations", "results")

    def __init__(self, operations: list[Operation], finish: Finish) -> None:
        super().__init__()
        self.operations = operations
        self.finish = finish
        self.results: list[Result] = []
        self.left = 0
        """How many of the results are missing."""


Handler = Callable[[Session, Arguments], "bytes | One | Plan"]


@dataclass(slots=True, eq=False)
class Command:
    """One command or subcommand, as COMMAND shows it."""

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
    syntax: str
    """What comes after the name, in the notation of `syntax`."""
    handler: Handler
    subcommands: "dict[str, Command]" = field(default_factory=dict)
    words: int = field(init=False)
    """How many its name has."""
    covers_all: bool = field(init=False)
    """It looks at all keys, or changes them."""
    has_one_key: bool = field(init=False)

    def __post_init__(self) -> None:
        self.words = self.name.count("|") + 1
        self.covers_all = not self.first_key and ("readonly" in self.flags or "write" in self.flags)
        self.has_one_key = 0 < self.first_key == self.last_key

    def keys(self, arguments: Arguments) -> Sequence[bytes]:
        """The keys among the arguments."""
        if not self.first_key:
            return ()
        first = self.first_key - self.words
        return arguments[first : first + 1] if self.has_one_key else arguments[first :: self.key_step]

    def fits(self, count: int) -> bool:
        """Whether there are so many arguments, with the name."""
        return count == self.arity if self.arity > 0 else count >= -self.arity

    @property
    def categories(self) -> list[str]:
        """Of Redis' access control."""
        flags, parent = self.flags, self.name.partition("|")[0]
        about_keys = bool(self.first_key) or self.covers_all or self.name == "object|help"
        found = {
            "keyspace": about_keys and self.group != "string",
            "read": "readonly" in flags,
            "write": "write" in flags,
            "string": self.group == "string",
            "admin": "admin" in flags,
            "fast": "fast" in flags,
            "slow": "fast" not in flags,
            "dangerous": "admin" in flags or self.name in ("flushall", "flushdb", "info", "keys"),
            "connection": (self.group == "connection" or parent == "command") and self.name != "client",
        }
        return [name for name, holds in found.items() if holds]


TABLE: Final[dict[str, Command]] = {}
_AT_ONCE: Final[dict[bytes, Command]] = {}
"""By the names as clients write them, those without subcommands."""


def command(
    name: str,
    arity: int,
    flags: str,
    keys: tuple[int, int, int],
    group: str,
    since: str,
    summary: str,
    syntax: str = "",
) -> Callable[[Handler], Handler]:
    """Put a handler into the table; "client|id" is the subcommand ID of CLIENT."""

    def register(handler: Handler) -> Handler:
        parent, _, own = name.rpartition("|")
        siblings = TABLE[parent].subcommands if parent else TABLE
        assert own not in siblings
        siblings[own] = Command(name, arity, tuple(flags.split()), *keys, group, since, summary, syntax, handler)
        if not parent:
            _AT_ONCE[name.encode()] = _AT_ONCE[name.upper().encode()] = siblings[own]
        return handler

    return register


def container(
    name: str, group: str, since: str, summary: str, help_since: str = "5.0.0", alone: Handler | None = None
) -> None:
    """Put a command into the table that has subcommands, and its HELP; `alone` handles it without one."""

    def needs_one(session: Session, arguments: Arguments) -> bytes:
        raise Refusal(wrong_number(name))

    def help_(session: Session, arguments: Arguments) -> bytes:
        lines = [f"{name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        subcommands = TABLE[name].subcommands
        for each, found in [*[*subcommands.items()][1:], ("help", subcommands["help"])]:
            lines += [f"{each.upper()} {found.syntax}".rstrip(), "    " + found.summary]
        return replies.array([replies.simple(line) for line in lines])

    TABLE[name] = Command(
        name,
        -1 if alone else -2,
        ("loading", "stale") if alone else (),
        *NO_KEY,
        group,
        since,
        summary,
        "",
        alone or needs_one,
    )
    command(f"{name}|help", 2, "loading stale", NO_KEY, group, help_since, "Prints this help.")(help_)


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
    found = _AT_ONCE.get(arguments[0])
    count = len(arguments)
    if found is not None and (count == found.arity or found.fits(count)):
        return found
    name = arguments[0].decode("latin-1").lower()
    found = TABLE.get(name)
    if found is None:
        if name in _REFUSED:
            refusal = TransactionRefusal if name == "multi" else Refusal
            raise refusal(f"ERR {name.upper()} is not supported: {_REFUSED[name]}")
        raise Refusal(_unknown(arguments))
    if found.subcommands and count > 1:
        own = arguments[1].decode("latin-1").lower()
        if own not in found.subcommands:
            raise Refusal(f"ERR unknown subcommand '{shown(arguments[1], 128)}'. Try {name.upper()} HELP.")
        found = found.subcommands[own]
    if not found.fits(count):
        raise Refusal(wrong_number(found.name))
    return found


def _unknown(arguments: Sequence[bytes]) -> str:
    beginning = ""
    for argument in arguments[1:]:
        if len(beginning) >= 128:
            break
        beginning += f"'{shown(argument, 128 - len(beginning))}' "
    return f"ERR unknown command '{shown(arguments[0], 128)}', with args beginning with: {beginning}"


def shown(argument: bytes, characters_max: int | None = None) -> str:
    """An argument in an error: as C has it, up to a NUL."""
    return argument.partition(b"\0")[0][:characters_max].decode("latin-1")


def wrong_number(name: str) -> str:
    """The text for too few or too many arguments."""
    return f"ERR wrong number of arguments for '{name}' command"


def too_large(value_bytes_max: int, size: int) -> str:
    """The text for a value that is longer than the cluster has them."""
    return f"ERR a value has at most {value_bytes_max} bytes, this one {size}"


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
    return replies.error(f"{_CODES.get(result.status, 'ERR')} {_reason(result)}")


def _reason(result: Result) -> str:
    return result.value.decode(errors="replace") if isinstance(result.value, bytes) else "no reason was given"


def worst_failure(results: Sequence[Result]) -> bytes | None:
    """The worst error among the results of a command that reads several keys, None if there is none."""
    return failure(max(results, key=lambda result: result.status))


def write_failure(results: Sequence[Result], changed: bool = False) -> bytes | None:
    """The error of a command that changes several keys, None if all went well; `changed`: it has changed some before.

    As a whole it certainly did not happen only if none of its operations can have.
    """
    worst = max(results, key=lambda result: result.status)
    failed = failure(worst)
    if failed is None or worst.status == errors.OutcomeUnknown.status:
        return failed
    if changed or any([result.status == operations.OK for result in results]):
        return replies.error(f"UNKNOWN some of the keys were changed, and others not: {_reason(worst)}")
    return failed


def in_windows(
    wanted: list[Operation],
    take: Callable[[list[Result], int], bytes | None],
    finish: Callable[[int], "bytes | Plan"],
    window: int = WINDOW,
) -> Plan:
    """A plan that has some of its operations under way at a time, however many there are.

    `take` is given the results in their order, some at a time, and may answer with an error, which ends it.
    """
    return _Windows(wanted, take, finish, window).plan()


class _Windows:
    """The plan of `in_windows`, and how far it is. No closure that names itself: only the collector would end it."""

    __slots__ = ("_done", "_finish", "_take", "_wanted", "_window")

    def __init__(
        self,
        wanted: list[Operation],
        take: Callable[[list[Result], int], bytes | None],
        finish: Callable[[int], "bytes | Plan"],
        window: int,
    ) -> None:
        self._wanted = wanted
        self._take = take
        self._finish = finish
        self._window = window
        self._done = 0

    def plan(self) -> Plan:
        return Plan(self._wanted[self._done : self._done + self._window], self._go_on)

    def _go_on(self, results: list[Result], protocol: int) -> bytes | Plan:
        failed = self._take(results, protocol)
        if failed is not None:
            return failed
        self._done += len(results)
        return self._finish(protocol) if self._done == len(self._wanted) else self.plan()


def counting(wanted: list[Operation], counts: Callable[[Result], bool], changes: bool) -> Plan:
    """The plan of a command that answers for how many keys something holds; `changes`: of those it has changed."""
    count = 0

    def take(results: list[Result], protocol: int) -> bytes | None:
        nonlocal count
        failed = write_failure(results, count > 0) if changes else worst_failure(results)
        count += sum([counts(result) for result in results])
        return failed

    window = WINDOW if changes else WINDOW_LARGE
    return in_windows(wanted, take, lambda protocol: replies.integer(count), window)


def value_of(result: Result) -> bytes | None:
    """The value in a result."""
    assert not isinstance(result.value, int)
    return result.value
