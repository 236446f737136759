"""The disk of a node: one SQLite file, through aiosqlite.

Three connections, each with its own thread. The *writer* makes every change, one statement at a time, each its
own transaction and so one fsync. The *reader* loads records and is not held up by commits. The *checkpointer*
moves what the WAL holds into the main file.

**Group commit.** One task feeds the writer. What was appended while a statement was on its way, or is within a few
rounds of the loop, becomes one journal row, a msgpack array, inserted by one statement. Between two commits at most
one slice of fold or trim runs. One statement each, because every `sqlite3_step` gives up the GIL and has to win it back
from the loop's thread: a hundred small statements cost a hundred such fights, one statement with a hundred rows costs
one.

**Checkpoints.** A PASSIVE checkpoint runs beside the writer without blocking it, but under a constant load it never
ends the WAL: SQLite starts the WAL over only when a writer finds *every* frame carried over, and there is always one
frame more. So a checkpoint has two parts. PASSIVE passes in the background, until what came meanwhile is little, then
one RESTART in the writer's turn, when no commit is on its way and no load is reading; it carries over the few frames
left and starts the WAL over. Only that part can be seen from a commit, and it costs about two fsyncs.

A PASSIVE pass must not begin while a commit may start the WAL over, that is, when the pass before it was complete
and nothing was committed since: SQLite before 3.51.3 then can mark frames of the new WAL as carried over that are not,
and loses them (sqlite.org/wal.html#walresetbug). `_checkpoint` keeps to that.

**Errors.** No room is no failure: nothing was written, the same statement is tried again. Anything else, a failed
fsync above all, ends all writing for good: after a failed fsync nobody knows which pages are on the disk.

**Checksums.** Every row carries one (`checksum`), which is looked at whenever the row is read. What is damaged is
never answered with: reading it raises StorageError, which ends the node.
"""

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import aiosqlite
import msgpack

from paxoskv.core.errors import StorageError
from paxoskv.storage import checksum, datafile
from paxoskv.storage.contract import Identity

WAL_EXTENT_BYTES = 16 << 20
"""The WAL is written out to this size once. Committing into blocks that the file system has already given to the file
took 177 us, against 311 us for a file that grows."""
WAL_BYTES_KEPT = 8 * WAL_EXTENT_BYTES
CHECKPOINT_FRAMES = 1000
"""A checkpoint begins when the WAL holds about so many pages, 4 MiB. Larger ones write less in all, but the longer
their fsync keeps the device busy, the longer a commit beside it waits."""
RESTART_FRAMES_MAX = 200
"""So few frames may be left to the part of a checkpoint that commits wait for."""
PASSES_MAX = 4
GROUP_BYTES_MAX = 1 << 20
"""Bounds one journal row, and with it the statement that writes it and the one that deletes it. One row beyond
it still is a group of its own."""
GATHER_ROUNDS = 3
"""So many rounds of the event loop pass between a row and its commit. What has arrived by then reaches the engine, and
what that makes of it goes into the same commit rather than wait for it. With two cores for three nodes it is worth a
tenth of the throughput; a lonely row waits some ten microseconds."""
TRIM_BYTES = 1 << 20
TRIM_ROWS_MAX = 2000
FOLD_BYTES = 256 << 10
FOLD_ROWS_MAX = 1024
LOAD_SIZES = (1, 8, 64, 500)
"""Numbers of parameters of the SELECTs: few, so that SQLite's compiled statements are found again."""
SCAN_ROWS = 256
SCAN_BYTES = 256 << 10
LOAD_INLINE_BYTES_MAX = 16 << 10
"""Longer records are fetched one at a time, so that no answer gets huge."""
REPLAY_BYTES = 4 << 20
RETRY_S = 0.25
TEND_S = 1.0
SAMPLES = 1024

# The id is given, not drawn, so that trying again after a full disk cannot leave a gap.
_INSERT: Final = "INSERT INTO journal (id, row, crc) VALUES (?, ?, ?)"


@dataclass(slots=True, eq=False)
class _Job:
    """One statement's worth of work in the writer's turn, and who waits for it."""

    step: Callable[[], Awaitable[None]]
    done: "asyncio.Future[None]"
    first: bool
    """It comes before all others, and does not wait with them for room, which it may make."""


_GIVEN_UP: list[aiosqlite.Connection] = []
"""Connections that are not to be closed, kept from the garbage collector, which would close them: when the last one is
closed, SQLite removes the WAL, without which a data file that was not closed in order is refused."""


def _ignore(_sequence: int) -> None:
    """Nobody asked to be told."""


def _raise(error: BaseException) -> NoReturn:
    raise StorageError(f"the disk failed and nobody handles it: {error}") from error


class SqliteStorage:
    """`Storage` on a file. Open it with `open`; one process per folder."""

    @classmethod
    async def open(cls, folder: Path, identity: Identity, *, fault_injection: bool = False) -> "SqliteStorage":
        """Open `folder/paxoskv.db`, making it if there was nothing, and count the incarnation up.

        `fault_injection` allows `stall`. Raises StorageError with a sentence when the file cannot be used.
        """
        path = folder / datafile.FILE
        lock = datafile.lock(folder)
        storage = cls(path, lock, identity, fault_injection)
        try:
            datafile.prepare(path, identity)
            await storage._start()
        except BaseException as error:
            await storage._close_connections()
            os.close(lock)
            if isinstance(error, (sqlite3.Error, OSError)):
                raise datafile.refusal_of_error(path, error) from error
            raise
        return storage

    def __init__(self, path: Path, lock: int, identity: Identity, fault_injection: bool) -> None:
        self.identity = identity
        self.uuid = ""
        self.incarnation = 0
        self.on_committed: Callable[[int], None] = _ignore
        self.on_failed: Callable[[BaseException], None] = _raise
        self.disk_full = False
        self.journal_bytes = 0
        self.record_count = 0
        self.peers: Mapping[int, str] = {}

        self._path = path
        self._wal_path = path.with_name(path.name + "-wal")
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._connections: list[aiosqlite.Connection] = []
        self._gate = threading.Event() if fault_injection else None
        self._stalled = False

        # The queue, as two columns.
        self._rows: list[bytes] = []
        self._sequences: list[int] = []
        self._rows_bytes = 0
        self._jobs: deque[_Job] = deque()
        # There was no room, and it is not time yet to try again.
        self._rows_wait = False
        self._jobs_wait = False
        self._rows_full = False
        self._job_full = False
        self._wake = asyncio.Event()
        self._failed: BaseException | None = None
        self._closing = False
        self._appended = False

        # Sizes of the journal's rows, oldest first; their ids are consecutive and begin with _first_id.
        self._sizes = array("I")
        self._first_id = 1

        self._one_fold = asyncio.Lock()
        self._one_trim = asyncio.Lock()
        # Held for each SELECT, and for the RESTART, which a reader would defeat.
        self._reading = asyncio.Lock()
        self._checkpoint_due = asyncio.Event()
        self._wal_frames = 0
        # Statements of the writer that were begun and that have ended, to know what a checkpoint raced with.
        self._begun = 0
        self._ended = 0
        self._change_began = 0.0
        # Nothing may pass before the first statement: what was there is carried over when it begins.
        self._pass_complete_at: int | None = 0
        self._files: list[tuple[Path, tuple[int, int]]] = []

        self._commits = 0
        self._rows_committed = 0
        self._bytes_committed = 0
        self._folds = 0
        self._checkpoints = 0
        self._wal_bytes = 0
        self._commit_s: deque[float] = deque(maxlen=SAMPLES)

    # Opening

    async def _connect(self, timeout_s: float, cache_kib: int) -> aiosqlite.Connection:
        # mode=rw: the file is there, and if it is not any more it must not be made anew.
        connection = aiosqlite.connect(
            f"{datafile.uri(self._path)}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=timeout_s,
            cached_statements=512,
        )
        # Python waits at its exit for every thread that is no daemon, so one that hangs in a hung disk
        # would keep the process alive for ever. Nothing is lost with it: what was committed is synced.
        connection._thread.daemon = True
        await connection
        self._connections.append(connection)
        for pragma in (
            # FULL, not NORMAL: in WAL mode NORMAL leaves the fsync at commit out. It also governs the
            # fsyncs of a checkpoint, and belongs to the connection, not to the file.
            "synchronous = FULL",
            # On macOS a plain fsync leaves what it wrote in the drive's cache; elsewhere these change nothing.
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
            "wal_autocheckpoint = 0",
            # Debian compiles it in as ON, and then every trimmed page is overwritten with zeroes, through the WAL.
            "secure_delete = OFF",
            "temp_store = MEMORY",
            "mmap_size = 0",
            f"cache_size = -{cache_kib}",
            # A WAL that had to grow much while a checkpoint was kept off is cut when it starts over.
            f"journal_size_limit = {WAL_BYTES_KEPT}",
        ):
            await connection.execute_fetchall(f"PRAGMA {pragma}")
        if self._gate is not None:
            await connection.create_function("paxoskv_gate", 0, self._gate.wait)
        return connection

    async def _start(self) -> None:
        self._writer = await self._connect(1.0, 8 << 10)
        [(mode,)] = await self._run(self._writer, "PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise datafile.refusal(
                self._path,
                f"cannot be kept in WAL mode here (got {mode!r})",
                "Put the data folder on a local file system.",
            )
        self._reader = await self._connect(5.0, 16 << 10)
        await self._reader.execute_fetchall("PRAGMA query_only = ON")
        # No patience: its RESTART would hold up the writer for as long.
        self._checkpointer = await self._connect(0.0, 1 << 10)
        await self._checkpointer.create_function("paxoskv_files", 0, self._look_at_files)

        meta: dict[str, Any] = dict(await self._run(self._writer, "SELECT name, value FROM meta"))
        self.uuid = str(meta["uuid"])
        before = int(meta["incarnation"])
        self.peers = {
            int(name.removeprefix("peer/")): str(value) for name, value in meta.items() if name.startswith("peer/")
        }
        rows = await self._run(self._reader, "SELECT id, ifnull(length(row), 0) FROM journal ORDER BY id")
        if rows:
            self._first_id = rows[0][0]
            self._sizes.extend(row[1] for row in rows)
            self.journal_bytes = sum(self._sizes)
        [(self.record_count,)] = await self._run(self._reader, "SELECT count(*) FROM records")

        # Nothing else is running yet, so what a crash left in the WAL goes over in one piece.
        await self._carry_over()
        await self._extend_wal()
        wal_bytes = min(_size(self._wal_path), WAL_BYTES_KEPT)
        await self._run(self._writer, *datafile.facts({"incarnation": before + 1, "wal_bytes": wal_bytes}))
        self.incarnation = before + 1
        # Now the data file itself says that it is in use, and that there has to be a WAL of that length.
        await self._carry_over()
        self._files = [(path, _inode(path)) for path in (self._path, self._wal_path)]
        self._writing = self._loop.create_task(self._write(), name="storage writer")
        self._tending = self._loop.create_task(self._tend(), name="storage tender")

    async def _carry_over(self) -> None:
        """Have everything in the data file itself, when nothing else is running. On a full disk that can fail, and does
        no harm."""
        with contextlib.suppress(sqlite3.OperationalError):
            await self._checkpointer.execute_fetchall("PRAGMA wal_checkpoint(RESTART)")

    async def _extend_wal(self) -> None:
        """Make the WAL as long as it will need to be, with the help of a transaction that is rolled back.

        With next to no cache, SQLite spills the pages of a large uncommitted blob into the WAL; the rollback
        forgets them and leaves the length. The main file does not grow.
        """
        if _size(self._wal_path) >= WAL_EXTENT_BYTES:
            return
        disk = os.statvfs(self._path)
        if disk.f_bavail * disk.f_frsize < 8 * WAL_EXTENT_BYTES:
            return
        run = partial(self._run, self._writer)
        [(cache,)] = await run("PRAGMA cache_size")
        await run("PRAGMA cache_size = 10")
        await run("BEGIN IMMEDIATE")
        try:
            await run("INSERT INTO meta (name, value, crc) VALUES ('extent', zeroblob(?), 0)", (WAL_EXTENT_BYTES,))
        finally:
            await run("ROLLBACK")
            await run(f"PRAGMA cache_size = {cache}")

    # The contract

    def append(self, sequence: int, row: bytes) -> None:
        if self._closing:
            raise StorageError("append after close")
        if self._failed is not None:
            # The driver has been told, and is on its way out.
            return
        assert not self._sequences or sequence > self._sequences[-1], "sequences ascend"
        self._appended = True
        self._rows.append(row)
        self._sequences.append(sequence)
        self._rows_bytes += len(row)
        self._wake.set()

    async def replay(self) -> AsyncIterator[list[bytes]]:
        assert not self._appended, "replay comes before the first append"
        first, index = self._first_id, 0
        while index < len(self._sizes):
            end, size = index, 0
            while end < len(self._sizes) and (end == index or size + self._sizes[end] <= REPLAY_BYTES):
                size += self._sizes[end]
                end += 1
            groups = await self._read(
                "SELECT CAST(row AS BLOB), crc FROM journal WHERE id >= ? AND id < ? ORDER BY id",
                (first + index, first + end),
            )
            if len(groups) != end - index:
                raise datafile.refusal(self._path, "is damaged (rows of the journal are missing)")
            chunk: list[bytes] = []
            for number, (group, crc) in enumerate(groups, first + index):
                if not checksum.is_group(number, group, crc):
                    raise datafile.damaged_row(self._path, "journal", f"row {number}")
                chunk += msgpack.unpackb(group, use_list=True)
            yield chunk
            index = end

    async def load(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = dict.fromkeys(keys)
        long: list[bytes] = []
        wanted = list(found)
        for begin in range(0, len(wanted), LOAD_SIZES[-1]):
            chunk: list[bytes | None] = [*wanted[begin : begin + LOAD_SIZES[-1]]]
            size = next(size for size in LOAD_SIZES if size >= len(chunk))
            chunk += [None] * (size - len(chunk))
            # All records come as one row, in hex: every row would be one more fight for the GIL, and under
            # a busy loop each costs up to 5 ms, the interpreter's switch interval.
            [(text,)] = await self._read(
                f"""SELECT group_concat(hex(key) || ':' || ifnull(crc, '') || CASE
                    WHEN length(record) <= {LOAD_INLINE_BYTES_MAX} THEN ':' || hex(record) ELSE '' END)
                    FROM records WHERE key IN ({",".join("?" * size)})""",
                chunk,
            )
            for item in text.split(",") if text is not None else ():
                name, crc, *rest = item.split(":")
                key = bytes.fromhex(name)
                if rest:
                    record = found[key] = bytes.fromhex(rest[0])
                    if str(checksum.of_record(key, record)) != crc:
                        raise datafile.damaged_row(self._path, "records", datafile.named_key(key))
                else:
                    long.append(key)
        for key in long:
            [(record, crc)] = await self._read("SELECT CAST(record AS BLOB), crc FROM records WHERE key = ?", (key,))
            if not checksum.is_record(key, record, crc):
                raise datafile.damaged_row(self._path, "records", datafile.named_key(key))
            found[key] = record
        return found

    async def scan(
        self, start: bytes, end: bytes | None, floor: bytes, limit: int | None = None
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        # First which, and how long, in one row; then as many as fit.
        bound = "" if end is None else " AND key < ?"
        rows = SCAN_ROWS if limit is None else min(limit, SCAN_ROWS)
        parameters = [start or b"\0", *([] if end is None else [end]), rows]
        [(text, count)] = await self._read(
            f"""SELECT group_concat(hex(key) || ':' || ifnull(length(record), 0)), count(*)
                FROM (SELECT key, record FROM records WHERE key >= ?{bound} ORDER BY key LIMIT ?)""",
            parameters,
        )
        wanted: list[bytes] = []
        size = 0
        for item in text.split(",") if text is not None else ():
            if size >= SCAN_BYTES:
                break
            key, _, length = item.partition(":")
            wanted.append(bytes.fromhex(key))
            size += int(length)
        goes_on = wanted[-1] if count == rows or len(wanted) < count else None
        found = await self.load(wanted) if wanted else {}
        records: list[tuple[bytes, bytes]] = []
        for key, record in found.items():
            if record is None:
                # Nothing removes a record: it stands in a place where its key is not looked for.
                raise datafile.damaged_row(self._path, "records", datafile.named_key(key))
            # The floor is not for SQLite to look at: what is damaged could seem to lie below it, and be missed.
            if record >= floor:
                records.append((key, record))
        return records, goes_on

    async def fold(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        # One at a time, so that a key new in two slices is counted once.
        async with self._one_fold:
            begin = 0
            while begin < len(records):
                end, size = begin, 0
                while end < len(records) and end - begin < FOLD_ROWS_MAX and (end == begin or size < FOLD_BYTES):
                    size += len(records[end][0]) + len(records[end][1])
                    end += 1
                await self._fold_slice(records[begin:end], size)
                begin = end

    async def _fold_slice(self, records: Sequence[tuple[bytes, bytes]], size: int) -> None:
        # On the reader's connection, which also brings the pages into the system's cache before the
        # writer needs them.
        keys = list({key for key, _ in records})
        [(known,)] = await self._read(f"SELECT count(*) FROM records WHERE key IN ({','.join('?' * len(keys))})", keys)
        sql = f"INSERT OR REPLACE INTO records (key, record, crc) VALUES {','.join(['(?,?,?)'] * len(records))}"
        columns = [column for row in records for column in (*row, checksum.of_record(*row))]

        async def step() -> None:
            await self._change(sql, columns, pages=2 * len(records) + size // datafile.PAGE_BYTES)
            self.record_count += len(keys) - known
            self._folds += 1

        await self._in_turn(step)

    def boundary(self) -> int:
        return self._first_id + len(self._sizes) - 1

    async def trim(self, boundary: int) -> None:
        assert boundary <= self.boundary(), "only what is committed can be trimmed"
        async with self._one_trim:
            while self._sizes and self._first_id <= boundary:
                await self._in_turn(lambda: self._trim_slice(boundary))

    async def _trim_slice(self, boundary: int) -> None:
        # Freeing a long chain of overflow pages reads every one of them, so bytes bound a slice, not rows alone.
        count, size = 0, 0
        for length in self._sizes[: min(TRIM_ROWS_MAX, boundary - self._first_id + 1)]:
            if count and size + length > TRIM_BYTES:
                break
            count += 1
            size += length
        last = self._first_id + count - 1
        await self._change("DELETE FROM journal WHERE id <= ?", (last,), pages=8 + count // 8)
        self._first_id = last + 1
        del self._sizes[:count]
        self.journal_bytes -= size

    async def remember_peer(self, node: int, uuid: str) -> None:
        async def step() -> None:
            await self._change(*datafile.facts({f"peer/{node}": uuid}), pages=1)
            self.peers = {**self.peers, node: uuid}

        await self._in_turn(step)

    def stall(self, stalled: bool) -> None:
        if self._gate is None:
            raise StorageError("this storage was not opened for fault injection")
        # Every statement that begins from here on is preceded, in the same thread, by a wait at the gate. One
        # already under way may still end, as on a disk that hangs.
        self._stalled = stalled
        if stalled:
            self._gate.clear()
        else:
            self._gate.set()

    @property
    def changing_s(self) -> float:
        return time.monotonic() - self._change_began if self._begun > self._ended else 0.0

    def status(self) -> dict[str, Any]:
        """Sizes in bytes, times in milliseconds over the last 1,024 commits, `wal_bytes` up to a second old."""
        times = sorted(self._commit_s)
        commits = max(1, self._commits)
        return {
            "journal_rows": len(self._sizes),
            "journal_bytes": self.journal_bytes,
            "wal_bytes": self._wal_bytes,
            "commits": self._commits,
            "commit_p50_ms": round(1e3 * times[len(times) // 2], 3) if times else 0.0,
            "commit_p99_ms": round(1e3 * times[len(times) * 99 // 100], 3) if times else 0.0,
            "rows_per_commit": round(self._rows_committed / commits, 2),
            "bytes_per_commit": round(self._bytes_committed / commits, 1),
            "queued_rows": len(self._rows),
            "disk_full": self.disk_full,
            "folds": self._folds,
            "checkpoints": self._checkpoints,
            "record_count": self.record_count,
        }

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        self._tending.cancel()
        try:
            # A task that is awaited is cancelled together with the one that waits, as it should be here.
            await self._writing
            if self._failed is not None:
                # Closing would make SQLite carry the WAL over and remove it by its name, with the fsyncs that
                # (D2) forbids, and perhaps it is another's by now. All of it stays as it is until the process
                # ends, the lock as well.
                return
            await self._close_connections()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1
        finally:
            # Only when closing was given up, or there was a failure. What hangs may still be written when its disk lets
            # it, so the lock stays until the process ends. Its threads are no reason for that not to end.
            _GIVEN_UP.extend(self._connections)
            self._connections.clear()

    async def _close_connections(self) -> None:
        """Close the data file in order, when nothing else is running."""
        if self._connections:
            writer = self._connections[0]
            try:
                [(last,)] = await self._run(writer, "SELECT value FROM meta WHERE name = 'incarnation'")
                await self._run(writer, *datafile.facts({"closed": last}))
            except sqlite3.Error:
                # As after a crash: the WAL stays, and the next start finds what is in it.
                _GIVEN_UP.extend(self._connections)
                self._connections.clear()
                return
        # The writer, opened first, goes last: the last connection to close carries the WAL over and removes it.
        while self._connections:
            # Not aiosqlite's close(): when cancelled, that waits for the thread all the same.
            stopped = self._connections.pop().stop()
            if stopped is not None:
                await stopped

    # The writer

    async def _run(self, connection: aiosqlite.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """One statement in the connection's own thread, after whatever hangs there."""
        if self._stalled:
            await connection.execute_fetchall("SELECT paxoskv_gate()")
        try:
            return await connection.execute_fetchall(sql, parameters)  # type: ignore[return-value]
        except sqlite3.Error as error:
            # What aiosqlite raises and its traceback hold each other, and with them the parameters, until the garbage
            # collector comes by. Tries on a full disk would pile up.
            raise error.with_traceback(None) from None

    async def _change(self, sql: str, parameters: Sequence[Any], pages: int) -> None:
        """One durable change; `pages` is about how many frames it adds to the WAL."""
        self._begun += 1
        self._change_began = time.monotonic()
        try:
            await self._run(self._writer, sql, parameters)
        except sqlite3.Error:
            # A statement in autocommit leaves nothing open; should SQLite think otherwise, nothing else may join.
            if self._writer.in_transaction:
                await self._writer.execute_fetchall("ROLLBACK")
            raise
        finally:
            self._ended += 1
        self._wal_frames += pages
        if self._wal_frames >= CHECKPOINT_FRAMES:
            self._checkpoint_due.set()

    async def _in_turn(self, step: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        """Have the writer's task do `step` between two commits. Raises StorageError once the disk has failed."""
        if self._failed is not None:
            raise _no_more(self._failed)
        if self._closing:
            raise StorageError("the storage is closed")
        job = _Job(step, self._loop.create_future(), first)
        if first:
            self._jobs.appendleft(job)
        else:
            self._jobs.append(job)
        self._wake.set()
        await job.done

    async def _write(self) -> None:
        """Commits first, then at most one slice, then commits again."""
        try:
            while self._failed is None:
                self._wake.clear()
                worked = False
                if self._rows and not self._rows_wait:
                    await self._commit()
                    worked = True
                if self._jobs and (self._jobs[0].first or not self._jobs_wait):
                    await self._do_job()
                    worked = True
                if worked:
                    continue
                if self._closing and not self._rows and not self._jobs:
                    return
                await self._wake.wait()
        except Exception as error:
            self._fail(error)

    async def _commit(self) -> None:
        for _ in range(GATHER_ROUNDS):
            await asyncio.sleep(0)
        if not self._rows:
            return  # Another job of the disk has failed meanwhile, and with it everything.
        rows, sequences, size = self._rows, self._sequences, self._rows_bytes
        if size > GROUP_BYTES_MAX and len(rows) > 1:
            count, size = 1, len(rows[0])
            while count < len(rows) and size + len(rows[count]) <= GROUP_BYTES_MAX:
                size += len(rows[count])
                count += 1
        else:
            count = len(rows)
        if count == len(rows):
            # The columns themselves are taken, not copied.
            self._rows, self._sequences, self._rows_bytes = [], [], 0
        else:
            self._rows, self._sequences = rows[count:], sequences[count:]
            self._rows_bytes -= size
            rows, sequences = rows[:count], sequences[:count]
        group: bytes = msgpack.packb(rows)
        number = self.boundary() + 1
        begin = time.perf_counter()
        try:
            await self._change(
                _INSERT,
                (number, group, checksum.of_group(number, group)),
                pages=1 if len(group) < 1000 else 2 + len(group) // datafile.PAGE_BYTES,
            )
        except sqlite3.Error as error:
            if not self._may_try_again(error):
                raise
            self._rows, self._sequences = rows + self._rows, sequences + self._sequences
            self._rows_bytes += size
            self._rows_full = not _is_busy(error)
            self._rows_wait = True
            self._try_later()
            self._note_full()
            return
        if self._failed is not None:
            return
        self._commit_s.append(time.perf_counter() - begin)
        self._sizes.append(len(group))
        self.journal_bytes += len(group)
        self._commits += 1
        self._rows_committed += count
        self._bytes_committed += len(group)
        if self._rows_full:
            self._rows_full = False
            self._note_full()
        self.on_committed(sequences[-1])

    async def _do_job(self) -> None:
        job = self._jobs.popleft()
        if job.done.done():
            return
        try:
            await job.step()
        except Exception as error:
            # Back in the queue: to be tried again, or where _fail finds who waits for it.
            self._jobs.appendleft(job)
            if not (isinstance(error, sqlite3.Error) and self._may_try_again(error)):
                raise
            self._job_full = not _is_busy(error)
            self._jobs_wait = True
            self._try_later()
            self._note_full()
            return
        if self._job_full:
            self._job_full = False
            self._note_full()
        if job.done.done():
            return
        if self._failed is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(_no_more(self._failed))

    def _may_try_again(self, error: sqlite3.Error) -> bool:
        """Whether certainly nothing was written, for a cause that passes: no room, or a foreign lock."""
        # Of the WAL's index, too, a file for this process's memory only and rebuilt after a crash. The frames lie in
        # the WAL then and may even be synced, but unreported; trying again writes them at the same place.
        return _is_busy(error) or datafile.is_for_want_of_room(self._path, error)

    def _try_later(self) -> None:
        self._loop.call_later(RETRY_S, self._try_now)
        # Perhaps the WAL can start over, which makes room in a file that need not grow.
        self._checkpoint_due.set()

    def _try_now(self) -> None:
        self._rows_wait = self._jobs_wait = False
        self._wake.set()

    def _note_full(self) -> None:
        self.disk_full = self._rows_full or self._job_full

    def _fail(self, error: BaseException) -> None:
        """Nothing is committed from here on, and the driver hears of it, once."""
        if self._failed is not None:
            return
        if isinstance(error, sqlite3.Error):
            name = getattr(error, "sqlite_errorname", "")
            told: BaseException = StorageError(f"{self._path}: writing failed ({name}: {error})")
            told.__cause__ = error
        else:
            told = error
        self._failed = told
        self._rows.clear()
        self._sequences.clear()
        self._rows_bytes = 0
        while self._jobs:
            job = self._jobs.popleft()
            if not job.done.done():
                job.done.set_exception(_no_more(told))
        self._wake.set()
        # Not from within a task, which would keep what the handler raises to itself.
        self._loop.call_soon(self.on_failed, told)

    # The reader

    async def _read(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        try:
            async with self._reading:
                return await self._run(self._reader, sql, parameters)
        except sqlite3.Error as error:
            raise datafile.refusal_of_error(self._path, error) from error

    # Checkpoints, and a look at the files

    async def _tend(self) -> None:
        while self._failed is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TEND_S):
                    await self._checkpoint_due.wait()
            try:
                [(wrong, self._wal_bytes)] = _decode(await self._run(self._checkpointer, "SELECT paxoskv_files()"))
                if wrong:
                    self._fail(StorageError(wrong))
                    return
                if self._checkpoint_due.is_set():
                    self._checkpoint_due.clear()
                    await self._checkpoint()
            except sqlite3.Error as error:
                if not self._may_try_again(error):
                    self._fail(error)
                    return
            except StorageError:
                # From the writer's turn: failed, or closing.
                return

    async def _checkpoint(self) -> None:
        for _ in range(PASSES_MAX):
            if self._pass_complete_at is not None and self._ended <= self._pass_complete_at:
                # The next commit may start the WAL over: see the head of this file.
                break
            self._pass_complete_at = None
            before = self._wal_frames
            [(_, frames, moved)] = await self._run(self._checkpointer, "PRAGMA wal_checkpoint(PASSIVE)")
            if moved == frames:
                # Statements that had begun by now may lie before the pass; only a later one moves beyond it.
                self._pass_complete_at = self._begun
            if self._wal_frames - before <= RESTART_FRAMES_MAX:
                break
        await self._in_turn(self._restart_alone, first=True)

    async def _restart_alone(self) -> None:
        # Only now: held while the writer's turn is waited for, it would keep reads from a disk whose commits hang.
        async with self._reading:
            await self._restart()

    async def _restart(self) -> None:
        # However it ends, the next try comes when as much again has been written, or nothing fits any more.
        self._wal_frames = 0
        try:
            [(busy, frames, moved)] = await self._run(self._checkpointer, "PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.Error as error:
            if not self._may_try_again(error):
                raise
            # The main file cannot grow. It goes no further, but commits into the WAL still may.
            return
        if not busy:
            self._checkpoints += 1
            # The PASSIVE pass before had it set, for what came meanwhile, which now is carried over.
            self._checkpoint_due.clear()
        if not busy or moved == frames:
            # If busy, a foreign program is reading. Either way the next commit starts the WAL over.
            self._pass_complete_at = self._begun

    def _look_at_files(self) -> str:
        """Runs in the checkpointer's thread, because on a hung disk even stat can hang.

        SQLite would go on writing to a file that somebody has deleted or replaced, and everything
        acknowledged from then on would be gone at the next start.
        """
        for path, inode in self._files:
            try:
                now = _inode(path)
            except OSError as error:
                return f"0 {path} has vanished under the running node ({error.strerror})"
            if now != inode:
                return f"0 {path} has been replaced under the running node"
        return str(_size(self._wal_path))


def _decode(rows: list[Any]) -> list[tuple[str, int]]:
    """What `_look_at_files` said: a complaint or "", and the size of the WAL."""
    size, _, wrong = rows[0][0].partition(" ")
    return [(wrong, int(size))]


def _no_more(failure: BaseException) -> StorageError:
    return StorageError(f"nothing is written any more: {failure}")


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
