"""What the replicated state holds of each key: the records in memory, which of them storage lacks, and which may leave.

A record tells the version of the last operation that changed it. An operation whose version is not above that is
already in the record, so that entries can be applied again to records that were written later: recovery, checkpoints
in slices and snapshots in chunks stand on it (see `machine`). A deleted key keeps its record for the same reason.

Memory holds changed and recently used records. A record is dirty from its first change until a checkpoint has
written it; only clean ones are evicted, by second chance.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from paxoskv.core.scan import KeyOrder

VERSION_BYTES: Final = 8
EXPIRY_BYTES: Final = 8
_ABSENT: Final = b"\0"
_PRESENT: Final = b"\1"
_EXPIRING: Final = b"\2"

# What a cached key costs beyond its key and its value: the Record with its version, the two bytes objects' headers, its
# slots in the dictionary and on the clock. Measured with tracemalloc over 100,000 keys.
RECORD_BYTES: Final = 270

CLEAN: Final = 0
DIRTY: Final = 1
FOLDING: Final = 2


class Record:
    """One key: its value, None if it is absent, the version of what made it so, 0 if nothing ever did, and when the
    value ceases to exist, in milliseconds since the epoch, 0 for never."""

    __slots__ = ("expires_at", "key", "state", "used", "value", "version")

    def __init__(self, key: bytes, value: bytes | None = None, version: int = 0, expires_at: int = 0) -> None:
        self.key = key
        self.value = value
        self.version = version
        self.expires_at = expires_at
        self.state = CLEAN
        self.used = True

    def to_blob(self) -> bytes:
        """The record as storage keeps it: its version first, so that blobs compare as versions do."""
        head = self.version.to_bytes(VERSION_BYTES, "big")
        if self.value is None:
            return head + _ABSENT
        if self.expires_at:
            return head + _EXPIRING + self.expires_at.to_bytes(EXPIRY_BYTES, "big") + self.value
        return head + _PRESENT + self.value


def parse(blob: bytes) -> tuple[bytes | None, int, int]:
    """Value, version and expiry in a blob. Raises ValueError when it is none."""
    version = int.from_bytes(blob[:VERSION_BYTES], "big")
    flag = blob[VERSION_BYTES : VERSION_BYTES + 1]
    if flag == _PRESENT:
        return blob[VERSION_BYTES + 1 :], version, 0
    if flag == _EXPIRING and len(blob) > VERSION_BYTES + EXPIRY_BYTES:
        start = VERSION_BYTES + 1 + EXPIRY_BYTES
        return blob[start:], version, int.from_bytes(blob[VERSION_BYTES + 1 : start], "big")
    if flag != _ABSENT or len(blob) != VERSION_BYTES + 1:
        raise ValueError("not a record")
    return None, version, 0


class Records:
    """All records of one replica, as far as they are in memory.

    `complete` says that a key which is not resident has no record at all, so that nothing need be loaded; it holds
    from an empty store until the first eviction.
    """

    def __init__(self, cache_bytes: int) -> None:
        self.cache_bytes = cache_bytes
        self.complete = False
        self.resident: dict[bytes, Record] = {}
        self.bytes = 0
        self.evictions = 0
        self.loads = 0
        self.dirty: dict[bytes, Record] = {}
        self._clock: deque[Record] = deque()
        self.writing: set[bytes] = set()
        """Keys in slices that are on their way to storage."""
        self._folding: list[bytes] = []
        self.order: KeyOrder | None = None
        """The keys of dirty records, while somebody scans."""

    def unsaved(self) -> list[bytes]:
        """Keys of which storage has nothing, or something old, or may have."""
        return [*self.dirty, *sorted(self.writing)]

    def missing(self, keys: Sequence[bytes]) -> list[bytes]:
        """Which of the keys must be loaded before their records can be used."""
        resident = self.resident
        if self.complete or all(map(resident.__contains__, keys)):
            return []
        return [key for key in keys if key not in resident]

    def admit(self, key: bytes, blob: bytes | None) -> Record:
        """Make a record that storage brought resident. A resident one is newer and stays."""
        record = self.resident.get(key)
        if record is None:
            self.loads += 1
            record = self.add(Record(key) if blob is None else Record(key, *parse(blob)))
        return record

    def add(self, record: Record) -> Record:
        """Make a record resident."""
        self.resident[record.key] = record
        self._clock.append(record)
        self.bytes += RECORD_BYTES + len(record.key) + len(record.value or b"")
        return record

    def put(self, key: bytes, value: bytes | None, version: int, expires_at: int) -> None:
        """Take a record from another replica, unless the one here is as new."""
        record = self.resident.get(key)
        if record is None:
            record = self.add(Record(key, value, version, expires_at))
        elif record.version < version:
            self.bytes += len(value or b"") - len(record.value or b"")
            record.value, record.version, record.expires_at = value, version, expires_at
        else:
            return
        if record.state != DIRTY:
            record.state = DIRTY
            self.dirty[key] = record
            if self.order is not None:
                self.order.add(key)

    def evict(self, sweep_max: int) -> None:
        """While memory is over its bound: move the clock's hand, past `sweep_max` records at the most."""
        clock = self._clock
        for _ in range(min(sweep_max, len(clock))):
            if self.bytes <= self.cache_bytes:
                return
            record = clock.popleft()
            if record.used or record.state != CLEAN:
                record.used = False
                clock.append(record)
                continue
            del self.resident[record.key]
            self.bytes -= RECORD_BYTES + len(record.key) + len(record.value or b"")
            self.evictions += 1
            self.complete = False

    def begin_checkpoint(self) -> int:
        """Fix the records that this checkpoint writes. Changes from now on belong to the next one, too."""
        # By key, so that neighbours share pages.
        self._folding = sorted(self.dirty, reverse=True)
        return len(self._folding)

    def checkpoint_slice(self, limit: int, bytes_max: int) -> list[tuple[bytes, bytes]]:
        """The next records, at most `limit` and about `bytes_max`, each as it is now."""
        blobs: list[tuple[bytes, bytes]] = []
        size = 0
        while self._folding and len(blobs) < limit and size < bytes_max:
            record = self.dirty.pop(self._folding.pop(), None)
            if record is not None:
                record.state = FOLDING
                self.writing.add(record.key)
                blob = record.to_blob()
                size += len(blob)
                blobs.append((record.key, blob))
        return blobs

    def folded(self, keys: Iterable[bytes]) -> None:
        """A slice is on disk: what has not changed since is clean."""
        for key in keys:
            self.writing.discard(key)
            record = self.resident.get(key)
            if record is not None and record.state == FOLDING:
                record.state = CLEAN
