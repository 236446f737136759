"""Every sentence of `paxoskv.storage.contract`, held against both implementations."""

import asyncio
import json
import random
from typing import Any

import pytest

from paxoskv.core.errors import StorageError
from paxoskv.storage.contract import Identity, Storage

BIG = bytes(range(256)) * 64  # needs pages of its own, so a full disk shows


async def until_full(storage: Storage) -> None:
    async with asyncio.timeout(20):
        while not storage.disk_full:  # noqa: ASYNC110 (a plain attribute, by contract)
            await asyncio.sleep(0)


# Identity


async def test_the_incarnation_is_one_more_at_every_open(kit: Any) -> None:
    for expected in (1, 2, 3):
        storage = await kit.open()
        assert storage.incarnation == expected
        await storage.close()


async def test_the_incarnation_survives_a_crash_right_after_open(kit: Any) -> None:
    """(B9) rests on it: the same incarnation twice, and one ballot can carry two chains."""
    await kit.crash(await kit.open())
    assert (await kit.open()).incarnation == 2


async def test_the_uuid_stays_with_the_disk_and_tells_it_from_another(kit: Any) -> None:
    storage = await kit.open()
    other = await kit.open_another()
    first, second = storage.uuid, other.uuid
    await other.close()
    await storage.close()
    assert first != second
    assert (await kit.open()).uuid == first


@pytest.mark.parametrize(
    "other",
    [
        Identity("cluster-2", 1, "paxos", (1, 2, 3)),
        Identity("cluster-1", 2, "paxos", (1, 2, 3)),
        Identity("cluster-1", 1, "raft", (1, 2, 3)),
        Identity("cluster-1", 1, "paxos", (1, 2, 3, 4, 5)),
    ],
    ids=["cluster", "node", "mode", "nodes"],
)
async def test_another_identity_is_refused_and_costs_nothing(kit: Any, other: Identity) -> None:
    await (await kit.open()).close()
    with pytest.raises(StorageError):
        await kit.open(other)
    assert (await kit.open()).incarnation == 2


async def test_one_disk_has_one_user(kit: Any) -> None:
    storage = await kit.open()
    with pytest.raises(StorageError, match="in use"):
        await kit.open()
    await storage.close()
    assert (await kit.open()).incarnation == 2


async def test_peers_are_remembered_over_a_crash(kit: Any) -> None:
    storage = await kit.open()
    assert dict(storage.peers) == {}
    await storage.remember_peer(2, "uuid-2")
    await storage.remember_peer(3, "uuid-3")
    await storage.remember_peer(2, "uuid-2b")
    assert dict(storage.peers) == {2: "uuid-2b", 3: "uuid-3"}
    await kit.crash(storage)
    assert dict((await kit.open()).peers) == {2: "uuid-2b", 3: "uuid-3"}


# The journal


async def test_rows_come_back_exactly_and_oldest_first(kit: Any, told: Any, read_journal: Any) -> None:
    rows = [b"", b"\x00", b"\xc1\xff,:", bytes(range(256)), b"x" * 3_000_000, b"last"]
    storage = await kit.open()
    heard = told(storage)
    for sequence, row in enumerate(rows, 1):
        storage.append(sequence, row)
    await heard.until_committed(len(rows))
    await kit.crash(storage)
    assert await read_journal(await kit.open()) == rows


async def test_commits_are_reported_in_order_with_the_highest_sequence(kit: Any, told: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    for sequence in range(10, 2000, 10):
        storage.append(sequence, b"row")
        if sequence % 70 == 0:
            await asyncio.sleep(0)
    await heard.until_committed(1990)
    assert heard.committed == sorted(set(heard.committed))
    assert heard.committed[-1] == 1990
    assert set(heard.committed) <= set(range(10, 2000, 10))


async def test_a_row_is_on_disk_when_it_is_reported(kit: Any, told: Any, read_journal: Any) -> None:
    """(D1). Each report is checked against the disk as a crash at that very moment leaves it."""
    storage = await kit.open()
    heard = told(storage)
    for sequence in (1, 2, 3):
        storage.append(sequence, b"row %d" % sequence)
        await heard.until_committed(sequence)
    await kit.crash(storage)
    assert await read_journal(await kit.open()) == [b"row 1", b"row 2", b"row 3"]


async def test_rows_appended_during_a_commit_share_the_next(kit: Any, told: Any, let_turn: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    storage.stall(True)
    storage.append(1, b"one")
    await let_turn()  # the commit of row 1 is under way, and hangs
    for sequence in (2, 3, 4):
        storage.append(sequence, b"row")
        await let_turn()
    storage.stall(False)
    await heard.until_committed(4)
    assert heard.committed == [1, 4]
    assert storage.status()["commits"] == 2


async def test_nothing_needs_to_listen(kit: Any, read_journal: Any) -> None:
    storage = await kit.open()
    storage.append(1, b"row")
    await storage.close()
    assert await read_journal(await kit.open()) == [b"row"]


async def test_close_commits_what_is_queued(kit: Any, told: Any, read_journal: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    for sequence in range(1, 101):
        storage.append(sequence, b"%d" % sequence)
    await storage.close()
    assert heard.committed[-1] == 100
    assert await read_journal(await kit.open()) == [b"%d" % n for n in range(1, 101)]
    with pytest.raises(StorageError):
        storage.append(101, b"late")


async def test_after_a_crash_the_journal_is_a_prefix(kit: Any, told: Any, read_journal: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    for sequence in range(1, 51):
        storage.append(sequence, b"%d" % sequence)
    await heard.until_committed(50)
    storage.stall(True)
    for sequence in range(51, 61):
        storage.append(sequence, b"%d" % sequence)
    await kit.crash(storage)
    assert await read_journal(await kit.open()) == [b"%d" % n for n in range(1, 51)]


# Trimming


async def test_trim_forgets_up_to_the_boundary_and_nothing_beyond(kit: Any, told: Any, read_journal: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    for sequence in (1, 2, 3):
        storage.append(sequence, b"old %d" % sequence)
        await heard.until_committed(sequence)
    boundary = storage.boundary()
    assert storage.journal_bytes >= 3 * len(b"old 1")
    storage.append(4, b"new 4")
    await heard.until_committed(4)
    storage.append(5, b"new 5")  # on its way while the trim runs
    await storage.trim(boundary)
    await heard.until_committed(5)
    await storage.trim(boundary)  # again is harmless
    await kit.crash(storage)
    storage = await kit.open()
    assert await read_journal(storage) == [b"new 4", b"new 5"]
    await storage.trim(storage.boundary())
    assert storage.journal_bytes == 0
    assert storage.status()["journal_rows"] == 0
    await storage.close()
    assert await read_journal(await kit.open()) == []


async def test_the_boundary_leaves_out_what_is_not_committed(kit: Any, told: Any, let_turn: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    storage.append(1, b"one")
    await heard.until_committed(1)
    before = storage.boundary()
    storage.stall(True)
    storage.append(2, b"two")
    await let_turn()
    assert storage.boundary() == before
    storage.stall(False)
    await heard.until_committed(2)
    assert storage.boundary() > before


async def test_a_journal_that_was_trimmed_empty_goes_on(kit: Any, told: Any, read_journal: Any) -> None:
    expected: list[bytes] = []
    for turn in range(3):
        storage = await kit.open()
        heard = told(storage)
        assert await read_journal(storage) == expected
        await storage.trim(storage.boundary())
        storage.append(1, b"turn %d" % turn)
        await heard.until_committed(1)
        expected = [b"turn %d" % turn]
        await kit.crash(storage)


# Records


async def test_load_gives_what_was_folded_and_none_for_the_rest(kit: Any) -> None:
    storage = await kit.open()
    assert await storage.load([]) == {}
    records = {b"\x00,:\xff%d" % n: bytes([n % 256]) * n for n in range(1200)}
    records[b"empty"] = b""
    records[b"long"] = b"\x00\xff" * 40_000
    await storage.fold(list(records.items()))
    assert storage.record_count == len(records)
    wanted = [*records, b"unknown", b"long", b"also unknown"]
    loaded = await storage.load(wanted)
    assert loaded == {**records, b"unknown": None, b"also unknown": None}


async def test_a_fold_replaces_and_survives_a_crash(kit: Any) -> None:
    storage = await kit.open()
    await storage.fold([(b"a", b"1"), (b"b", b"1")])
    await storage.fold([(b"b", b"2"), (b"c", b"1"), (b"c", b"2")])
    await storage.fold([])
    assert storage.record_count == 3
    await kit.crash(storage)
    storage = await kit.open()
    assert storage.record_count == 3
    assert await storage.load([b"a", b"b", b"c"]) == {b"a": b"1", b"b": b"2", b"c": b"2"}


async def test_folds_and_commits_do_not_starve_each_other(kit: Any, told: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    appended = 0
    folding = asyncio.create_task(storage.fold([(b"%d" % n, b"x" * 100) for n in range(6000)]))
    while not folding.done():
        appended += 1
        storage.append(appended, b"row")
        await heard.until_committed(appended)
    await folding
    assert storage.record_count == 6000
    assert heard.committed == list(range(1, appended + 1))


# Faults


async def test_a_hung_disk_reports_nothing_until_it_goes_on(kit: Any, told: Any, let_turn: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    await storage.fold([(b"k", b"v")])
    storage.stall(True)
    storage.append(1, b"row")
    waiting = [
        asyncio.create_task(storage.fold([(b"k", b"w")])),
        asyncio.create_task(storage.load([b"k"])),
    ]
    await let_turn()
    assert heard.committed == []
    assert not any(task.done() for task in waiting)
    storage.stall(False)
    await heard.until_committed(1)
    await asyncio.gather(*waiting)
    assert await storage.load([b"k"]) == {b"k": b"w"}


async def test_closing_a_hung_disk_can_be_given_up(kit: Any, let_turn: Any) -> None:
    storage = await kit.open()
    storage.stall(True)
    storage.append(1, b"row")
    closing = asyncio.create_task(storage.close())
    await let_turn()
    assert not closing.done()
    connections = list(getattr(storage, "_connections", []))
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    storage.stall(False)
    for connection in connections:
        connection.stop()  # Nothing else does; they end with the process.
        await asyncio.to_thread(connection._thread.join)


async def test_a_full_disk_keeps_the_rows_and_goes_on_when_there_is_room(
    kit: Any, told: Any, read_journal: Any, let_turn: Any
) -> None:
    storage = await kit.open()
    heard = told(storage)
    storage.append(1, b"before")
    await heard.until_committed(1)
    await storage.fold([(b"k", b"v")])
    await kit.fill(storage, True)
    storage.stall(True)
    storage.append(2, BIG)
    await let_turn()
    storage.append(3, b"meanwhile")  # queued when the commit of row 2 finds no room, and must not overtake it
    storage.stall(False)
    await until_full(storage)
    await let_turn()
    assert heard.committed == [1]
    assert heard.failures == []
    assert storage.status()["disk_full"] is True
    assert await storage.load([b"k"]) == {b"k": b"v"}
    await kit.fill(storage, False)
    await heard.until_committed(3)
    assert storage.disk_full is False
    await kit.crash(storage)
    assert await read_journal(await kit.open()) == [b"before", BIG, b"meanwhile"]


async def test_a_fold_waits_out_a_full_disk_and_is_not_lost(kit: Any, let_turn: Any) -> None:
    storage = await kit.open()
    await kit.fill(storage, True)
    records = [(b"%d" % n, BIG) for n in range(3)]
    folding = asyncio.create_task(storage.fold(records))
    await until_full(storage)
    await let_turn()
    assert not folding.done()
    await kit.fill(storage, False)
    await folding
    assert storage.disk_full is False
    await kit.crash(storage)
    storage = await kit.open()
    assert await storage.load([key for key, _ in records]) == dict(records)


async def test_a_failed_commit_is_reported_once_and_nothing_is_written_after_it(
    kit: Any, told: Any, read_journal: Any, let_turn: Any
) -> None:
    """(D2)"""
    storage = await kit.open()
    heard = told(storage)
    storage.append(1, b"good")
    await heard.until_committed(1)
    await kit.break_it(storage)
    storage.append(2, b"bad")
    await heard.until_failed()
    storage.append(3, b"late")
    for write in (storage.fold([(b"k", b"v")]), storage.remember_peer(2, "uuid")):
        with pytest.raises(StorageError):
            await write
    await let_turn()
    assert heard.committed == [1]
    assert len(heard.failures) == 1
    await kit.crash(storage)
    storage = await kit.open()
    assert await read_journal(storage) == [b"good"]
    assert await storage.load([b"k"]) == {b"k": None}


async def test_a_failed_fold_fails_the_disk(kit: Any, told: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    await kit.break_it(storage)
    with pytest.raises(StorageError):
        await storage.fold([(b"k", b"v")])
    await heard.until_failed()
    storage.append(1, b"late")
    with pytest.raises(StorageError):
        await storage.trim(storage.boundary()) if storage.boundary() else await storage.fold([(b"k", b"v")])
    assert heard.committed == []
    assert len(heard.failures) == 1


async def test_a_failure_that_nobody_handles_is_loud(kit: Any) -> None:
    storage: Storage = await kit.open()
    raised: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, what: raised.set_result(what["exception"]))
    await kit.break_it(storage)
    storage.append(1, b"row")
    assert isinstance(await raised, StorageError)


async def test_the_status_is_json(kit: Any, told: Any) -> None:
    storage = await kit.open()
    heard = told(storage)
    storage.append(1, b"row")
    await heard.until_committed(1)
    status = json.loads(json.dumps(storage.status()))
    assert status.items() >= {"journal_rows": 1, "commits": 1, "disk_full": False, "record_count": 0}.items()
    assert {"journal_bytes", "wal_bytes", "commit_p50_ms", "commit_p99_ms", "folds"} <= set(status)
    assert {"rows_per_commit", "bytes_per_commit"} <= set(status)


# All together


@pytest.mark.parametrize("seed", range(6))
async def test_any_interplay_ends_as_the_model_says(kit: Any, told: Any, read_journal: Any, seed: int) -> None:
    """Appends, folds, trims, closes and crashes in random order, against lists and dicts."""
    chance = random.Random(seed)
    journal: list[bytes] = []
    records: dict[bytes, bytes] = {}
    storage = await kit.open()
    heard = told(storage)
    sequence = 0
    for _ in range(60):
        match chance.choice(["append", "append", "append", "fold", "trim", "close", "crash"]):
            case "append":
                for _ in range(chance.randint(1, 5)):
                    sequence += 1
                    row = chance.randbytes(chance.choice([0, 10, 5000]))
                    storage.append(sequence, row)
                    journal.append(row)
                if chance.random() < 0.5:
                    await heard.until_committed(sequence)
            case "fold":
                pairs = [
                    (b"key %d" % chance.randrange(50), chance.randbytes(chance.choice([0, 20, 9000])))
                    for _ in range(chance.randint(1, 300))
                ]
                await storage.fold(pairs)
                records.update(pairs)
            case "trim":
                if journal:
                    # Everything is committed first, so that the model knows where the boundary lies.
                    await heard.until_committed(sequence)
                    boundary = storage.boundary()
                    sequence += 1
                    storage.append(sequence, b"beyond")
                    await storage.trim(boundary)
                    journal = [b"beyond"]
            case how:
                if how == "close":
                    await storage.close()
                else:
                    if journal:
                        await heard.until_committed(sequence)
                    await kit.crash(storage)
                storage = await kit.open()
                heard = told(storage)
                heard.committed.append(sequence)
                assert await read_journal(storage) == journal
                assert storage.record_count == len(records)
                keys = [b"key %d" % n for n in range(50)]
                assert await storage.load(keys) == {key: records.get(key) for key in keys}


# Scans


async def test_a_scan_has_every_record_of_its_range_once_and_in_order(kit: Any) -> None:
    storage = await kit.open()
    rng = random.Random(5)
    records = {b"": b"base", b"\0": b"least", b"\xff\xff": b"last"}
    records |= {rng.randbytes(rng.randint(1, 4)): rng.randbytes(rng.choice([3, 300, 40_000])) for _ in range(700)}
    for begin in range(0, len(records), 100):
        await storage.fold(list(records.items())[begin : begin + 100])
    bounds = [
        (b"", None),
        (b"\x40", b"\x80"),
        (b"\0", b"\0\0"),
        (b"\xfe", None),
        (b"\x80", b"\x80"),
        (b"\x90", b"\x10"),
    ]
    for start, end in bounds:
        found: list[tuple[bytes, bytes]] = []
        at = start
        while True:
            part, last = await storage.scan(at, end, b"")
            found += sorted(part)
            assert sum(len(record) for _, record in part) < 400_000
            if last is None:
                break
            assert last >= at
            at = last + b"\0"
        expected = {key: value for key, value in records.items() if key and start <= key and (end is None or key < end)}
        assert found == sorted(expected.items()), (start, end)


async def test_a_scan_leaves_out_what_is_below_its_floor(kit: Any) -> None:
    storage = await kit.open()
    await storage.fold([(b"a", b"1"), (b"b", b"3"), (b"c", b"2x")])
    assert await storage.scan(b"", None, b"2") == ([(b"b", b"3"), (b"c", b"2x")], None)


async def test_a_scan_looks_at_no_more_records_than_it_is_told(kit: Any) -> None:
    storage = await kit.open()
    await storage.fold([(b"a", b"1"), (b"b", b"3"), (b"c", b"2x")])
    assert await storage.scan(b"", None, b"", 1) == ([(b"a", b"1")], b"a")
    assert await storage.scan(b"", None, b"2", 2) == ([(b"b", b"3")], b"b"), "what is below the floor counts"
    assert await storage.scan(b"b", b"c", b"", 2) == ([(b"b", b"3")], None)
    assert await storage.scan(b"", None, b"", 10**6) == ([(b"a", b"1"), (b"b", b"3"), (b"c", b"2x")], None)
