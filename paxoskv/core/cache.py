"""The records of one node: those in memory, which of them storage does not have yet, and which may leave.

Memory holds changed and recently used records. A record is dirty from its first change until a checkpoint has
written it; only clean ones are evicted, by second chance: a record that was used since the clock's hand last came by
stays for another round. Both engines keep theirs so; what a record is, each knows for itself.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final, Generic, Protocol, TypeVar

from paxoskv.core.scan import KeyOrder

# States of a record, in the order of how much would be lost with it.
BLANK: Final = 0
CLEAN: Final = 1
DIRTY: Final = 2
FOLDING: Final = 3
ORDER_KEYS: Final = 4096
"""So many keys are sorted at a time, in about a millisecond; all at once, 300,000 held the node up for 0.2 s."""


class CachedRecord(Protocol):
    """What the cache asks of a record."""

    key: bytes
    state: int
    """BLANK while it only says that the key has no record; CLEAN, DIRTY, or FOLDING while a checkpoint writes it."""
    used: bool

    @property
    def busy(self) -> bool:
        """It must not be evicted now."""

    @property
    def cached_bytes(self) -> int:
        """What it costs in memory, its key and all."""

    def to_blob(self) -> bytes:
        """The record as storage keeps it."""


RecordT = TypeVar("RecordT", bound=CachedRecord)


class RecordCache(Generic[RecordT]):
    """All records of one node, as far as they are in memory. Who changes one's size tells `bytes`.

    `complete` says that a key which is not resident has no record at all, so that nothing need be loaded; it holds
    from an empty store until the first eviction.
    """

    def __init__(self, cache_bytes: int) -> None:
        self.cache_bytes = cache_bytes
        self.complete = False
        self.resident: dict[bytes, RecordT] = {}
        self.bytes = 0
        self.blank = 0
        """How many of the resident ones are BLANK."""
        self.evictions = 0
        self.loads = 0
        self.dirty: dict[bytes, RecordT] = {}
        self.writing: set[bytes] = set()
        """Keys in slices that are on their way to storage."""
        self.order: KeyOrder | None = None
        """The keys of dirty records, while somebody scans."""
        self._clock: deque[RecordT] = deque()
        # A checkpoint's keys: not sorted yet; in sorted runs; merged from these.
        self._unordered: list[bytes] = []
        self._runs: list[list[bytes]] = []
        self._folding: Iterator[bytes] = iter(())

    def decode(self, key: bytes, blob: bytes | None) -> RecordT:
        """The record in a blob, or that of a key which has none. Raises ValueError when the bytes are no record."""
        raise NotImplementedError

    def unsaved(self) -> list[bytes]:
        """Keys of which storage has nothing, or something old, or may have."""
        return [*self.dirty, *sorted(self.writing)]

    def missing(self, keys: Sequence[bytes]) -> list[bytes]:
        """Which of the keys must be loaded before their records can be used."""
        resident = self.resident
        if self.complete or all(map(resident.__contains__, keys)):
            return []
        return [key for key in keys if key not in resident]

    def has(self, keys: Sequence[bytes]) -> bool:
        """Whether every key is in memory, or known to have no record."""
        return self.complete or all(map(self.resident.__contains__, keys))

    def admit(self, key: bytes, blob: bytes | None) -> RecordT:
        """Make a record that storage brought resident. A resident one is newer and stays."""
        record = self.resident.get(key)
        if record is None:
            self.loads += 1
            record = self.add(self.decode(key, blob))
        return record

    def add(self, record: RecordT) -> RecordT:
        """Make a record resident."""
        self.resident[record.key] = record
        self._clock.append(record)
        self.bytes += record.cached_bytes
        if record.state == BLANK:
            self.blank += 1
        return record

    def soil(self, record: RecordT) -> None:
        """The record differs from what storage has."""
        if record.state != DIRTY:
            if record.state == BLANK:
                self.blank -= 1
            record.state = DIRTY
            self.dirty[record.key] = record
            if self.order is not None:
                self.order.add(record.key)

    def evict(self, sweep_max: int) -> None:
        """While memory is over its bound: move the clock's hand, past `sweep_max` records at the most."""
        clock = self._clock
        for _ in range(min(sweep_max, len(clock))):
            if self.bytes <= self.cache_bytes:
                return
            record = clock.popleft()
            if record.used or record.state > CLEAN or record.busy:
                record.used = False
                clock.append(record)
                continue
            if record.state == BLANK:
                self.blank -= 1
            del self.resident[record.key]
            self.bytes -= record.cached_bytes
            self.evictions += 1
            self.complete = False

    @property
    def wants_checkpoint(self) -> bool:
        """Memory is over its bound, and changed records take a good part of it."""
        return self.bytes > self.cache_bytes and len(self.dirty) * 4 > len(self.resident)

    def begin_checkpoint(self) -> int:
        """Fix the records that this checkpoint writes. Changes from now on belong to the next one, too."""
        self._unordered, self._runs, self._folding = list(self.dirty), [], iter(())
        return len(self._unordered)

    def order_checkpoint(self) -> bool:
        """Bring some of those records into the order of their keys, so that neighbours share pages.

        False when there is no more to order. `checkpoint_slice` does what is left.
        """
        if not self._unordered:
            return False
        run = self._unordered[-ORDER_KEYS:]
        del self._unordered[-ORDER_KEYS:]
        run.sort()
        self._runs.append(run)
        if self._unordered:
            return True
        runs, self._runs = self._runs, []
        self._folding = merge(*runs)
        return False

    def checkpoint_slice(self, limit: int, bytes_max: int) -> list[tuple[bytes, bytes]]:
        """The next records, at most `limit` and about `bytes_max`.

        A record is written as it is now, though part of that may not be journaled durably yet. A disk that is ahead
        of what was acknowledged is that of a node whose answer got lost, and no more.
        """
        while self.order_checkpoint():
            pass
        blobs: list[tuple[bytes, bytes]] = []
        size = 0
        while len(blobs) < limit and size < bytes_max and (key := next(self._folding, None)) is not None:
            record = self.dirty.pop(key, None)
            if record is not None:
                record.state = FOLDING
                self.writing.add(key)
                blob = record.to_blob()
                size += len(blob)
                blobs.append((key, blob))
        return blobs

    def folded(self, keys: Sequence[bytes]) -> None:
        """A slice is on disk: what has not changed since is clean."""
        self.writing.difference_update(keys)
        for key in keys:
            record = self.resident.get(key)
            if record is not None and record.state == FOLDING:
                record.state = CLEAN
