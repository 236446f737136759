"""A data file that cannot be used is refused with a sentence, and its bytes stay as they were."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paxoskv.core.errors import StorageError
from paxoskv.storage import datafile, sqlite
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage

NODE = Identity("cluster-1", 1, "paxos", (1, 2, 3))


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's folder after a first life: 50 rows, 200 records, cleanly closed."""
    monkeypatch.setattr(sqlite, "WAL_EXTENT_BYTES", 1 << 18)
    storage = await SqliteStorage.open(tmp_path / "data", NODE)
    for sequence in range(50):
        storage.append(sequence, bytes(2000))
        await storage.fold([(b"%d-%d" % (sequence, n), bytes(500)) for n in range(4)])
    await storage.close()
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != datafile.LOCK}


def alter(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def execute(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def set_fact(path: Path, name: str, value: int | str) -> None:
    """A row of `meta`, with its checksum."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(*datafile.facts({name: value}))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def garbage_in_the_middle(path: Path) -> None:
    for page in range(3, path.stat().st_size // 4096, 2):
        alter(path, page * 4096, os.urandom(4096))


def only_the_wal_is_left(path: Path) -> None:
    path.rename(path.with_name("paxoskv.db-wal"))


def a_strangers_file(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE theirs (x)")


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no SQLite file": (lambda path: path.write_bytes(b"hello" * 1000), "is no SQLite file"),
    "a damaged header": (lambda path: alter(path, 0, b"x"), "is no SQLite file"),
    "empty": (lambda path: os.truncate(path, 0), "is empty"),
    "cut within the header": (lambda path: os.truncate(path, 60), "is cut off"),
    "cut in the middle": (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged"),
    "cut to its first page": (lambda path: os.truncate(path, 4096), "is damaged"),
    "garbage pages": (garbage_in_the_middle, "is damaged"),
    "only the WAL is left": (only_the_wal_is_left, "is missing, but paxoskv.db-wal is there"),
    "another program's": (a_strangers_file, "another program"),
    "a newer format": (lambda path: execute(path, "PRAGMA user_version = 4"), "has format 4, newer"),
    "an older format": (
        lambda path: execute(path, "PRAGMA user_version = 1"),
        "has format 1, and this version reads format 3 alone",
    ),
    "a table is missing": (lambda path: execute(path, "DROP TABLE records"), "lacks the tables records"),
    "no uuid": (lambda path: execute(path, "DELETE FROM meta WHERE name = 'uuid'"), "does not say its uuid"),
    "another cluster": (
        lambda path: set_fact(path, "cluster", "c-9"),
        "belongs to cluster 'c-9'",
    ),
    "another node": (
        lambda path: set_fact(path, "node", 9),
        "belongs to node 9",
    ),
    "another mode": (
        lambda path: set_fact(path, "mode", "raft"),
        "belongs to mode 'raft'",
    ),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is no regular file"),
    "a gap in the journal": (
        lambda path: execute(path, "DELETE FROM journal WHERE id = (SELECT min(id) + 1 FROM journal)"),
        "the journal has a gap",
    ),
}

WAYS_OUT = ("copy the keys to a new cluster", "name another data folder", "Name another data folder", "Run the")


@pytest.mark.parametrize("case", CASES)
async def test_an_unusable_file_is_refused_with_a_sentence_and_left_alone(folder: Path, case: str) -> None:
    damage, what = CASES[case]
    damage(folder / datafile.FILE)
    files = {name for name in os.listdir(folder) if name != datafile.LOCK}
    before = contents(folder) if case != "a folder" else {}
    for _ in range(2):
        with pytest.raises(StorageError) as refused:
            await SqliteStorage.open(folder, NODE)
        message = str(refused.value)
        assert str(folder / datafile.FILE) in message
        assert what in message
        assert any(way in message for way in WAYS_OUT), message
        assert message.endswith(".")
        assert {name for name in os.listdir(folder) if name != datafile.LOCK} == files
        if before:
            assert contents(folder) == before


async def test_a_refused_node_leaves_what_the_wal_holds(folder: Path, tmp_path: Path) -> None:
    """Closing a writing connection would carry the WAL over into the file of another node."""
    storage = await SqliteStorage.open(folder, NODE)
    storage.append(1, b"row")
    await storage.remember_peer(2, "uuid")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("paxoskv.db", "paxoskv.db-wal"):
        (crashed / name).write_bytes((folder / name).read_bytes())
    await storage.close()
    before = contents(crashed)
    with pytest.raises(StorageError, match="belongs to node 1"):
        await SqliteStorage.open(crashed, Identity("cluster-1", 2, "paxos", (1, 2, 3)))
    after = contents(crashed)
    after.pop("paxoskv.db-shm", None)  # shared memory, without meaning over a start
    assert after == before


async def test_other_nodes_than_the_cluster_began_with_are_refused(folder: Path) -> None:
    """With two nodes more, three new ones are a majority that need not meet two old ones."""
    await (await SqliteStorage.open(folder, NODE)).close()
    more = Identity(NODE.cluster, NODE.node, NODE.mode, (1, 2, 3, 4, 5))
    with pytest.raises(StorageError, match=r"the nodes 1, 2, 3, and its cluster\.toml has 1, 2, 3, 4, 5 now\. Give it"):
        await SqliteStorage.open(folder, more)


async def test_pages_found_broken_while_running_give_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is not read through at the start; then what reads the page must say it."""
    monkeypatch.setattr(datafile, "CHECKED_BYTES_MAX", 0)
    path = folder / datafile.FILE
    with contextlib.closing(sqlite3.connect(path)) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'records'")
    storage = await SqliteStorage.open(folder, NODE)
    await storage.close()
    leaf = 0
    with path.open("rb") as file:
        file.seek((root - 1) * 4096 + 12)  # the first cell's offset, and there the left child
        cell = int.from_bytes(file.read(2), "big")
        file.seek((root - 1) * 4096 + cell)
        leaf = int.from_bytes(file.read(4), "big")
    storage = await SqliteStorage.open(folder, NODE)
    alter(path, (leaf - 1) * 4096, b"\xff" * 4096)
    # The reader has the page in its cache from counting; another connection has not.
    await storage._reader.execute_fetchall("PRAGMA shrink_memory")
    with pytest.raises(StorageError, match=r"paxoskv\.db is damaged.*new cluster"):
        await storage.load([b"%d-%d" % (a, b) for a in range(50) for b in range(4)])
    await storage.close()


@pytest.mark.parametrize("place", ["file", "below a file"])
async def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    folder = tmp_path / "file" if place == "file" else tmp_path / "file" / "data"
    with pytest.raises(StorageError, match=r"a file, not a folder\. Name another"):
        await SqliteStorage.open(folder, NODE)
    assert (tmp_path / "file").read_bytes() == b"precious"


@pytest.fixture
def read_only_mount(folder: Path, tmp_path: Path) -> Iterator[Path]:
    """Permissions do not stop root, and tests often run as root; a read-only mount stops everybody."""
    at = tmp_path / "mount"
    at.mkdir()
    if os.geteuid() or subprocess.run(["mount", "--bind", folder, at], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", at], check=True)
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


async def test_a_read_only_folder_is_refused(read_only_mount: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot be used|may not be used") as refused:
        await SqliteStorage.open(read_only_mount, NODE)
    assert str(read_only_mount) in str(refused.value)
    assert "name another data folder" in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; see the read-only mount")
async def test_a_file_without_permission_is_refused(folder: Path) -> None:
    (folder / datafile.FILE).chmod(0)
    with pytest.raises(StorageError, match="may not be used by this process"):
        await SqliteStorage.open(folder, NODE)


async def test_a_start_that_was_cut_off_is_done_over(tmp_path: Path) -> None:
    """The file gets its name when it is complete, so under another name there may be anything."""
    folder = tmp_path / "data"
    folder.mkdir()
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / f"paxoskv.db.new{suffix}").write_bytes(b"half")
    storage = await SqliteStorage.open(folder, NODE)
    assert storage.incarnation == 1
    await storage.close()
    assert sorted(os.listdir(folder)) == ["lock", "paxoskv.db"]


@pytest.mark.parametrize("step", ["connect", "_sync", "rename"])
async def test_a_start_cut_off_at_any_step_leaves_nothing_or_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise OSError(5, "cut off")

    with monkeypatch.context() as broken:
        where = {"connect": sqlite3, "_sync": datafile, "rename": os}[step]
        broken.setattr(where, step, cut)
        with pytest.raises(StorageError, match="cut off"):
            await SqliteStorage.open(tmp_path, NODE)
    assert not (tmp_path / datafile.FILE).exists()
    storage = await SqliteStorage.open(tmp_path, NODE)
    assert storage.incarnation == 1
    await storage.close()


async def test_a_missing_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "a" / "b c?#%", NODE)
    await storage.close()
    assert (tmp_path / "a" / "b c?#%" / datafile.FILE).exists()


async def test_stall_is_only_for_fault_injection(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path, NODE)
    with pytest.raises(StorageError, match="fault injection"):
        storage.stall(True)
    await storage.close()
