"""Time to live and scans through real processes, in both modes."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result
from harness.processes import running_cluster

import paxoskv
from paxoskv.cli import main
from paxoskv.client.connection import Connection
from paxoskv.core.errors import BY_STATUS
from paxoskv.server.launcher import LocalCluster, free_base_port, prepare


@pytest.fixture(scope="module", params=["paxos", "raft"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    folder = tmp_path_factory.mktemp(request.param)
    running = LocalCluster(prepare(folder, 3, free_base_port(3), request.param), ())
    running.start_all()
    try:
        yield running
    finally:
        running.stop_all()


def call(cluster: LocalCluster, *arguments: str) -> Result:
    variables = {"PAXOSKV_ENDPOINTS": ",".join(cluster.endpoints), "COLUMNS": "80"}
    return CliRunner().invoke(main, arguments, env=variables, prog_name="paxoskv")


def test_a_key_lives_as_long_as_it_was_told(cluster: LocalCluster) -> None:
    assert call(cluster, "put", "t", "v", "--ttl", "1h").exit_code == 0
    assert 3000 < float(call(cluster, "ttl", "t").stdout) <= 3600
    assert 3000 < json.loads(call(cluster, "ttl", "t", "--json").stdout)["seconds"] <= 3600
    assert call(cluster, "persist", "t").exit_code == 0
    assert call(cluster, "ttl", "t").exit_code == 1
    assert call(cluster, "expire", "t", "1ms").exit_code == 0
    gone = call(cluster, "get", "t")
    while gone.exit_code == 0:  # A millisecond may not have passed yet.
        gone = call(cluster, "get", "t")
    assert gone.exit_code == 1
    assert call(cluster, "expire", "t", "5s").exit_code == 1
    assert call(cluster, "persist", "t").exit_code == 1


@pytest.mark.parametrize("time", ["0", "-5s", "5x", "nan", "inf", "1e400d", "99999999d", "", "s"])
def test_absurd_times_are_bad_usage(cluster: LocalCluster, time: str) -> None:
    refused = call(cluster, "put", "t", "v", "--ttl", time)
    assert refused.exit_code == 2
    assert "no time such as 30s" in refused.stderr


async def test_absurd_times_are_refused_by_the_client(cluster: LocalCluster) -> None:
    async with paxoskv.connect(cluster.endpoints) as kv:
        for ttl in (0, -1, float("nan"), float("inf"), 1e300, 10**11):
            with pytest.raises(paxoskv.BadRequest, match="a time to live is"):
                await kv.put("t", "v", ttl=ttl)
            with pytest.raises(paxoskv.BadRequest, match="a time to live is"):
                await kv.expire("t", ttl)
        with pytest.raises(paxoskv.BadRequest, match="not both"):
            await kv.put("t", "v", ttl=5, keep_ttl=True)


async def test_put_forgets_the_time_to_live_unless_it_keeps_it(cluster: LocalCluster) -> None:
    async with paxoskv.connect(cluster.endpoints) as kv:
        await kv.put("keep", "a", ttl=500)
        await kv.put("keep", "b", keep_ttl=True)
        await kv.append("keep", "c")
        left = await kv.ttl("keep")
        assert left is not None
        assert 400 < left <= 500
        await kv.put("keep", "d")
        assert await kv.ttl("keep") is None


async def test_a_scan_is_in_order_and_whole(cluster: LocalCluster) -> None:
    names = [b"s/%05d" % number for number in range(1500)] + [b"s/\xff\x00 \n"]
    async with paxoskv.connect(cluster.endpoints) as kv:
        for begin in range(0, len(names), 300):
            versions = {name: kv.put(name, b"value " + name) for name in names[begin : begin + 300]}
            for write in versions.values():
                await write
        for endpoint in cluster.endpoints:
            async with paxoskv.connect(cluster.endpoints, prefer=endpoint) as through:
                found = [item async for item in through.scan("s/")]
            assert [item.key for item in found] == sorted(names)
            assert all(item.value == b"value " + item.key and item.version for item in found)
        part = [item.key async for item in kv.scan(start="s/00010", end="s/00013", keys_only=True)]
        assert part == [b"s/00010", b"s/00011", b"s/00012"]
        assert [item async for item in kv.scan("nothing/")] == []
        for limit in (1, 7, 1400, 5000):
            assert [item.key async for item in kv.scan("s/", limit=limit)] == sorted(names)[:limit]
    with paxoskv.sync.connect(cluster.endpoints) as blocking:
        assert [key for key, _, _ in blocking.scan("s/")] == sorted(names)
        assert [key for key, _, _ in blocking.scan("s/", limit=100)] == sorted(names)[:100]


async def test_the_longest_key_is_within_the_bounds_of_a_scan(cluster: LocalCluster) -> None:
    """What comes right after the longest key is a bound, too; nothing longer is."""
    longest = b"z" * 1024
    async with paxoskv.connect(cluster.endpoints) as kv:
        await kv.put(longest, "v")
        assert [key async for key, _, _ in kv.scan(start=longest, end=longest + b"\0")] == [longest]
        assert [item async for item in kv.scan(longest + b"\0")] == []
    address = cluster.config.node(1).client
    connection = await Connection.open(address.host, address.port, 5.0, lambda *_: None)
    try:
        for start, end in ((longest + b"\0\0", None), (b"", longest + b"\0\0")):
            status, sentence, _, _ = await connection.scan(start, end, None, False, 5000)
            assert status == paxoskv.BadRequest.status
            assert sentence == b"a bound of a scan has at most 1025 bytes"
    finally:
        connection.close()


def test_the_command_prints_keys_in_order(cluster: LocalCluster) -> None:
    for name, value in (("c/b", "2"), ("c/a", "one\ttab"), ("c/c", "3")):
        call(cluster, "put", name, value)
    assert call(cluster, "scan", "c/").stdout == "c/a\tone\\x09tab\nc/b\t2\nc/c\t3\n"
    assert call(cluster, "scan", "c/", "--keys-only", "--limit", "2").stdout == "c/a\nc/b\n"
    lines = [json.loads(line) for line in call(cluster, "scan", "c/", "--json").stdout.splitlines()]
    assert [(line["key"], line["value"]) for line in lines] == [("c/a", "one\ttab"), ("c/b", "2"), ("c/c", "3")]
    assert all(line["version"] for line in lines)
    none = call(cluster, "scan", "no such prefix")
    assert (none.exit_code, none.stdout) == (1, "")


async def test_a_page_has_no_more_keys_than_are_asked_for(cluster: LocalCluster) -> None:
    host, _, port = cluster.endpoints[0].rpartition(":")
    connection = await Connection.open(host, int(port), 5.0, lambda lost, reason: None)
    async with paxoskv.connect(cluster.endpoints) as kv:
        for number in range(12):
            await kv.put(f"l/{number:02}", "v")
    try:
        found: list[bytes] = []
        pages = []
        cursor = None
        while cursor is not None or not pages:
            status, _, items, cursor = await connection.scan(b"l/", b"l0", cursor, False, 5000, 5)
            assert status == 0
            pages.append(len(items))
            found += [item[0] for item in items]
        assert found == [b"l/%02d" % number for number in range(12)]
        assert pages == [5, 5, 2]
        status, reason, _, _ = await connection.scan(b"l/", b"l0", None, False, 5000, 0)
        assert (BY_STATUS[status], reason) == (paxoskv.BadRequest, b"the limit of a scan is 1 or above")
    finally:
        connection.close()


async def test_a_limited_scan_gets_past_what_was_deleted(cluster: LocalCluster) -> None:
    async with paxoskv.connect(cluster.endpoints) as kv:
        names = [f"d/{number:03}" for number in range(120)]
        for name in names:
            await kv.put(name, "v")
        for name in names[:100]:
            await kv.delete(name)
        assert [item.key async for item in kv.scan("d/", limit=3)] == [b"d/100", b"d/101", b"d/102"]


@pytest.mark.parametrize("kind", ["garbage", "empty", "of another range", "damaged"])
async def test_a_cursor_that_is_none_of_this_scan_is_a_bad_request(cluster: LocalCluster, kind: str) -> None:
    host, _, port = cluster.endpoints[0].rpartition(":")
    connection = await Connection.open(host, int(port), 5.0, lambda lost, reason: None)
    async with paxoskv.connect(cluster.endpoints) as kv:
        for number in range(300):
            await kv.put(f"p/{number:04}", "v" * 2000)
    status, _, items, cursor = await connection.scan(b"p/", b"p0", None, False, 5000)
    assert status == 0
    assert items
    assert cursor is not None
    wrong = {"garbage": b"x" * 20, "empty": b"", "of another range": cursor, "damaged": cursor[:-1] + b"?"}[kind]
    start = b"p" if kind == "of another range" else b"p/"
    status, reason, items, _ = await connection.scan(start, b"p0", wrong, False, 5000)
    assert BY_STATUS[status] is paxoskv.BadRequest
    assert b"begin the scan again" in reason
    assert items == ()
    connection.close()


@pytest.mark.parametrize("mode", ["paxos", "raft"])
async def test_a_scan_is_whole_while_other_keys_come_and_go_and_nodes_die(tmp_path: Path, mode: str) -> None:
    with running_cluster(tmp_path, mode=mode) as cluster:
        stays = [b"k/%05d" % number for number in range(0, 4000, 2)]
        with redis.Redis(port=cluster.config.node(1).client.port) as filler:
            filler.mset(dict.fromkeys(stays, b"v" * 600))
        async with paxoskv.connect(cluster.endpoints, timeout=60) as kv, asyncio.TaskGroup() as tasks:
            churn = [tasks.create_task(_come_and_go(kv, first)) for first in (1, 3)]
            for round_ in range(3):
                victim = round_ + 1
                found = []
                async for key, value, _ in kv.scan("k/"):
                    found.append(key)
                    assert value is not None
                    assert len(value) == 600
                    if len(found) == 600:
                        await asyncio.to_thread(cluster.kill, victim)
                    if len(found) == 1500:
                        cluster.start(victim)
                        await asyncio.to_thread(cluster.wait_ready, victim)
                assert all(one < other for one, other in pairwise(found))
                assert set(stays) <= set(found)
                assert all(int(key[2:]) < 4000 for key in found)
            with redis.Redis(port=cluster.config.node(2).client.port) as door:
                cluster.kill(1)
                keys = await asyncio.to_thread(lambda: list(door.scan_iter(match="k/*", count=20)))
                assert set(stays) <= set(keys)
                assert len(set(keys)) == len(keys)
            for task in churn:
                task.cancel()


async def _come_and_go(kv: paxoskv.Client, first: int) -> None:
    """Writes and deletes keys between the others, for ever."""
    for number in itertools.cycle(range(first, 4000, 4)):
        with contextlib.suppress(paxoskv.PaxosKVError):
            await kv.put(b"k/%05d" % number, b"w" * 600, ttl=0.05 if number % 3 == 0 else None)
            await kv.delete(b"k/%05d" % (number - 40 if number > 40 else first))
