"""The in-memory twin of `SqliteStorage`, for tests: a disk that forgets, fills up, fails and hangs on demand.

A `MemoryDisk` is what survives; a `MemoryStorage` is one process using it. Closing the process or crashing the disk
leaves the disk, to be opened again.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NoReturn

from paxoskv.core.errors import StorageError
from paxoskv.storage.contract import Identity

REPLAY_ROWS = 1000
SCAN_ROWS = 64
SCAN_BYTES = 256 << 10


class MemoryDisk:
    """What is on the disk, and the switches of its faults."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.uuid = ""
        self.incarnation = 0
        self.journal: list[bytes] = []
        """Committed and not trimmed, oldest first."""
        self.trimmed = 0
        """How many rows were trimmed before those."""
        self.records: dict[bytes, bytes] = {}
        self.peers: dict[int, str] = {}
        self.user: MemoryStorage | None = None

    def crash(self, surviving: int = 0) -> None:
        """Lose what is not committed, but for the oldest `surviving` rows: those got to the disk unreported.

        Whoever uses the disk is cut off: it hears nothing any more and changes nothing.
        """
        if self.user is not None:
            self.journal += self.user._uncommitted()[:surviving]
            self.user._cut_off()
            self.user = None


def _ignore(_sequence: int) -> None:
    """Nobody asked to be told."""


def _raise(error: BaseException) -> NoReturn:
    raise StorageError(f"the disk failed and nobody handles it: {error}") from error


class MemoryStorage:
    """`Storage` on a `MemoryDisk`.

    With `auto_commit`, a commit begins with the next turn of the loop and ends with the one after it, and what is
    appended between is of the next one. Without it, `commit_one` does the next commit.
    """

    @classmethod
    async def open(cls, disk: MemoryDisk, identity: Identity, *, auto_commit: bool = True) -> "MemoryStorage":
        """Raises StorageError when the disk is another node's, or in use."""
        if disk.user is not None:
            raise StorageError("the disk in memory is in use. Close its storage, or crash the disk.")
        if disk.identity is None:
            disk.identity, disk.uuid = identity, str(uuid.uuid4())
        elif disk.identity != identity:
            raise StorageError(f"the disk in memory belongs to {disk.identity}, not {identity}. Use another.")
        disk.incarnation += 1
        disk.user = cls(disk, identity, auto_commit)
        return disk.user

    def __init__(self, disk: MemoryDisk, identity: Identity, auto_commit: bool) -> None:
        self.identity = identity
        self.uuid = disk.uuid
        self.incarnation = disk.incarnation
        self.on_committed: Callable[[int], None] = _ignore
        self.on_failed: Callable[[BaseException], None] = _raise
        self.disk_full = False
        self.journal_bytes = sum(map(len, disk.journal))
        self.record_count = len(disk.records)
        self.peers: Mapping[int, str] = dict(disk.peers)

        self._disk: MemoryDisk | None = disk
        self._auto_commit = auto_commit
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[int, bytes]] = []
        self._in_flight: list[tuple[int, bytes]] = []
        self._scheduled = False
        self._appended = False
        self._full = False
        self._stalled = False
        self._failure: BaseException | None = None
        self._failed: BaseException | None = None
        self._closing = False
        self._changed = asyncio.Event()
        self._commits = 0
        self._rows_committed = 0
        self._bytes_committed = 0
        self._folds = 0

    # Faults

    def fill(self, full: bool) -> None:
        """From now on there is no room on the disk, until told otherwise."""
        self._full = full
        if not full:
            self.disk_full = False
        self._nudge()

    def fail(self, error: BaseException) -> None:
        """The next write fails with `error`."""
        self._failure = error

    def stall(self, stalled: bool) -> None:
        self._stalled = stalled
        self._nudge()

    # The contract

    def append(self, sequence: int, row: bytes) -> None:
        if self._closing:
            raise StorageError("append after close")
        if self._failed is not None or self._disk is None:
            return
        assert not self._queue or sequence > self._queue[-1][0], "sequences ascend"
        self._appended = True
        self._queue.append((sequence, row))
        self._schedule()

    async def replay(self) -> AsyncIterator[list[bytes]]:
        assert not self._appended, "replay comes before the first append"
        rows = list(self._alive().journal)
        for begin in range(0, len(rows), REPLAY_ROWS):
            yield rows[begin : begin + REPLAY_ROWS]

    async def load(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        await self._until(lambda: not self._stalled)
        records = self._alive().records
        return {key: records.get(key) for key in keys}

    async def scan(
        self, start: bytes, end: bytes | None, floor: bytes, limit: int | None = None
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        await self._until(lambda: not self._stalled)
        records = self._alive().records
        keys = sorted(key for key in records if key and key >= start and (end is None or key < end))
        rows = SCAN_ROWS if limit is None else min(limit, SCAN_ROWS)
        found: list[tuple[bytes, bytes]] = []
        size = 0
        for index, key in enumerate(keys):
            if index == rows or size >= SCAN_BYTES:
                return found, keys[index - 1]
            if records[key] >= floor:
                found.append((key, records[key]))
                size += len(records[key])
        return found, None

    async def fold(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        disk = await self._writable()
        disk.records.update(records)
        self.record_count = len(disk.records)
        self._folds += 1

    def boundary(self) -> int:
        disk = self._alive()
        return disk.trimmed + len(disk.journal)

    async def trim(self, boundary: int) -> None:
        assert boundary <= self.boundary(), "only what is committed can be trimmed"
        disk = await self._writable()
        count = max(0, boundary - disk.trimmed)
        self.journal_bytes -= sum(map(len, disk.journal[:count]))
        del disk.journal[:count]
        disk.trimmed += count

    async def remember_peer(self, node: int, uuid: str) -> None:
        disk = await self._writable()
        disk.peers[node] = uuid
        self.peers = dict(disk.peers)

    @property
    def changing_s(self) -> float:
        return 0.0

    def status(self) -> dict[str, Any]:
        commits = max(1, self._commits)
        return {
            "journal_rows": len(self._disk.journal) if self._disk else 0,
            "journal_bytes": self.journal_bytes,
            "wal_bytes": 0,
            "commits": self._commits,
            "commit_p50_ms": 0.0,
            "commit_p99_ms": 0.0,
            "rows_per_commit": round(self._rows_committed / commits, 2),
            "bytes_per_commit": round(self._bytes_committed / commits, 1),
            "queued_rows": len(self._queue) + len(self._in_flight),
            "disk_full": self.disk_full,
            "folds": self._folds,
            "checkpoints": 0,
            "record_count": self.record_count,
        }

    async def close(self) -> None:
        self._closing = True
        while self._queue or self._in_flight:
            if not self.commit_one() and (self._queue or self._in_flight):
                await self._changed.wait()
        if self._disk is not None:
            self._disk.user = None
        self._cut_off()

    # Commits

    def commit_one(self) -> bool:
        """Commit what is in flight, or else everything queued. False when there was nothing, or it did not work."""
        disk = self._disk
        if disk is None or self._stalled or self._failed is not None:
            return False
        if not self._in_flight:
            self._in_flight, self._queue = self._queue, []
        group = self._in_flight
        if not group or not self._may_write():
            return False
        self._in_flight = []
        disk.journal += [row for _, row in group]
        size = sum(len(row) for _, row in group)
        self.journal_bytes += size
        self._commits += 1
        self._rows_committed += len(group)
        self._bytes_committed += size
        self._nudge()
        self.on_committed(group[-1][0])
        return True

    def _may_write(self) -> bool:
        """Whether the next write works; notes a full disk, reports a failed one."""
        if self._failure is not None:
            self._failed, self._failure = self._failure, None
            self._queue, self._in_flight = [], []
            self._nudge()
            self._loop.call_soon(self.on_failed, self._failed)
            return False
        self.disk_full = self._full
        return not self._full

    def _schedule(self) -> None:
        if self._auto_commit and not self._scheduled and (self._queue or self._in_flight):
            self._scheduled = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        if not self._in_flight:
            self._in_flight, self._queue = self._queue, []
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._scheduled = False
        if self.commit_one():
            self._schedule()

    def _nudge(self) -> None:
        """Something changed that somebody may wait for."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._schedule()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while self._disk is not None and self._failed is None and not condition():
            await self._changed.wait()

    async def _writable(self) -> MemoryDisk:
        """Waits for the writer's turn: after a hung or full disk, and one turn of the loop at least."""
        while True:
            await asyncio.sleep(0)
            await self._until(lambda: not self._stalled)
            disk = self._alive()
            if self._may_write():
                return disk
            await self._until(lambda: not self._full)

    def _alive(self) -> MemoryDisk:
        if self._failed is not None:
            raise StorageError(f"nothing is written any more: {self._failed}")
        if self._disk is None:
            raise StorageError("the storage is closed")
        return self._disk

    def _uncommitted(self) -> list[bytes]:
        return [row for _, row in (*self._in_flight, *self._queue)]

    def _cut_off(self) -> None:
        self._disk = None
        self._queue, self._in_flight = [], []
        self._nudge()
