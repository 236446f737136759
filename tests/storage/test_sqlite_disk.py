"""How SqliteStorage uses its disk: groups, slices, checkpoints, and a file system that is really full."""

import asyncio
import contextlib
import gc
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paxoskv.core.errors import StorageError
from paxoskv.storage import sqlite
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage

NODE = Identity("cluster-1", 1, "paxos", (1, 2, 3))


def watch(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first words of every statement, in the order in which they begin."""
    seen: list[str] = []
    run = storage._run

    async def watched(connection: Any, sql: str, parameters: Any = ()) -> Any:
        seen.append(" ".join(sql.split()[:3]))
        return await run(connection, sql, parameters)

    monkeypatch.setattr(storage, "_run", watched)
    return seen


async def test_the_settings_that_durability_rests_on(sqlite_kit: Any) -> None:
    storage = await sqlite_kit.open()
    for connection in (storage._writer, storage._checkpointer):
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("wal_autocheckpoint", 0)):
            assert list(await connection.execute_fetchall(f"PRAGMA {pragma}")) == [(value,)]


async def test_a_large_queue_is_committed_in_bounded_groups(
    sqlite_kit: Any, told: Any, read_journal: Any, let_turn: Any
) -> None:
    storage = await sqlite_kit.open()
    heard = told(storage)
    storage.stall(True)
    storage.append(0, b"")
    await let_turn()
    rows = [bytes([n]) * 300_000 for n in range(10)] + [b"x" * 5_000_000, b"y"]
    for sequence, row in enumerate(rows, 1):
        storage.append(sequence, row)
    storage.stall(False)
    await heard.until_committed(12)
    assert heard.committed == [0, 3, 6, 9, 10, 11, 12]
    await storage.close()
    assert await read_journal(await sqlite_kit.open()) == [b"", *rows]


async def test_what_comes_within_a_few_rounds_of_the_loop_goes_into_the_same_commit(
    sqlite_kit: Any, told: Any, read_journal: Any
) -> None:
    """It was only what came in the same round."""
    storage = await sqlite_kit.open()
    heard = told(storage)
    for sequence in (1, 2):
        storage.append(sequence, b"%d" % sequence)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await heard.until_committed(2)
    assert heard.committed == [2]
    await storage.close()
    assert await read_journal(await sqlite_kit.open()) == [b"1", b"2"]


async def test_rows_that_wait_for_their_commit_are_not_written_after_a_failure(
    sqlite_kit: Any, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await sqlite_kit.open()
    told(storage)
    failures: list[BaseException] = []
    storage.on_failed = failures.append
    seen = watch(storage, monkeypatch)
    storage.append(1, b"row")
    await asyncio.sleep(0)
    storage._fail(StorageError("the file has vanished"))
    await storage._writing
    assert [str(failure) for failure in failures] == ["the file has vanished"]
    assert seen == []


async def test_between_two_commits_runs_one_slice_at_most(
    sqlite_kit: Any, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await sqlite_kit.open()
    heard = told(storage)
    sequence = 0
    for _ in range(30):
        sequence += 1
        storage.append(sequence, bytes(100_000))
        await heard.until_committed(sequence)
    seen = watch(storage, monkeypatch)
    boundary = storage.boundary()
    slices = asyncio.gather(storage.fold([(b"%d" % n, bytes(1000)) for n in range(2000)]), storage.trim(boundary))
    while not slices.done():
        sequence += 1
        storage.append(sequence, b"row")
        await heard.until_committed(sequence)
    await slices
    writes = [words.split()[0:2] for words in seen if not words.startswith(("SELECT", "PRAGMA"))]
    kinds = "".join({"INTO": "c", "OR": "f", "FROM": "t"}[words[1]] for words in writes)
    assert kinds.count("f") >= 8, kinds
    assert kinds.count("t") == 3, kinds
    for pair in ("ff", "ft", "tf", "tt"):
        assert pair not in kinds, kinds


async def test_the_wal_starts_over_under_a_constant_load(
    sqlite_kit: Any, told: Any, read_journal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no end otherwise: a PASSIVE checkpoint alone is never complete while somebody writes."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_FRAMES", 100)
    storage = await sqlite_kit.open()
    heard = told(storage)
    reading = True

    async def read() -> None:
        while reading:
            await storage.load([b"%d" % n for n in range(200)])

    reader = asyncio.create_task(read())
    await storage.fold([(b"%d" % n, b"x" * 500) for n in range(200)])
    written, sequence = 0, 0
    while storage.status()["checkpoints"] < 40 or written < 12_000_000:
        sequence += 1
        storage.append(sequence, bytes(8000))
        written += 8000
        await heard.until_committed(sequence)
        assert written < 100_000_000, "the WAL never started over"
    reading = False
    await reader
    wal = storage._wal_path.stat().st_size
    assert wal < written // 3
    await sqlite_kit.crash(storage)
    assert await read_journal(await sqlite_kit.open()) == [bytes(8000)] * sequence


async def test_no_pass_begins_where_a_commit_may_start_the_wal_over(
    sqlite_kit: Any, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's WAL-reset bug, before 3.51.3: a second pass right after a complete one can lose frames."""
    storage = await sqlite_kit.open()
    heard = told(storage)

    async def busy(*_: Any, **__: Any) -> None:
        """A RESTART that some foreign reader keeps from working."""

    storage.append(1, b"row")
    await heard.until_committed(1)
    seen = watch(storage, monkeypatch)
    monkeypatch.setattr(storage, "_in_turn", busy)
    for _ in range(3):
        await storage._checkpoint()
    assert seen == ["PRAGMA wal_checkpoint(PASSIVE)"]
    storage.append(2, b"row")
    await heard.until_committed(2)
    await storage._checkpoint()
    assert seen.count("PRAGMA wal_checkpoint(PASSIVE)") == 2


async def test_under_load_no_pass_follows_a_complete_checkpoint_before_the_wal_has_started_over(
    sqlite_kit: Any, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every commit during a pass had asked for another one, which began beside the commit that starts the WAL over."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_FRAMES", 50)
    storage = await sqlite_kit.open()
    heard = told(storage)
    run = storage._run
    commits_since_restart, too_early, restarts = 1, 0, 0

    async def recorded(connection: Any, sql: str, parameters: Any = ()) -> Any:
        nonlocal commits_since_restart, too_early, restarts
        if "PASSIVE" in sql:
            too_early += commits_since_restart == 0
        rows = await run(connection, sql, parameters)
        if "RESTART" in sql and not rows[0][0]:
            restarts += 1
            commits_since_restart = 0
        commits_since_restart += sql.startswith("INSERT")
        return rows

    monkeypatch.setattr(storage, "_run", recorded)
    sequence = 0
    while restarts < 20:
        sequence += 1
        storage.append(sequence, bytes(60_000))
        if sequence % 4 == 0:
            await heard.until_committed(sequence - 2)
    assert not too_early


async def test_a_checkpoint_does_not_wait_with_what_waits_for_room(sqlite_kit: Any) -> None:
    """It may make some; and nobody can read until it is done."""
    storage = await sqlite_kit.open()
    storage._jobs_wait = True
    folding = asyncio.create_task(storage.fold([(b"k", b"record")]))
    async with asyncio.timeout(60):
        while not storage._jobs:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        await storage._checkpoint()
    assert not folding.done()
    storage._jobs_wait = False
    storage._wake.set()
    await folding


async def test_a_foreign_lock_is_waited_for(sqlite_kit: Any, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator's shell with an open transaction; nothing has been written, nothing is lost."""
    monkeypatch.setattr(sqlite, "RETRY_S", 0.01)
    storage = await sqlite_kit.open()
    await storage._writer.execute_fetchall("PRAGMA busy_timeout = 0")
    heard = told(storage)
    with contextlib.closing(sqlite3.connect(storage._path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        seen = watch(storage, monkeypatch)
        storage.append(1, b"row")
        async with asyncio.timeout(20):
            while seen.count("INSERT INTO journal") < 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert heard.committed == []
        assert storage.disk_full is False
        shell.execute("ROLLBACK")
    await heard.until_committed(1)
    assert heard.failures == []


async def test_the_extent_is_written_once_and_the_main_file_stays_small(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path, NODE)
    assert (tmp_path / "paxoskv.db-wal").stat().st_size >= 16 << 20
    assert (tmp_path / "paxoskv.db-wal").stat().st_blocks * 512 >= 16 << 20
    await storage.close()
    assert (tmp_path / "paxoskv.db").stat().st_size < 100_000


async def test_trying_again_on_a_full_disk_holds_no_memory(
    sqlite_kit: Any, told: Any, let_turn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try carries a group of up to a megabyte, and a node with little to do hardly ever collects garbage."""
    monkeypatch.setattr(sqlite, "RETRY_S", 0.001)
    storage = await sqlite_kit.open()
    heard = told(storage)
    await sqlite_kit.fill(storage, True)
    seen = watch(storage, monkeypatch)
    gc.collect()
    gc.disable()
    try:
        storage.append(1, bytes(100_000))
        while seen.count("INSERT INTO journal") < 50:
            await let_turn()
        failures = [found for found in gc.get_objects() if isinstance(found, sqlite3.OperationalError)]
    finally:
        gc.enable()
    assert len(failures) < 5
    await sqlite_kit.fill(storage, False)
    await heard.until_committed(1)


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    at = tmp_path / "mount"
    at.mkdir()
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(at)]
    else:
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=False, capture_output=True)
        command = ["mount", "-o", "loop", str(image), str(at)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"needs the right to mount {request.param}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)  # lazily: after a failure something is still open


async def test_a_really_full_disk_keeps_everything_and_recovers(
    small_disk: Path, told: Any, read_journal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_S", 0.02)
    folder = small_disk / "data"
    storage = await SqliteStorage.open(folder, NODE)
    heard = told(storage)
    sequence = 0
    for _ in range(20):
        sequence += 1
        storage.append(sequence, b"%d." % sequence + bytes(20_000))
        await heard.until_committed(sequence)
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    while not storage.disk_full:
        assert sequence < 5000
        sequence += 1
        storage.append(sequence, b"%d." % sequence + bytes(20_000))
        await asyncio.sleep(0.001)
    reported = heard.committed[-1]
    assert reported < sequence
    fold = asyncio.create_task(storage.fold([(b"%d" % n, bytes(3000)) for n in range(100)]))
    trim = asyncio.create_task(storage.trim(10))
    async with asyncio.timeout(20):
        while len(storage._jobs) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    # More than one try at it, with checkpoints between.
    seen = watch(storage, monkeypatch)
    async with asyncio.timeout(20):
        while seen.count("INSERT INTO journal") < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert storage.disk_full
    assert heard.failures == []
    assert not fold.done()
    ballast.unlink()
    await heard.until_committed(sequence)
    await asyncio.gather(fold, trim)
    assert heard.failures == []
    assert storage.disk_full is False
    await storage.close()
    storage = await SqliteStorage.open(folder, NODE)
    rows = await read_journal(storage)
    assert [int(row.partition(b".")[0]) for row in rows] == list(range(11, sequence + 1))
    assert None not in (await storage.load([b"%d" % n for n in range(100)])).values()
    await storage.close()


@pytest.fixture
def roomy_disk(tmp_path: Path) -> Iterator[Path]:
    at = tmp_path / "mount"
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(at)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)  # lazily: after a failure something is still open


async def test_no_room_for_the_index_of_the_wal_is_a_full_disk(
    roomy_disk: Path, tmp_path: Path, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash the WAL is as long as it was, and its index is made anew and short.

    SQLite then writes into the WAL, cannot note it in the index, and says SQLITE_IOERR_SHMSIZE.
    """
    # Longer than one page of the index covers, 4,062 frames.
    monkeypatch.setattr(sqlite, "WAL_EXTENT_BYTES", 24 << 20)
    monkeypatch.setattr(sqlite, "RETRY_S", 0.02)
    monkeypatch.setattr(sqlite, "CHECKPOINT_FRAMES", 1 << 30)
    before = await SqliteStorage.open(tmp_path / "before", NODE)
    (roomy_disk / "data").mkdir()
    for name in ("paxoskv.db", "paxoskv.db-wal"):
        shutil.copyfile(tmp_path / "before" / name, roomy_disk / "data" / name)
    await before.close()
    storage = await SqliteStorage.open(roomy_disk / "data", NODE)
    heard = told(storage)
    ballast = roomy_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    errors: list[int] = []
    judge = storage._may_try_again

    def note(error: sqlite3.Error) -> bool:
        errors.append(error.sqlite_errorcode)
        return judge(error)

    monkeypatch.setattr(storage, "_may_try_again", note)
    # A checkpoint would start the WAL over, and so not need more of the index.
    monkeypatch.setattr(storage._checkpoint_due, "set", lambda: None)
    for sequence in range(1, 51):
        storage.append(sequence, bytes(400_000))
    async with asyncio.timeout(5):
        while not errors:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert errors[0] == sqlite3.SQLITE_IOERR_SHMSIZE
    assert storage.disk_full
    ballast.unlink()
    await heard.until_committed(50)
    assert heard.failures == []
    assert storage.disk_full is False
    await storage.close()


async def test_a_start_on_a_full_disk_is_refused_for_that_reason(small_disk: Path) -> None:
    """After an orderly end the WAL and its index are made anew, and SQLite says SQLITE_IOERR_SHMSIZE. The node was
    taken for one that has lost its disk: to be left off, and its cluster to be copied to a new one."""
    folder = small_disk / "data"
    for _ in range(2):
        await (await SqliteStorage.open(folder, NODE)).close()
    ballast = small_disk / "ballast"
    for size in (4096, 1):
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(size))
    with pytest.raises(StorageError, match=r"the disk is full \(.*\)\. Make room on it and start again\.$"):
        await SqliteStorage.open(folder, NODE)
    ballast.unlink()
    await (await SqliteStorage.open(folder, NODE)).close()


async def test_reads_go_on_while_a_commit_hangs_and_a_checkpoint_waits_for_its_turn(
    sqlite_kit: Any, let_turn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await sqlite_kit.open()
    await storage.fold([(b"k", b"record")])
    run, goes_on = storage._run, asyncio.Event()

    async def hangs(connection: Any, sql: str, parameters: Any = ()) -> Any:
        if connection is storage._writer and "INTO journal" in sql:
            await goes_on.wait()
        return await run(connection, sql, parameters)

    monkeypatch.setattr(storage, "_run", hangs)
    storage.append(1, b"row")
    storage._checkpoint_due.set()
    while not storage._jobs:
        await let_turn()
    assert await storage.load([b"k"]) == {b"k": b"record"}
    goes_on.set()
    await storage.close()
