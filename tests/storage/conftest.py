"""One kit for both implementations: open, crash, fill and break a disk, and hear what it reports."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from paxoskv.storage import sqlite
from paxoskv.storage.contract import Identity, Storage
from paxoskv.storage.memory import MemoryDisk, MemoryStorage
from paxoskv.storage.sqlite import SqliteStorage

NODE = Identity("cluster-1", 1, "paxos", (1, 2, 3))


class Told:
    """What a storage reported, in order."""

    def __init__(self, storage: Storage) -> None:
        self.committed: list[int] = []
        self.failures: list[BaseException] = []
        self._changed = asyncio.Event()
        storage.on_committed = self._on_committed
        storage.on_failed = self._on_failed

    def _on_committed(self, sequence: int) -> None:
        self.committed.append(sequence)
        self._changed.set()

    def _on_failed(self, error: BaseException) -> None:
        self.failures.append(error)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        # The limit is no judgement: it turns a hang into a failure that names its line.
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_committed(self, sequence: int) -> None:
        await self.until(lambda: bool(self.committed) and self.committed[-1] >= sequence)

    async def until_failed(self) -> None:
        await self.until(lambda: bool(self.failures))


async def turns(count: int = 50) -> None:
    """Let the loop turn: whatever needs no thread has happened then."""
    for _ in range(count):
        await asyncio.sleep(0)


async def rows_of(storage: Storage) -> list[bytes]:
    return [row async for chunk in storage.replay() for row in chunk]


class MemoryKit:
    name = "memory"

    def __init__(self, folder: Path) -> None:
        self.disk = MemoryDisk()

    async def open(self, identity: Identity = NODE) -> MemoryStorage:
        return await MemoryStorage.open(self.disk, identity)

    async def open_another(self) -> MemoryStorage:
        return await MemoryStorage.open(MemoryDisk(), NODE)

    async def crash(self, storage: Any) -> None:
        self.disk.crash()

    async def fill(self, storage: Any, full: bool) -> None:
        storage.fill(full)

    async def break_it(self, storage: Any) -> None:
        storage.fail(OSError(5, "injected"))

    async def end(self) -> None:
        self.disk.crash()


class SqliteKit:
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.folder = folder / "disk"
        self.copies = 0
        self.opened: list[SqliteStorage] = []

    async def open(self, identity: Identity = NODE) -> SqliteStorage:
        storage = await SqliteStorage.open(self.folder, identity, fault_injection=True)
        self.opened.append(storage)
        return storage

    async def open_another(self) -> SqliteStorage:
        storage = await SqliteStorage.open(self.root / "another", NODE, fault_injection=True)
        self.opened.append(storage)
        return storage

    async def crash(self, storage: Any) -> None:
        """Go on with a copy of the files as they are, without what only the process knew.

        The next test up kills a real process; this is for the many small cases.
        """
        self.copies += 1
        before, self.folder = self.folder, self.root / f"disk-{self.copies}"
        self.folder.mkdir()
        for name in ("paxoskv.db", "paxoskv.db-wal"):
            if (before / name).exists():
                shutil.copyfile(before / name, self.folder / name)

    async def fill(self, storage: Any, full: bool) -> None:
        [(pages,)] = await storage._writer.execute_fetchall("PRAGMA page_count")
        limit = pages if full else 1 << 30
        await storage._writer.execute_fetchall(f"PRAGMA max_page_count = {limit}")

    async def break_it(self, storage: Any) -> None:
        # A statement that fails for a reason that does not pass. test_sqlite_process.py has a failing fsync.
        for table in ("journal", "records", "meta"):
            await storage._writer.execute_fetchall(
                f"CREATE TEMP TRIGGER break_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'injected'); END"
            )

    async def end(self) -> None:
        for storage in self.opened:
            connections = list(storage._connections)
            storage.stall(False)
            storage._failed = None  # close for good also what failed: many tests share this process
            await storage.close()
            for connection in connections:
                connection.stop()
                await asyncio.to_thread(connection._thread.join)


Kit = MemoryKit | SqliteKit


@pytest.fixture(params=[MemoryKit, SqliteKit], ids=["memory", "sqlite"])
async def kit(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kit]:
    monkeypatch.setattr(sqlite, "WAL_EXTENT_BYTES", 1 << 18)
    made: Kit = request.param(tmp_path)
    yield made
    await made.end()


@pytest.fixture
async def sqlite_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteKit]:
    monkeypatch.setattr(sqlite, "WAL_EXTENT_BYTES", 1 << 18)
    made = SqliteKit(tmp_path)
    yield made
    await made.end()


@pytest.fixture
def told() -> type[Told]:
    return Told


@pytest.fixture
def let_turn() -> Callable[..., Any]:
    return turns


@pytest.fixture
def read_journal() -> Callable[..., Any]:
    return rows_of
