"""The acceptor's records, in memory and as storage keeps them."""

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from paxoskv.core.cache import BLANK, CLEAN, RecordCache
from paxoskv.paxos import register

_BLOB_HEAD: Final = Struct(">QQ")

# What a cached key costs beyond its key and its register: the Record with its integers, the two bytes objects'
# headers, its slots in the dictionary and on the clock. Measured with tracemalloc over 100,000 keys.
RECORD_BYTES: Final = 340

# What a record was before a change that is not on disk yet, and before that, as far as it matters: (sequence, accepted,
# register, what it was before: a Shadow, or None). A plain tuple, since one is made for every change; Any, since mypyc
# 2.4 does not survive an alias that names itself.
Shadow = tuple[int, int, bytes, Any]


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
        self.state = BLANK
        self.used = True
        self.busy = False
        """A chain stands on it; it must not be evicted."""

    @property
    def cached_bytes(self) -> int:
        """What it costs in memory."""
        return RECORD_BYTES + len(self.key) + len(self.register)

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
        record.state = CLEAN
        return record


class Records(RecordCache[Record]):
    """All records of one acceptor, as far as they are in memory."""

    def decode(self, key: bytes, blob: bytes | None) -> Record:
        return Record(key) if blob is None else Record.from_blob(key, blob)

    def get(self, key: bytes) -> Record | None:
        """The resident record; created when it is known not to exist; None when it must be loaded first."""
        record = self.resident.get(key)
        if record is None and self.complete:
            record = self.add(Record(key))
        return record

    def missing(self, keys: Sequence[bytes]) -> list[bytes]:
        """Which of the keys must be loaded before their records can be used. Records that are known not to exist are
        created."""
        resident = self.resident
        if all(map(resident.__contains__, keys)):
            return []
        absent = [key for key in keys if key not in resident]
        if self.complete:
            for key in dict.fromkeys(absent):
                self.add(Record(key))
            return []
        return absent
