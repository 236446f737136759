"""What a commit costs, beside the least that the disk allows.

That least is a preallocated file with pwrite and fdatasync in the loop's own thread: the same bytes, the same number of
syncs, in turns. Another thread is between the two: that is what a disk costs an event loop that must not stand still.
Rows are a node's, of puts with 64-byte values. Then how rows share commits, and the tail of commits while folds, trims
and checkpoints go on.

Not measured: a file much larger than memory, another program on the disk, a busy loop that the thread fights with.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgpack

from bench import measuring
from bench.measuring import BATCHES, Figures
from paxoskv.net import loops
from paxoskv.paxos import ballot, register
from paxoskv.paxos.messages import Proposals
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage
from paxoskv.wire import paxos

VALUE_BYTES: Final = 64
EXTENT_BYTES: Final = 32 << 20
IN_FLIGHT: Final = (1, 4, 16, 64)
SHARED_BATCH: Final = 16
TAIL_BATCH: Final = 64
FOLD_RECORDS: Final = 50
FOLDS_TO_TRIM: Final = 20
FOLD_PAUSE_S: Final = 0.01
FOLD_KEYS: Final = 100_000


@dataclass(frozen=True)
class Plan:
    """How much is done of each."""

    rounds: int = 20
    commits: int = 20
    shared_rows: int = 200
    tail_s: float = 0.4


QUICK: Final = Plan(rounds=1, commits=3, shared_rows=64, tail_s=0.05)


class Writer:
    """Keeps rows in flight at a storage."""

    def __init__(self, storage: SqliteStorage) -> None:
        self.storage = storage
        self._sequence = 0
        self._last = 0
        self._committed = asyncio.Event()
        self._row = b""
        storage.on_committed = self._on_committed
        self._acknowledged = 0

    def _append(self, row: bytes) -> None:
        self._sequence += 1
        self.storage.append(self._sequence, row)

    def _on_committed(self, sequence: int) -> None:
        # As many again as have come to the disk, up to the last that is wanted.
        for _ in range(min(sequence - self._acknowledged, self._last - self._sequence)):
            self._append(self._row)
        self._acknowledged = sequence
        if sequence == self._last:
            self._committed.set()

    async def write(self, row: bytes, count: int = 1, in_flight: int = 1) -> float:
        """Append `count` equal rows, never more than `in_flight` ahead of the disk. Answers the seconds it took."""
        self._row = row
        self._last = self._sequence + count
        self._committed.clear()
        began = time.perf_counter()
        for _ in range(min(in_flight, count)):
            self._append(row)
        await self._committed.wait()
        return time.perf_counter() - began


class BareFile:
    """As little as a durable write can be."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self._offset = 0
        self._thread = ThreadPoolExecutor(1)
        os.pwrite(self._file, bytes(EXTENT_BYTES), 0)
        os.fsync(self._file)

    def _write(self, row: bytes) -> None:
        os.pwrite(self._file, row, self._offset)
        os.fdatasync(self._file)
        self._offset = (self._offset + len(row)) % (EXTENT_BYTES - len(row))

    async def write(self, row: bytes) -> float:
        """In this thread. Answers the seconds it took."""
        began = time.perf_counter()
        self._write(row)
        return time.perf_counter() - began

    async def write_in_thread(self, row: bytes) -> float:
        """The same in another thread."""
        began = time.perf_counter()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, row)
        return time.perf_counter() - began

    def close(self) -> None:
        self._thread.shutdown()
        os.close(self._file)


def journal_row(batch: int) -> bytes:
    """What a node journals when so many puts arrive in one turn."""
    tail = register.Register()
    tail.value = bytes(VALUE_BYTES)
    tail.modified = ballot.make_ballot(3, 1) << ballot.STEP_BITS | 7
    tail.lineage = {1: (tail.modified, tail.modified)}
    keys = tuple(b"key%08d" % number for number in range(batch))
    accepts = Proposals(1, (), (), (), keys, (tail.modified,) * batch, (register.encode(tail),) * batch)
    row: bytes = msgpack.packb([paxos.CODEC.encode(accepts)])
    return row


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Writer]:
    """A storage of its own in `folder`, and its writer."""
    storage = await SqliteStorage.open(folder, Identity("bench", 1, "paxos", (1, 2, 3)))
    try:
        yield Writer(storage)
    finally:
        await storage.close()


def percentile_ms(times: Sequence[float], share: float) -> float:
    """Of a list in seconds."""
    return 1e3 * sorted(times)[min(len(times) - 1, int(len(times) * share))]


async def commits(folder: Path, plan: Plan) -> Figures:
    """One row at a time, by the number of operations in it: three ways in turns."""
    figures: Figures = {"bare file": {}, "bare file, in a thread": {}, "SQLite": {}}
    bare = BareFile(folder / "bare")
    try:
        async with opened(folder / "commits") as writer:
            ways = dict(zip(figures, (bare.write, bare.write_in_thread, writer.write), strict=True))
            rows = {batch: journal_row(batch) for batch in BATCHES}
            samples: dict[tuple[str, int], list[list[float]]] = {(name, batch): [] for name in ways for batch in rows}
            for _ in range(plan.rounds):
                for batch, row in rows.items():
                    for name, write in ways.items():
                        samples[name, batch].append([await write(row) for _ in range(plan.commits)])
    finally:
        bare.close()
    medians = {cell: [statistics.median(times) for times in rounds] for cell, rounds in samples.items()}
    for (name, batch), rounds in samples.items():
        times = [time for part in rounds for time in part]
        figures[name][str(batch)] = {
            "p50_ms": percentile_ms(times, 0.5),
            "p99_ms": percentile_ms(times, 0.99),
            "times_bare": measuring.median_ratio(medians[name, batch], medians["bare file", batch]),
        }
    return figures


async def sharing(folder: Path, plan: Plan) -> Figures:
    """Rows that gather for the next commit while one is on its way, by how many there are in flight."""
    row = journal_row(SHARED_BATCH)
    samples: dict[int, list[float]] = {in_flight: [] for in_flight in IN_FLIGHT}
    async with opened(folder / "sharing") as writer:
        for _ in range(plan.rounds):
            for in_flight, found in samples.items():
                found.append(await writer.write(row, plan.shared_rows, in_flight) * 1e3 / plan.shared_rows)
    cells = {str(in_flight): {"row_ms": statistics.median(found)} for in_flight, found in samples.items()}
    return {"each row": cells}


async def fold_and_trim(storage: SqliteStorage) -> None:
    """All the time, as no node would."""
    row = journal_row(1)
    number = 0
    while True:
        boundary = storage.boundary()
        for _ in range(FOLDS_TO_TRIM):
            # A prime number of steps, so that neighbours in time are none in the table.
            numbers = range(number, number + FOLD_RECORDS)
            await storage.fold([(b"key%08d" % (n * 7919 % FOLD_KEYS), row) for n in numbers])
            number += FOLD_RECORDS
            await asyncio.sleep(FOLD_PAUSE_S)
        await storage.trim(boundary)


async def tail(folder: Path, plan: Plan) -> Figures:
    """Commits one after the other, with and without what goes on in the background, in turns."""
    row = journal_row(TAIL_BATCH)
    times: dict[str, list[float]] = {"journal alone": [], "folds and trims": []}
    async with AsyncExitStack() as stack:
        writers = {name: await stack.enter_async_context(opened(folder / name)) for name in times}
        for _ in range(plan.rounds):
            for name, writer in writers.items():
                tidying = None
                if name == "folds and trims":
                    tidying = asyncio.get_running_loop().create_task(fold_and_trim(writer.storage))
                end = time.perf_counter() + plan.tail_s
                while time.perf_counter() < end:
                    times[name].append(await writer.write(row))
                if tidying is not None:
                    tidying.cancel()
                    await asyncio.wait([tidying])
    shares: dict[str, Callable[[list[float]], float]] = {
        "p50": lambda found: percentile_ms(found, 0.5),
        "p99": lambda found: percentile_ms(found, 0.99),
        "p99.9": lambda found: percentile_ms(found, 0.999),
        "max": lambda found: percentile_ms(found, 1.0),
    }
    return {name: {share: {"tail_ms": of(found)} for share, of in shares.items()} for name, found in times.items()}


def run(quick: bool) -> Figures:
    """All of it, on the disk that the working directory is on: /tmp may be memory."""
    figures: Figures = {}

    async def measure() -> int:
        plan = QUICK if quick else Plan()
        with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name:
            folder = Path(name)
            figures.update(await commits(folder, plan))
            figures.update(await sharing(folder, plan))
            figures.update(await tail(folder, plan))
        return 0

    loops.run(measure)
    return figures


def show(figures: Figures) -> None:
    """Print the tables."""
    measuring.show(figures, "Storage: ms for a commit, median, by operations in it", "p50_ms", 2)
    measuring.show(figures, "99th percentile", "p99_ms", 2)
    measuring.show(figures, "Median as a multiple of the bare file's", "times_bare", 2)
    measuring.show(figures, f"ms for a row of {SHARED_BATCH} operations, by rows in flight", "row_ms", 3)
    measuring.show(figures, f"ms for a commit of {TAIL_BATCH} operations", "tail_ms", 2)


main = measuring.command(__doc__, run, show)

if __name__ == "__main__":
    main()
