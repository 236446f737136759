"""All keys: SCAN and what can be made of it. Each key is as it was at some moment of the command, not all at one."""

import random
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from paxoskv.core.operations import DELETE, OK, Operation, Result
from paxoskv.core.scan import PAGE_KEYS_MAX, ScanOperation, next_limit
from paxoskv.redis import replies
from paxoskv.redis.commands.globs import matcher, prefix_of
from paxoskv.redis.commands.table import (
    ANSWER_BYTES_MAX,
    ANSWER_TOO_LARGE,
    NO_KEY,
    SYNTAX_ERROR,
    Arguments,
    Plan,
    Refusal,
    command,
    failure,
    in_windows,
    integer,
    write_failure,
)
from paxoskv.redis.session import Session

_CURSORS_MAX: Final = 10_000
_PAGES_MAX: Final = 16
_CURSOR: Final = re.compile(rb"(?:([+-]?)0*([0-9]{1,20}))?")
_CURSOR_MAX: Final = 2**64 - 1


class Cursors:
    """Where scans go on, by the numbers that clients know: they are 64 bits, and keys are longer."""

    def __init__(self) -> None:
        self._scans: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        # Numbers of another node, or from before a restart, are hardly ever taken for ours.
        self._next = random.getrandbits(62)

    def begin(self, key: bytes, count: int) -> int:
        """A number for a key and how many keys come at once; it is forgotten after so many others."""
        self._next += 1
        self._scans[self._next] = key, count
        if len(self._scans) > _CURSORS_MAX:
            self._scans.popitem(last=False)
        return self._next

    def find(self, number: int) -> tuple[bytes, int] | None:
        """What a number stands for, None if it is not known, or not any more."""
        return self._scans.get(number)


_CURSORS: Final = Cursors()


def _every_page(start: bytes, end: bytes | None, take: "Taker") -> Plan:
    """The plan that gives every page of keys to `take`, until it has a reply."""
    scan = ScanOperation(start, end, keys_only=True)

    def finish(results: list[Result], protocol: int) -> bytes | Plan:
        failed = take.failure(results[0])
        if failed is not None:
            return failed
        return take([item.key for item in scan.items], scan.following, protocol)

    return Plan([scan], finish)


class Taker:
    """Takes pages of keys, and goes on until there is none left."""

    def __init__(self, end: bytes | None) -> None:
        self.end = end

    def __call__(self, keys: list[bytes], following: bytes | None, protocol: int) -> bytes | Plan:
        self.page(keys)
        if following is None or self.is_too_much:
            return self.reply(protocol)
        return _every_page(following, self.end, self)

    def failure(self, result: Result) -> bytes | None:
        """What to answer when a page is not to be had."""
        return failure(result)

    @property
    def is_too_much(self) -> bool:
        """No more pages are wanted."""
        return False

    def page(self, keys: list[bytes]) -> None:
        """Take a page."""
        raise NotImplementedError

    def reply(self, protocol: int) -> bytes:
        """The reply, after the last page."""
        raise NotImplementedError


class _Count(Taker):
    found = 0

    def page(self, keys: list[bytes]) -> None:
        self.found += len(keys)

    def reply(self, protocol: int) -> bytes:
        return replies.integer(self.found)


class _Match(Taker):
    def __init__(self, matches: Callable[[bytes], bool], end: bytes | None) -> None:
        super().__init__(end)
        self._matches = matches
        self._found: list[bytes] = []
        self._size = 0

    def page(self, keys: list[bytes]) -> None:
        found = replies.each_bulk(filter(self._matches, keys))
        self._size += sum(map(len, found))
        self._found += found

    @property
    def is_too_much(self) -> bool:
        return self._size > ANSWER_BYTES_MAX

    def reply(self, protocol: int) -> bytes:
        return replies.error(f"{ANSWER_TOO_LARGE}, with SCAN") if self.is_too_much else replies.array(self._found)


class _Any(Taker):
    """One key by chance: of n seen, each with the same probability."""

    seen = 0
    chosen: bytes | None = None

    def page(self, keys: list[bytes]) -> None:
        if keys and random.randrange(self.seen + len(keys)) >= self.seen:
            self.chosen = random.choice(keys)
        self.seen += len(keys)

    def reply(self, protocol: int) -> bytes:
        return replies.bulk_or_null(self.chosen, protocol)


@command("dbsize", 1, "readonly fast", NO_KEY, "server", "1.0.0", "Counts the keys, by reading all of them.")
def dbsize(session: Session, arguments: Arguments) -> Plan:
    return _every_page(b"", None, _Count(None))


@command("randomkey", 1, "readonly", NO_KEY, "generic", "1.0.0", "Returns a key by chance, after reading all of them.")
def randomkey(session: Session, arguments: Arguments) -> Plan:
    return _every_page(b"", None, _Any(None))


@command("keys", 2, "readonly", NO_KEY, "generic", "1.0.0", "Returns the keys that match a pattern.", "pattern")
def keys(session: Session, arguments: Arguments) -> Plan:
    start, end = prefix_of(arguments[0])
    return _every_page(start, end, _Match(matcher(arguments[0], session.host.key_bytes_max), end))


@command(
    "scan",
    -2,
    "readonly",
    NO_KEY,
    "generic",
    "2.8.0",
    "Goes through the keys, a page at a time.",
    "cursor [MATCH pattern] [COUNT count] [TYPE type]",
)
def scan(session: Session, arguments: Arguments) -> bytes | Plan:
    options = deque(arguments)
    text = options.popleft()
    # As strtoul has it: a sign is no error, and neither is nothing at all.
    match = _CURSOR.fullmatch(text)
    number = _CURSOR_MAX + 1 if match is None else int((match[1] or b"") + (match[2] or b"0"))
    if abs(number) > _CURSOR_MAX:
        raise Refusal("ERR invalid cursor")
    pattern, wanted = b"*", b"string"
    count = 10
    while options:
        option = options.popleft().upper()
        if option not in (b"MATCH", b"COUNT", b"TYPE") or not options:
            raise Refusal(SYNTAX_ERROR)
        value = options.popleft()
        if option == b"MATCH":
            pattern = value
        elif option == b"TYPE":
            wanted = value.lower()
        else:
            count = integer(value)
            if count < 1:
                raise Refusal(SYNTAX_ERROR)
    start, end = prefix_of(pattern)
    if number:
        known = _CURSORS.find(number)
        if known is None:
            raise Refusal("ERR invalid cursor: this node has not given it, or long ago; scan again from 0")
        start = max(start, known[0])
        count = max(count, known[1])
    matches = matcher(pattern, session.host.key_bytes_max)

    def page(start: bytes, found: list[bytes], wanted_keys: int, pages_left: int) -> Plan:
        operation = ScanOperation(start, end, keys_only=True, limit=wanted_keys)

        def finish(results: list[Result], protocol: int) -> bytes | Plan:
            failed = failure(results[0])
            if failed is not None:
                return failed
            keys = found + [item.key for item in operation.items]
            following = operation.following
            if len(keys) < count and following is not None and pages_left:
                # Much of what was here is deleted; that is no news to anybody.
                more = next_limit(wanted_keys, len(operation.items), count - len(keys))
                return page(following, keys, more, pages_left - 1)
            if len(keys) > count:
                following = keys[count]
                keys = keys[:count]
            # A page of a few keys costs a round trip to a quorum, as one of many does, and COUNT is a hint: who goes on
            # gets twice as many.
            cursor = _CURSORS.begin(following, min(2 * count, PAGE_KEYS_MAX)) if following is not None else 0
            shown = [key for key in keys if matches(key)] if wanted == b"string" else []
            return replies.array([replies.bulk(b"%d" % cursor), replies.bulks(shown)])

        return Plan([operation], finish)

    return page(start, [], min(count, PAGE_KEYS_MAX), _PAGES_MAX)


class _Flush(Taker):
    """Deletes what a page has before it asks for the next."""

    deleted = 0

    def failure(self, result: Result) -> bytes | None:
        return write_failure([result], self.deleted > 0)

    def __call__(self, keys: list[bytes], following: bytes | None, protocol: int) -> bytes | Plan:
        def take(results: list[Result], protocol: int) -> bytes | None:
            failed = write_failure(results, self.deleted > 0)
            self.deleted += sum([result.status == OK for result in results])
            return failed

        def go_on(protocol: int) -> bytes | Plan:
            return replies.OK if following is None else _every_page(following, self.end, self)

        return in_windows([Operation(DELETE, key) for key in keys], take, go_on) if keys else go_on(protocol)


def _flush(session: Session, arguments: Arguments) -> Plan:
    if len(arguments) > 1 or (arguments and arguments[0].upper() not in (b"SYNC", b"ASYNC")):
        raise Refusal(SYNTAX_ERROR)
    return _every_page(b"", None, _Flush(None))


command("flushall", -1, "write", NO_KEY, "server", "1.0.0", "Deletes all keys, each for itself.", "[ASYNC|SYNC]")(
    _flush
)
command("flushdb", -1, "write", NO_KEY, "server", "1.0.0", "Deletes all keys, each for itself.", "[ASYNC|SYNC]")(_flush)
