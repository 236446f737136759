"""Snapshots for followers that are behind the log; dissertation, chapter 5, and after it in the order of what is sent.

The records are the snapshot. Nothing is copied and nothing stops: each is sent as it is when its turn comes, which is
as of some index at or after the base, and that is all that (M1) asks. First go those that storage does not have yet,
then storage is read in the order of the keys, a handful at a time, records in memory taking precedence. Who has been
away gets only what has changed since the index up to which it had applied the log.

Parts are acknowledged when they are durable, and sent again otherwise, whatever happens to connections and to the
follower in between; only then `Install` follows, which moves the follower's log to the base.
"""

from collections import deque
from collections.abc import Sequence

from paxoskv.core.engine import Scan
from paxoskv.core.scan import after
from paxoskv.raft.context import Context
from paxoskv.raft.entry import POSITION_BITS
from paxoskv.raft.machine import StateMachine
from paxoskv.raft.messages import Chunk, Install
from paxoskv.raft.records import VERSION_BYTES


class Sender:
    """One snapshot on its way to one follower."""

    def __init__(self, context: Context, machine: StateMachine, term: int, snapshot: int, since: int) -> None:
        """`since`: the follower's records hold everything up to there."""
        self.snapshot = snapshot
        self.since = since
        self.base = machine.base()
        self.chunks = 0
        self.progress_at = context.now
        """When something of it was last stored."""
        self.scanning = False
        self._context = context
        self._records = machine.records
        self._term = term
        self._version_min = since + 1 << POSITION_BITS
        self._floor = self._version_min.to_bytes(VERSION_BYTES, "big")
        self._unsaved = machine.records.unsaved()
        """Keys of which storage has nothing, or something old."""
        self._first: set[bytes] = set()
        """Those of them that went, from memory; not again when storage is read and has them by then."""
        self._after: bytes | None = b""
        """The last key read from storage, None at its end."""
        self._found: deque[tuple[bytes, bytes]] = deque()
        self._number = 0
        self._unacknowledged: dict[int, Chunk | Install] = {}
        self._sent_at = 0.0
        self._installing = False

    def pump(self, peer: int, may_scan: bool) -> Scan | None:
        """Send what the window allows. Answers what storage has to be asked, if it may; `scanned` brings the answer."""
        context = self._context
        if self._unacknowledged and self._sent_at + context.timing.resend_s <= context.now:
            self.resend(peer)
        while len(self._unacknowledged) < context.flow.window_chunks and not self._installing:
            chunk = self._next_chunk()
            if chunk is not None:
                self.chunks += 1
                self._send(peer, chunk)
            elif self._after is not None:
                if self.scanning or not may_scan:
                    return None
                self.scanning = True
                return Scan(after(self._after), None, self._floor, 0)
            elif self._unacknowledged:
                return None
            else:
                self._installing = True
                self._number += 1
                self._send(peer, Install(self._term, self.snapshot, self._number, self.since, self.base))
        return None

    def _send(self, peer: int, message: Chunk | Install) -> None:
        self._unacknowledged[message.number] = message
        self._sent_at = self._context.now
        self._context.send(peer, message)

    def resend(self, peer: int) -> None:
        """Send again what was not acknowledged."""
        self._sent_at = self._context.now
        for message in self._unacknowledged.values():
            self._context.send(peer, message)

    def _next_chunk(self) -> Chunk | None:
        keys: list[bytes] = []
        blobs: list[bytes] = []
        size = 0
        resident = self._records.resident
        while size < self._context.flow.chunk_bytes:
            if self._unsaved:
                key, blob = self._unsaved.pop(), b""
                record = resident.get(key)
                # What is not there is in storage by now, and comes when that is read. What is too old is not even
                # encoded: of a million in memory the follower may lack ten.
                if record is None or record.version < self._version_min:
                    continue
                self._first.add(key)
            elif self._found:
                key, blob = self._found.popleft()
                if key in self._first:
                    continue
                record = resident.get(key)
            else:
                break
            if record is not None:
                blob = record.to_blob()
            if blob >= self._floor:
                keys.append(key)
                blobs.append(blob)
                size += len(key) + len(blob)
        if not keys:
            return None
        self._number += 1
        return Chunk(self._term, self.snapshot, self._number, self.base.index, tuple(keys), tuple(blobs))

    def scanned(self, records: Sequence[tuple[bytes, bytes]], last: bytes | None) -> None:
        """What storage has, and where to go on."""
        self.scanning = False
        self._found.extend(records)
        self._after = last

    def on_stored(self, number: int) -> bool:
        """A part is durable. True when that was the last."""
        message = self._unacknowledged.pop(number, None)
        if message is not None:
            self.progress_at = self._context.now
        return type(message) is Install
