"""Scans: what a client asks, what one node has of a range of keys, and the page that is made of it.

Both engines use these parts. A node knows some keys from memory and the others from storage, which has them in order;
`LocalPages` brings both together, a page at a time. `Pages` are linearizable key by key, not as a whole: each key is as
it was at some moment while the page was made. A key that exists during all of a scan is in it.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from typing import Final, NamedTuple, Protocol

from paxoskv.core import operations
from paxoskv.core.engine import Scan
from paxoskv.core.operations import Operation, Result

PAGE_KEYS_MAX: Final = 2048
LIMIT_MAX: Final = 2**63 - 1
_RUN_KEYS: Final = 8192
# Gets of one page that are under way at a time: values may be large.
_GETS_MAX: Final = 64
# Of this node's own keys, on their way; further ones never come, as while the disk hangs.
_PAGES_MAX: Final = 1024


class Item(NamedTuple):
    """A key that exists. The value is None where keys alone were asked for."""

    key: bytes
    value: bytes | None
    version: int
    expires_at: int


class ScanOperation(Operation):
    """A read of the keys from `key` up to `end` (exclusive; None: to the last one), in their order, a page at a time.

    When it is answered with OK, `items` is the page, which may be empty, and `following` the key to begin the next one
    at, None if this was the last. A page is made of at most `limit` keys, those among them that are absent included.
    """

    __slots__ = ("end", "following", "items", "keys_only", "limit")

    def __init__(
        self,
        start: bytes,
        end: bytes | None,
        keys_only: bool = False,
        deadline: float = float("inf"),
        reply: object = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(operations.GET, start, None, None, deadline, reply)
        self.end = end
        self.keys_only = keys_only
        self.limit = limit
        self.items: list[Item] = []
        self.following: bytes | None = None

    def __repr__(self) -> str:
        return f"<scan {self.key!r} to {self.end!r}>"


def after(key: bytes) -> bytes:
    """The least key beyond `key`."""
    return key + b"\0"


def prefix_end(prefix: bytes) -> bytes | None:
    """The least key that does not begin with `prefix`, nor comes before what does; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


class KeyOrder:
    """Keys in order, of which new ones come at any time; a superset of those that storage does not have yet.

    Sorted runs of bounded length, merged only where a page is: sorting them, one in a turn, never holds a node up.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        everything = list(keys)
        self._unsorted = [everything[i : i + _RUN_KEYS] for i in range(0, len(everything), _RUN_KEYS)]
        self._runs: list[list[bytes]] = []
        self._fresh: list[bytes] = []
        self._added: set[bytes] = set()
        self.size = len(everything)

    def add(self, key: bytes) -> None:
        """A key that storage does not have."""
        if key not in self._added:
            self._added.add(key)
            self._fresh.append(key)
            self.size += 1

    def advance(self) -> bool:
        """Sort some more; True when all is sorted."""
        if self._unsorted:
            run = self._unsorted.pop()
            run.sort()
            self._runs.append(run)
        return not self._unsorted

    def first(self, start: bytes, end: bytes | None, count: int) -> list[bytes]:
        """The first keys from `start` on and before `end`, at most so many, each once."""
        assert not self._unsorted
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            if self._runs and len(self._runs[-1]) + len(fresh) <= _RUN_KEYS:
                fresh += self._runs.pop()
            fresh.sort()
            self._runs.append(fresh)
        found: list[bytes] = []
        last = None
        # By index: a slice of an iterator would step over all that lies before `start`.
        for key in merge(*[map(run.__getitem__, range(bisect_left(run, start), len(run))) for run in self._runs]):
            if (end is not None and key >= end) or len(found) >= count:
                break
            if key != last:
                found.append(key)
                last = key
        return found


class Remembers(Protocol):
    """The records of an engine, as far as a scan is concerned."""

    order: KeyOrder | None
    """Told of every key that becomes unsaved, while there is one."""

    def unsaved(self) -> list[bytes]:
        """Keys of which storage has nothing, or something old, or may have."""


Found = Callable[[list[bytes], dict[bytes, bytes], bytes | None], None]
"""Takes a page of one node: keys in order, what storage has of some, and the key to go on from, None at the end."""


class LocalPages:
    """Pages of this node's own keys."""

    def __init__(self, records: Remembers, ask: Callable[[Scan], None]) -> None:
        """`ask` wants records from storage; `scanned` brings them."""
        self._records = records
        self._ask = ask
        self._number = 0
        self._asked: dict[int, tuple[bytes, bytes | None, int | None, Found]] = {}
        self._waiting: list[tuple[bytes, bytes | None, int | None, Found]] = []
        self._saved: dict[int, Found] = {}
        self._ready: deque[
            tuple[bytes, bytes | None, int | None, Found, Sequence[tuple[bytes, bytes]], bytes | None]
        ] = deque()
        self._used_at = 0.0
        self._unsaved_max = 0

    def saved(self, start: bytes, found: Found) -> None:
        """The same of what storage has, alone: cheaper, and blind for keys that were never saved."""
        if len(self._saved) >= _PAGES_MAX:
            return  # The disk hangs.
        self._number += 1
        self._saved[self._number] = found
        self._ask(Scan(start, None, b"", self._number))

    def page(self, start: bytes, end: bytes | None, found: Found, now: float, limit: int | None = None) -> None:
        """Have `found` called with the page that begins at `start`, of at most `limit` keys, or never while the disk
        hangs."""
        self._used_at = now
        if len(self._asked) + len(self._waiting) >= _PAGES_MAX:
            return  # The disk hangs.
        self._waiting.append((start, end, limit, found))
        self._begin()

    def _begin(self) -> None:
        """Ask storage for the pages that wait, unless the order has to be made anew before, for which those that are
        under way have to end: they need the one that there is."""
        records = self._records
        order = records.order
        if order is None or order.size > 2 * _RUN_KEYS + 2 * self._unsaved_max:
            if self._asked or self._ready:
                return
            # Before storage is asked: what is saved while it answers is in the order then.
            unsaved = records.unsaved()
            self._unsaved_max = len(unsaved)
            records.order = KeyOrder(unsaved)
        waiting, self._waiting = self._waiting, []
        for start, end, limit, found in waiting:
            self._number += 1
            self._asked[self._number] = (start, end, limit, found)
            self._ask(Scan(start, end, b"", self._number, limit))

    def scanned(self, number: int, records: Sequence[tuple[bytes, bytes]], beyond: bytes | None) -> None:
        """Storage has answered."""
        alone = self._saved.pop(number, None)
        if alone is not None:
            alone(sorted([key for key, _ in records]), dict(records), None if beyond is None else after(beyond))
            return
        asked = self._asked.pop(number, None)
        if asked is not None:
            self._ready.append((*asked, records, beyond))

    @property
    def busy(self) -> bool:
        """`advance` has something to do."""
        return bool(self._ready)

    def advance(self) -> None:
        """Once a turn."""
        order = self._records.order
        if not self._ready or order is None or not order.advance():
            return
        while self._ready:
            start, end, limit, found, records, beyond = self._ready.popleft()
            blobs = dict(records)
            until = end if beyond is None else after(beyond)
            most = PAGE_KEYS_MAX if limit is None else min(limit, PAGE_KEYS_MAX)
            memory = order.first(start, until, most)
            for key in memory:
                # It was not saved when storage was asked, or has changed since: what storage had may be an older record
                # than one that has been saved, and has left memory, meanwhile.
                blobs.pop(key, None)
            goes_on = until if beyond is not None else None
            keys = sorted({*memory, *blobs})
            if len(memory) == most:
                goes_on = after(memory[-1])
                keys = keys[: bisect_left(keys, goes_on)]
            if limit is not None and len(keys) > limit:
                goes_on = keys[limit]
                del keys[limit:]
            found(keys, blobs, goes_on)
        if self._waiting:
            self._begin()

    def tick(self, now: float) -> None:
        """Forget the order when nobody scans any more."""
        if self._records.order is not None and not self._asked and not self._ready and now > self._used_at + 60.0:
            self._records.order = None


class Inner:
    """What a get that an engine asks of itself carries as `reply`."""

    __slots__ = ("answered",)

    def __init__(self, answered: Callable[[Operation, Result], None]) -> None:
        self.answered = answered


class Assembly:
    """A page on its way: keys whose value is known already, and others that take a get."""

    def __init__(
        self,
        operation: ScanOperation,
        keys: Sequence[tuple[bytes, tuple[bytes | None, int, int] | None]],
        following: bytes | None,
        page_bytes: int,
        get: Callable[[Operation], None],
        answer: Callable[[Operation, Result], None],
    ) -> None:
        """`keys`: in order, each with value, version and expiry if these are known. Past `page_bytes` the page ends.
        `get` takes a get whose `reply` is an `Inner`; `answer` is told of the result once."""
        self._operation = operation
        self._left = deque(keys)
        self._following = following
        self._page_bytes = page_bytes
        self._get = get
        self._answer = answer
        self._waits = 0
        self._known: dict[bytes, tuple[bytes | None, int, int]] = {}
        self._size = 0
        self._inner = Inner(self._answered)

    def advance(self) -> None:
        """Go on, until gets are to be waited for or the page is done."""
        operation = self._operation
        if operation.done:
            return
        while self._left and not self._waits:
            window: list[bytes] = []
            while self._left and len(window) < _GETS_MAX and self._size <= self._page_bytes:
                key, known = self._left.popleft()
                if known is None:
                    window.append(key)
                else:
                    self._take(key, *known)
            self._waits = len(window)
            for key in window:
                self._get(Operation(operations.GET, key, deadline=operation.deadline, reply=self._inner))
            if self._size > self._page_bytes and self._left:
                self._following = self._left[0][0]
                self._left.clear()
        if not self._waits:
            keys_only = operation.keys_only
            operation.items = [
                Item(key, None if keys_only else value, version, expires_at)
                for key, (value, version, expires_at) in sorted(self._known.items())
                if value is not None
            ]
            operation.following = self._following
            self._answer(operation, Result(operations.OK, None, 0))

    def _take(self, key: bytes, value: bytes | None, version: int, expires_at: int) -> None:
        self._known[key] = (value, version, expires_at)
        self._size += len(key) + 32
        if value is not None and not self._operation.keys_only:
            self._size += len(value)

    def _answered(self, operation: Operation, result: Result) -> None:
        self._waits -= 1
        if self._operation.done:
            return
        if result.status != operations.OK:
            self._left.clear()
            self._answer(self._operation, Result(result.status, result.value, 0))
            return
        value = result.value
        assert not isinstance(value, int)
        self._take(operation.key, value, result.version, result.expires_at)
        if not self._waits:
            self.advance()


def next_limit(limit: int, found: int, left: int) -> int:
    """Of how many keys a scan's next page is made that wants `left` more, after one of `limit` that had `found`.

    Deleted keys that are not yet forgotten count. Where there were some, twice as many are asked for as before, or else
    a scan that wants one key would look at one deleted key in each round trip.
    """
    return min(left if found == limit else max(left, 2 * limit), PAGE_KEYS_MAX)
