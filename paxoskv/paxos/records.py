"""The acceptor's records: those in memory, which of them storage does not have yet, and which may leave.

Memory holds changed and recently used records. A record is dirty from its first change until a checkpoint has
written it; only clean ones are evicted, by second chance: a record that was used since the clock's hand last came by
stays for another round.
"""

from collections import deque
from collections.abc import Sequence
from struct import Struct
from typing import Final

from paxoskv.core.scan import KeyOrder
from paxoskv.paxos import register

_BLOB_HEAD: Final = Struct(">QQ")

# What a cached key costs beyond its key and its register: the Record with its integers, the two bytes objects'
# headers, its slots in the dictionary and on the clock. Measured with tracemalloc over 100,000 keys.
RECORD_BYTES: Final = 340

CLEAN: Final = 0
DIRTY: Final = 1
FOLDING: Final = 2


# What a record was before a change that is not on disk yet, and before that, as far as it matters: (sequence, accepted,
# register, what it was before). A plain tuple, since one is made for every change.
Shadow = tuple[int, int, bytes, "Shadow | None"]


class Record:
    """One key's vote, as protocol.md section 1 has it, and its state of durability.

    `sequence` is the turn whose journal entry holds the last change. `held`: this very incarnation proposed
    `accepted`, it was chosen, and no other node has been promised anything since, so that its proposer may go on from
    `register` without asking (see `proposer`).
    """

    __slots__ = (
        "accepted",
        "busy",
        "held",
        "key",
        "promised",
        "register",
        "sequence",
        "shadow",
        "state",
        "used",
    )

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.promised = 0
        self.accepted = 0
        self.register = register.EMPTY
        self.sequence = 0
        self.shadow: Shadow | None = None
        self.held = False
        self.state = CLEAN
        self.used = True
        self.busy = False
        """A chain stands on it; it must not be evicted."""

    def to_blob(self) -> bytes:
        """The record as storage keeps it."""
        return _BLOB_HEAD.pack(self.promised, self.accepted) + self.register

    @classmethod
    def from_blob(cls, key: bytes, blob: bytes) -> "Record":
        """The inverse. Raises ValueError when the bytes are no record."""
        record = cls(key)
        if len(blob) < _BLOB_HEAD.size:
            raise ValueError(f"the record of key {key!r} is damaged")
        record.promised, record.accepted = _BLOB_HEAD.unpack_from(blob)
        record.register = blob[_BLOB_HEAD.size :]
        register.check(record.register)
        return record


class Records:
    """All records of one acceptor, as far as they are in memory.

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
        self._folding: list[Record] = []
        self._writing: set[bytes] = set()
        """Keys in slices that are on their way to storage."""
        self.order: KeyOrder | None = None
        """The keys of dirty records, while somebody scans."""

    def unsaved(self) -> list[bytes]:
        """Keys of which storage has nothing, or something old, or may have."""
        return [*self.dirty, *self._writing]

    def get(self, key: bytes) -> Record | None:
        """The resident record; created when it is known not to exist; None when it must be loaded first."""
        record = self.resident.get(key)
        if record is None and self.complete:
            record = self._add(Record(key))
        return record

    def missing(self, keys: Sequence[bytes]) -> list[bytes]:
        """Which of the keys must be loaded before their records can be used."""
        resident = self.resident
        if all(map(resident.__contains__, keys)):
            return []
        absent = [key for key in keys if key not in resident]
        if self.complete:
            for key in dict.fromkeys(absent):
                self._add(Record(key))
            return []
        return absent

    def has(self, keys: Sequence[bytes]) -> bool:
        """Whether every key is in memory, or known to have no record."""
        return self.complete or all(map(self.resident.__contains__, keys))

    def admit(self, key: bytes, blob: bytes | None) -> Record:
        """Make a record that storage brought resident. A resident one is newer and stays."""
        record = self.resident.get(key)
        if record is None:
            self.loads += 1
            record = self._add(Record(key) if blob is None else Record.from_blob(key, blob))
        return record

    def _add(self, record: Record) -> Record:
        self.resident[record.key] = record
        self._clock.append(record)
        self.bytes += RECORD_BYTES + len(record.key) + len(record.register)
        return record

    def evict(self, sweep_max: int) -> None:
        """While memory is over its bound: move the clock's hand, past `sweep_max` records at the most."""
        clock = self._clock
        for _ in range(min(sweep_max, len(clock))):
            if self.bytes <= self.cache_bytes:
                return
            record = clock.popleft()
            if record.used or record.state != CLEAN or record.busy:
                record.used = False
                clock.append(record)
                continue
            del self.resident[record.key]
            self.bytes -= RECORD_BYTES + len(record.key) + len(record.register)
            self.evictions += 1
            self.complete = False

    def begin_checkpoint(self) -> int:
        """Fix the records that this checkpoint writes. Changes from now on belong to the next one, too."""
        self._folding = sorted(self.dirty.values(), key=lambda record: record.key, reverse=True)
        return len(self._folding)

    def checkpoint_slice(self, limit: int, bytes_max: int) -> list[tuple[bytes, bytes]]:
        """The next records, at most `limit` and about `bytes_max`; by key, so that neighbours share pages.

        A record is written as it is now, though part of that may not be journaled durably yet. A disk that is ahead
        of what was acknowledged is an acceptor whose answer got lost, and no more.
        """
        blobs: list[tuple[bytes, bytes]] = []
        size = 0
        while self._folding and len(blobs) < limit and size < bytes_max:
            record = self._folding.pop()
            if record.state == DIRTY:
                record.state = FOLDING
                self.dirty.pop(record.key, None)
                self._writing.add(record.key)
                blob = record.to_blob()
                size += len(blob)
                blobs.append((record.key, blob))
        return blobs

    def folded(self, keys: Sequence[bytes]) -> None:
        """A slice is on disk: what has not changed since is clean."""
        self._writing.difference_update(keys)
        for key in keys:
            record = self.resident[key]
            if record.state == FOLDING:
                record.state = CLEAN
