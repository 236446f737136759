"""A flipped bit anywhere in a node's files is refused, or changes nothing; and so is a WAL that has lost commits."""

import asyncio
import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paxoskv.core.errors import StorageError
from paxoskv.storage import datafile, sqlite
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage

NODE = Identity("cluster-1", 1, "paxos", (1, 2, 3))
PAGE = datafile.PAGE_BYTES
RECORDS = {b"key %02d" % n: b"record %02d " % n * (n + 1) for n in range(40)} | {b"long": bytes(range(256)) * 80}
ROWS = [b"row %02d " % n * (n + 3) for n in range(12)]
FILES = ("paxoskv.db", "paxoskv.db-wal", "paxoskv.db-shm")

Content = dict[str, Any]


async def fill(storage: SqliteStorage) -> None:
    committed = asyncio.Event()
    storage.on_committed = lambda _: committed.set()
    await storage.fold(list(RECORDS.items()))
    await storage.remember_peer(2, "uuid-2")
    await storage.remember_peer(3, "uuid-3")
    for sequence, row in enumerate(ROWS, 1):
        committed.clear()
        storage.append(sequence, row)
        await committed.wait()


@pytest.fixture
async def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a node that was stopped in order."""
    monkeypatch.setattr(sqlite, "WAL_EXTENT_BYTES", 1 << 18)
    storage = await SqliteStorage.open(tmp_path / "closed", NODE)
    await fill(storage)
    await storage.close()
    return tmp_path / "closed"


@pytest.fixture
async def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a node that was killed, all of whose commits are in its WAL."""
    monkeypatch.setattr(sqlite, "WAL_EXTENT_BYTES", 1 << 18)
    storage = await SqliteStorage.open(tmp_path / "before", NODE)
    await fill(storage)
    copy = copied(tmp_path / "before", tmp_path / "killed")
    await storage.close()
    return copy


def copied(folder: Path, to: Path, *, without: str = "") -> Path:
    to.mkdir()
    for name in FILES:
        if name != without and (folder / name).exists():
            shutil.copyfile(folder / name, to / name)
    return to


async def content(folder: Path) -> Content:
    """All that a node would read. Raises StorageError when some of it is damaged."""
    storage = await SqliteStorage.open(folder, NODE)
    try:
        found: Content = {"uuid": storage.uuid, "incarnation": storage.incarnation, "peers": dict(storage.peers)}
        found["rows"] = [row async for chunk in storage.replay() for row in chunk]
        found["records"] = await storage.load([*RECORDS, b"other"])
        found["scan"] = dict((await storage.scan(b"", None, b""))[0])
        found["count"] = storage.record_count
        return found
    finally:
        await storage.close()


async def is_refused(folder: Path, right: Content) -> bool:
    """Whether the node refuses; else all that it reads has to be right."""
    sentence = ""
    try:
        assert await content(folder) == right
    except StorageError as error:
        sentence = str(error)
    assert not sentence or (str(folder / "paxoskv.db") in sentence and sentence.endswith("."))
    return bool(sentence)


def flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        [byte] = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def flip_all(path: Path, text: bytes) -> None:
    """A bit of that text, wherever it is: where a cell was before, too."""
    data = path.read_bytes()
    path.write_bytes(data.replace(text, bytes([text[0] ^ 4]) + text[1:]))


# Where in the file a column is: sqlite.org/fileformat2.html, as far as these tables need it.


def varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(8):
        value = value << 7 | page[at + count] & 0x7F
        if page[at + count] < 0x80:
            return value, at + count + 1
    return value << 8 | page[at + 8], at + 9


def stored_bytes(serial_type: int) -> int:
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[serial_type] if serial_type < 12 else (serial_type - 12) // 2


def cells(data: bytes, root: int) -> Iterator[list[range]]:
    """For each row of a tree: where its number (of a table with one), its types and each column lie, page by page."""
    begin = (root - 1) * PAGE
    page = data[begin : begin + PAGE]
    head = 100 if root == 1 else 0
    kind, count = page[head], int.from_bytes(page[head + 3 : head + 5], "big")
    interior = kind in (2, 5)
    for index in range(count):
        pointer = head + (12 if interior else 8) + 2 * index
        at = int.from_bytes(page[pointer : pointer + 2], "big")
        if interior:
            yield from cells(data, int.from_bytes(page[at : at + 4], "big"))
            at += 4
            if kind == 5:
                continue
        found = []
        _, at = varint(page, at)
        if kind == 13:
            start = at
            _, at = varint(page, at)
            found.append(range(begin + start, begin + at))
        start = at
        head_bytes, at = varint(page, at)
        found.append(range(begin + start, begin + start + head_bytes))
        body = start + head_bytes
        while at < start + head_bytes:
            serial_type, at = varint(page, at)
            end = min(body + stored_bytes(serial_type), PAGE)
            if end > body:
                found.append(range(begin + body, begin + end))
            body = end
        yield found
    if interior:
        yield from cells(data, int.from_bytes(page[head + 8 : head + 12], "big"))


@pytest.mark.parametrize("table", ["journal", "records", "meta", "sqlite_schema"])
@pytest.mark.parametrize("checked_bytes_max", [1 << 30, 0], ids=["checked at the start", "too large for that"])
async def test_a_flipped_bit_in_any_column_of_any_table_is_never_answered_with(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, checked_bytes_max: int
) -> None:
    """Without checksums, SQLite has every second one of these pass."""
    right = await content(copied(closed, tmp_path / "right"))
    data = (closed / datafile.FILE).read_bytes()
    with contextlib.closing(sqlite3.connect(closed / datafile.FILE)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema")) | {"sqlite_schema": 1}
    monkeypatch.setattr(datafile, "CHECKED_BYTES_MAX", checked_bytes_max)
    rows = list(cells(data, roots[table]))
    rng = random.Random(table)
    flips = refusals = 0
    for columns in rows if len(rows) < 6 else [rows[0], rows[-1], *rng.sample(rows, 3)]:
        for column in columns:
            for offset in {column[0], column[-1], rng.choice(column)}:
                flips += 1
                folder = copied(closed, tmp_path / f"flipped-{flips}")
                flip(folder / datafile.FILE, offset, rng.randrange(8))
                refusals += await is_refused(folder, right)
                shutil.rmtree(folder)
    assert flips > 25
    # All of them but for those that say the same in another way.
    assert refusals > 0.9 * flips


async def test_the_sentence_names_file_table_and_row(closed: Path) -> None:
    path = closed / datafile.FILE
    whole = path.read_bytes()
    flip_all(path, b"record 17 record 17")
    with pytest.raises(StorageError, match=r"paxoskv\.db is damaged .*key b'key 17' in its table records.*new cluster"):
        await SqliteStorage.open(closed, NODE)
    path.write_bytes(whole)
    flip_all(path, b"row 07 row 07")
    storage = await SqliteStorage.open(closed, NODE)
    with pytest.raises(StorageError, match=r"paxoskv\.db is damaged .*row \d+ in its table journal.*new cluster"):
        await anext(storage.replay())
    await storage.close()


async def test_a_record_that_is_damaged_while_the_node_runs_is_not_answered(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await SqliteStorage.open(closed, NODE)
    path = closed / datafile.FILE
    flip_all(path, b"record 17 record 17")
    await storage._reader.execute_fetchall("PRAGMA shrink_memory")
    assert await storage.load([b"key 03"]) == {b"key 03": RECORDS[b"key 03"]}
    for read in (storage.load([b"key 03", b"key 17"]), storage.scan(b"", None, b"z")):
        with pytest.raises(StorageError, match=r"the checksum of key b'key 17' in its table records is wrong"):
            await read
    await storage.close()


# The WAL


async def test_a_killed_node_has_everything_again(killed: Path, tmp_path: Path) -> None:
    right = await content(copied(killed, tmp_path / "right"))
    assert right["rows"] == ROWS
    for name in ("", "paxoskv.db-shm"):
        assert not await is_refused(copied(killed, tmp_path / f"without-{name}", without=name), right)


async def test_after_a_clean_end_the_data_file_is_all_there_is(closed: Path, tmp_path: Path) -> None:
    assert (await content(copied(closed, tmp_path / "copy")))["rows"] == ROWS


def cut(to: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        wal = folder / "paxoskv.db-wal"
        with wal.open("r+b") as file:
            file.truncate(int(wal.stat().st_size * to))

    return damage


def end_of_frames(folder: Path) -> int:
    """How many frames of the WAL are valid, as the index has it."""
    return int.from_bytes((folder / "paxoskv.db-shm").read_bytes()[16:20], "little")


def in_frame(number: int) -> Callable[[Path], None]:
    """A flipped bit in a frame, counted from the last one."""

    def damage(folder: Path) -> None:
        flip(folder / "paxoskv.db-wal", 32 + (end_of_frames(folder) - 1 + number) * (24 + PAGE) + 1000, 3)

    return damage


WALS: dict[str, tuple[Callable[[Path], None], str]] = {
    "gone": (lambda folder: (folder / "paxoskv.db-wal").unlink(), "paxoskv.db-wal is gone"),
    "empty": (cut(0), "paxoskv.db-wal is gone"),
    "within its header": (cut(0.00002), "the beginning of paxoskv.db-wal is damaged"),
    "cut to a tenth": (cut(0.1), "it has .* bytes, and had .* at least"),
    "cut by a byte": (cut(0.999999), "it has .* bytes, and had .* at least"),
    "a bit in its header": (
        lambda folder: flip(folder / "paxoskv.db-wal", 17, 0),
        "the beginning of paxoskv.db-wal is",
    ),
    "a bit in its last frame but eight": (in_frame(-8), "frames can be read|damaged behind its frame"),
}


@pytest.mark.parametrize("with_index", [True, False], ids=["killed", "power cut"])
@pytest.mark.parametrize("case", WALS)
async def test_a_wal_that_has_lost_commits_is_refused(
    killed: Path, tmp_path: Path, case: str, with_index: bool
) -> None:
    """SQLite takes what it finds, and the node would have forgotten what it promised."""
    damage, sentence = WALS[case]
    damage(killed)
    folder = copied(killed, tmp_path / "damaged", without="" if with_index else "paxoskv.db-shm")
    before = {name: (folder / name).read_bytes() for name in FILES[:2] if (folder / name).exists()}
    for _ in range(2):
        with pytest.raises(StorageError, match=sentence) as refused:
            await SqliteStorage.open(folder, NODE)
        assert str(folder / "paxoskv.db") in str(refused.value)
    assert {name: (folder / name).read_bytes() for name in FILES[:2] if (folder / name).exists()} == before


async def test_the_last_commit_damaged_is_told_from_a_torn_one_by_the_index_alone(killed: Path, tmp_path: Path) -> None:
    in_frame(0)(killed)
    with pytest.raises(StorageError, match="frames can be read"):
        await SqliteStorage.open(copied(killed, tmp_path / "killed too"), NODE)
    # After a power cut it may be a commit that was under way, and was answered to nobody.
    found = await content(copied(killed, tmp_path / "power cut", without="paxoskv.db-shm"))
    assert found["rows"] == ROWS[: len(found["rows"])] != ROWS


async def test_an_older_wal_is_refused(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = await SqliteStorage.open(killed, NODE)
    older = (killed / "paxoskv.db-wal").read_bytes()
    for number in range(3):
        await storage._restart()
        await storage.remember_peer(4 + number, "uuid")
    crashed = copied(killed, tmp_path / "crashed")
    await storage.close()
    (crashed / "paxoskv.db-wal").write_bytes(older)
    with pytest.raises(StorageError, match="it is an older one"):
        await SqliteStorage.open(crashed, NODE)


@pytest.mark.parametrize("seed", range(2))
async def test_a_flipped_bit_anywhere_in_the_files_of_a_killed_node_is_never_answered_with(
    killed: Path, tmp_path: Path, seed: int
) -> None:
    right = await content(copied(killed, tmp_path / "right"))
    rng = random.Random(seed)
    used = {"paxoskv.db": (killed / "paxoskv.db").stat().st_size, "paxoskv.db-wal": 32 + end_of_frames(killed) * 4120}
    refusals = 0
    for number in range(40):
        name = rng.choice(list(used))
        folder = copied(killed, tmp_path / f"flipped-{number}")
        flip(folder / name, rng.randrange(used[name]), rng.randrange(8))
        refusals += await is_refused(folder, right)
        shutil.rmtree(folder)
    assert refusals > 5
