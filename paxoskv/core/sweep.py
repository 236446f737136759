"""The sweep: what has expired, and nobody reads, is found in the order of the keys and made absent by consensus.

It goes through this node's own keys, those in memory and those in storage alike, by the pages that scans are made of.
So it needs no index of expiries, which every write would have to keep, in memory that a large store does not have. A
pass over keys of which none expires is followed by a long pause, so that who does not use expiry pays next to nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from paxoskv.core import operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.scan import Inner, LocalPages, after

# Between two pages, of up to a few hundred keys; none where the last one was full of what has expired.
_PAGE_S: Final = 0.25
_BUSY_S: Final = 0.02
_BUSY_KEYS: Final = 32
# Between two passes, when some key will expire, and when none will.
_PASS_S: Final = 1.0
_IDLE_S: Final = 60.0
# A page that never comes, since the disk hangs, or gets that are answered late, are waited for this long.
_PATIENCE_S: Final = 10.0
_KEYS_MAX: Final = 256


class Sweep:
    """One node's sweep. Bounded: a page at a time, and so many gets."""

    def __init__(
        self,
        pages: LocalPages,
        expiries: Callable[[list[bytes], dict[bytes, bytes]], Iterable[tuple[bytes, int, bool]]],
        get: Callable[[Operation], None],
    ) -> None:
        """`expiries` says of a page's keys which expire, when (milliseconds), and whether that is for this node to see
        to; `get` takes a get whose reply is an `Inner`: a read of what has expired makes it absent."""
        self._pages = pages
        self._expiries = expiries
        self._get = get
        self._start = b""
        self._wake = 0.0
        self._page = 0
        """Number of the page that is under way, 0 for none."""
        self._number = 0
        self._expiring = False
        """Some key of this pass will expire."""
        self._wall_ms = 0
        self._now = 0.0
        self._inner = Inner(self._answered)
        self._gets = 0
        """That are under way."""
        self.counters: dict[str, Any] = {"swept_keys": 0, "sweeps": 0}

    def tick(self, now: float, wall_ms: int, with_memory: bool) -> None:
        """Take the next page, if it is time; with keys that were never saved only if some of those may expire."""
        self._now = now
        self._wall_ms = wall_ms
        if now < self._wake:
            return
        if self._gets:
            # Without a majority they take as long as they may. More of them would not make it sooner.
            self._wake = now + _PAGE_S
            return
        self._number += 1
        number = self._page = self._number
        self._wake = now + _PATIENCE_S

        def found(keys: list[bytes], blobs: dict[bytes, bytes], following: bytes | None) -> None:
            if self._page == number:
                self._take(keys, blobs, following)

        if with_memory:
            self._pages.page(self._start, None, found, now)
        else:
            self._pages.saved(self._start, found)

    def _take(self, keys: list[bytes], blobs: dict[bytes, bytes], following: bytes | None) -> None:
        self._page = 0
        due: list[bytes] = []
        for key, expires_at, ours in self._expiries(keys, blobs):
            self._expiring = True
            if ours and expires_at <= self._wall_ms:
                due.append(key)
                if len(due) == _KEYS_MAX:
                    following = after(key)
                    break
        pause = _BUSY_S if len(due) >= _BUSY_KEYS else _PAGE_S
        if following is None:
            self.counters["sweeps"] += 1
            pause = _PASS_S if self._expiring else _IDLE_S
            self._expiring = False
            following = b""
        self._start = following
        self._wake = self._now + pause
        self.counters["swept_keys"] += len(due)
        self._gets += len(due)
        for key in due:
            self._get(Operation(operations.GET, key, deadline=self._now + _PATIENCE_S, reply=self._inner))

    def _answered(self, operation: Operation, result: Result) -> None:
        """Whatever it says: what is left is found in the next pass."""
        self._gets -= 1

    def deadline(self) -> float:
        """When the next tick is of use."""
        return self._wake
