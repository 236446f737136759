"""Real processes, real sockets, real disks."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.processes import ask_everything, fill, move_data, running_cluster, small_disk

import paxoskv
from paxoskv.client.connection import Connection
from paxoskv.server.launcher import LocalCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), 3, "--fault-injection") as running:
        yield running


def through(cluster: LocalCluster, number: int, timeout: float = 10.0) -> paxoskv.Client:
    """A client that goes to one node as long as that can be reached."""
    return paxoskv.connect(cluster.endpoints, prefer=number - 1, timeout=timeout)


def only(cluster: LocalCluster, number: int, timeout: float = 10.0) -> paxoskv.Client:
    """A client that knows one node alone."""
    return paxoskv.connect(cluster.endpoints[number - 1], timeout=timeout)


async def test_every_node_coordinates_every_operation(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as one, only(cluster, 2) as two, only(cluster, 3) as three:
        await ask_everything(one, two, three)


async def test_a_client_begins_each_key_at_its_home_in_one_round_trip(cluster: LocalCluster) -> None:
    """Clients choose a key's coordinator as the nodes choose its home."""

    async def count(kv: paxoskv.Client, what: str) -> int:
        return sum([status["engine"][what] for status in await kv.status()])

    async with paxoskv.connect(cluster.endpoints) as kv:
        await kv.put("first", "of all")  # All three are connected now.
        before = await count(kv, "initial_ballots"), await count(kv, "prepares")
        await asyncio.gather(*[kv.put(f"fresh/{number}", "1") for number in range(60)])
        begun = await count(kv, "initial_ballots") - before[0]
        asked = await count(kv, "prepares") - before[1]
        # Where a disk was late, a key was asked for all the same, perhaps after it was begun.
        assert begun + asked >= 60
        assert begun > 0
        assert {(await kv.get(f"fresh/{number}")).value for number in range(60)} == {b"1"}


async def test_versions_make_writes_conditional(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as one, only(cluster, 2) as two:
        version = await one.put("versioned", "a", if_version=0)
        with pytest.raises(paxoskv.ConditionFailed) as failed:
            await two.put("versioned", "b", if_version=0)
        assert (failed.value.value, failed.value.version) == (b"a", version)
        newer = await two.put("versioned", "b", if_version=version)
        with pytest.raises(paxoskv.ConditionFailed):
            await one.delete("versioned", if_version=version)
        assert await one.delete("versioned", if_version=newer)
        with pytest.raises(paxoskv.ConditionFailed):
            await one.cas("versioned", "b", "c")
        await one.cas("versioned", None, "c")


async def test_what_is_no_number_is_left_alone(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as kv:
        await kv.put("text", "12x")
        with pytest.raises(paxoskv.NotAnInteger):
            await kv.incr("text")
        await kv.put("big", str(2**63 - 1))
        with pytest.raises(paxoskv.IntegerOverflow):
            await kv.incr("big")
        assert (await kv.get("text")).value == b"12x"
        assert (await kv.get("big")).value == str(2**63 - 1).encode()


async def test_who_asks_for_many_large_values_at_once_gets_them_all(cluster: LocalCluster) -> None:
    """More than the client can have taken by the time that all are on their way: its connection was closed."""
    async with only(cluster, 1) as kv:
        values = {f"large/{number}": b"%03d" % number + b"v" * (1024 * 1024 - 3) for number in range(100)}
        for key, value in values.items():
            await kv.put(key, value)
        entries = await asyncio.gather(*[kv.get(key) for key in values])
        assert [entry.value for entry in entries] == [*values.values()]


async def test_keys_and_values_out_of_bounds_are_definite_errors(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as kv:
        for key, value in (("", "v"), ("k" * 1025, "v"), ("k", b"v" * (1024 * 1024 + 1))):
            with pytest.raises(paxoskv.BadRequest) as refused:
                await kv.put(key, value)
            assert refused.value.definite
        await kv.put(b"\x00" * 1024, b"\xff" * 1024 * 1024)
        assert (await kv.get(b"\x00" * 1024)).value == b"\xff" * 1024 * 1024
        with pytest.raises(paxoskv.ValueTooLarge):
            await kv.append(b"\x00" * 1024, b"x")


async def test_the_node_itself_refuses_what_a_careless_client_sends(cluster: LocalCluster) -> None:
    """The library checks first; other clients may not."""
    address = cluster.config.node(1).client
    connection = await Connection.open(address.host, address.port, 5.0, lambda *_: None)
    answers: asyncio.Queue[tuple[int, object]] = asyncio.Queue()
    for key, value in ((b"", b"v"), (b"k" * 1025, b"v"), (b"k", b"v" * (1024 * 1024 + 1))):
        connection.submit(1, key, value, None, 5000, lambda status, text, _: answers.put_nowait((status, text)))
        status, text = await answers.get()
        assert status == paxoskv.BadRequest.status, text
    connection.close()


async def test_thousands_of_calls_share_a_connection(cluster: LocalCluster) -> None:
    async with only(cluster, 2) as kv:
        await asyncio.gather(*[kv.put(f"many/{i}", str(i)) for i in range(3000)])
        entries = await asyncio.gather(*[kv.get(f"many/{i}") for i in range(3000)])
    assert [entry.value for entry in entries] == [str(i).encode() for i in range(3000)]


async def test_one_key_is_incremented_through_all_nodes_and_nothing_is_counted_twice(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as one, only(cluster, 2) as two, only(cluster, 3) as three:
        calls = [kv.incr("hot") for kv in (one, two, three) for _ in range(300)]
        values = [counter.value for counter in await asyncio.gather(*calls)]
        assert sorted(values) == list(range(1, 901))


async def test_a_node_whose_disk_hangs_still_completes_its_clients_operations(cluster: LocalCluster) -> None:
    address = cluster.config.node(2).client
    control = await Connection.open(address.host, address.port, 5.0, lambda *_: None)
    async with only(cluster, 2) as stalled, only(cluster, 1) as healthy:
        await stalled.put("before", "1")
        await control.inject_fault("disk-stall", True)
        try:
            for number in range(20):
                await stalled.put(f"stalled/{number}", "x")
                await healthy.incr("stalled/counter")
                assert (await stalled.incr("stalled/counter")).value == 2 * number + 2
                assert (await stalled.get("before")).value == b"1"
            assert (await healthy.get("stalled/7")).value == b"x"
            async with asyncio.timeout(60):
                while (await stalled.status())[0]["disk"] != "hangs":
                    await stalled.put("again", "x")
        finally:
            await control.inject_fault("disk-stall", False)
            control.close()
        async with asyncio.timeout(60):
            while (await stalled.status())[0]["disk"] != "ok":
                await stalled.put("again", "x")


async def test_a_paused_node_costs_the_others_nothing_but_itself(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as one, only(cluster, 3) as three:
        cluster.signal(2, signal.SIGSTOP)
        try:
            for number in range(30):
                await one.incr("paused")
                assert (await three.incr("paused")).value == 2 * number + 2
        finally:
            cluster.signal(2, signal.SIGCONT)
    async with only(cluster, 2) as two:
        assert (await two.get("paused")).value == b"60"


async def test_a_node_killed_under_load_takes_nobody_with_it_and_comes_back_with_everything(
    cluster: LocalCluster,
) -> None:
    """Once, the survivors wrote to the broken connection in the turn before they were told, and died of it."""
    acknowledged: dict[str, str] = {}
    stop = False

    async def write(kv: paxoskv.Client, name: str) -> None:
        number = 0
        while not stop:
            number += 1
            key, value = f"load/{name}/{number % 50}", str(number)
            await kv.put(key, value)
            acknowledged[key] = value

    async with only(cluster, 1) as one, only(cluster, 2) as two:
        writers = [asyncio.create_task(write(kv, f"{i}-{j}")) for i, kv in enumerate((one, two)) for j in range(16)]
        for _ in range(3):
            while len(acknowledged) < 400:
                await asyncio.wait(writers, timeout=0.01)
            await asyncio.to_thread(cluster.kill, 3)
            acknowledged_at_kill = dict(acknowledged)
            while acknowledged == acknowledged_at_kill:
                await asyncio.wait(writers, timeout=0.01)
            cluster.start(3)
            await asyncio.to_thread(cluster.wait_ready, 3)
        stop = True
        await asyncio.gather(*writers)
        assert all(cluster.nodes[number].process.poll() is None for number in (1, 2, 3))
    async with only(cluster, 3) as three:
        entries = await asyncio.gather(*[three.get(key) for key in acknowledged])
    assert {key: entry.value for key, entry in zip(acknowledged, entries, strict=True)} == {
        key: value.encode() for key, value in acknowledged.items()
    }


async def test_without_a_majority_errors_are_definite_until_something_was_sent(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 3) as cluster:
        async with only(cluster, 1, timeout=1.0) as kv:
            await kv.put("held", "1")
            cluster.kill(2)
            cluster.kill(3)
            with pytest.raises(paxoskv.OutcomeUnknown):
                await kv.put("held", "2")  # Node 1 holds this key, so an Accept goes out.
            with pytest.raises(paxoskv.Unavailable):
                await kv.put("fresh", "2")  # Of this one nothing but a Prepare.
            with pytest.raises(paxoskv.Unavailable):
                await kv.get("held")
            cluster.start(2)
            await asyncio.to_thread(cluster.wait_ready, 2)
            assert (await kv.get("held", timeout=10)).value in (b"1", b"2")
            assert (await kv.get("fresh", timeout=10)).value is None
            await kv.put("fresh", "3", timeout=10)


async def test_sigterm_finishes_what_is_in_flight_and_all_data_is_there_again(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 3) as cluster:
        async with paxoskv.connect(cluster.endpoints) as kv:
            await asyncio.gather(*[kv.put(f"k{i}", str(i)) for i in range(500)])
        cluster.stop_all()
        assert [node.process.returncode for node in cluster.nodes.values()] == [0, 0, 0]
        cluster.start_all()
        async with paxoskv.connect(cluster.endpoints) as kv:
            entries = await asyncio.gather(*[kv.get(f"k{i}") for i in range(500)])
            statuses = await kv.status()
        assert [entry.value for entry in entries] == [str(i).encode() for i in range(500)]
        assert [status["incarnation"] for status in statuses] == [2, 2, 2]


@pytest.mark.parametrize("mode", ["paxos", "raft"])
async def test_a_store_ten_times_the_cache_works_and_memory_stays_bounded(tmp_path: Path, mode: str) -> None:
    cache_bytes = 1024 * 1024
    options = ("--cache-bytes", str(cache_bytes), "--journal-bytes", "1m")
    with running_cluster(tmp_path, 3, *options, mode=mode) as cluster:
        async with paxoskv.connect(cluster.endpoints, timeout=30) as kv:
            for start in range(0, 3000, 250):
                await asyncio.gather(*[kv.put(f"k{i}", b"%08d" % i * 512) for i in range(start, start + 250)])
            for start in range(0, 3000, 250):
                entries = await asyncio.gather(*[kv.get(f"k{i}") for i in range(start, start + 250)])
                for number, entry in enumerate(entries, start):
                    assert entry.value == b"%08d" % number * 512
            # What is changed and not yet written to its table comes on top of the bound; a checkpoint is on its way.
            async with asyncio.timeout(60):
                while any([status["cached_bytes"] > cache_bytes for status in await kv.status()]):
                    await kv.get("k0")
            for status in await kv.status():
                assert status["evictions"] > 1000
                assert status["keys"] >= 2000


@pytest.mark.parametrize("mode", ["paxos", "raft"])
async def test_a_key_that_was_only_read_is_none(tmp_path: Path, mode: str) -> None:
    with running_cluster(tmp_path, 3, mode=mode) as cluster:
        async with paxoskv.connect(cluster.endpoints, timeout=30) as kv:
            await asyncio.gather(*[kv.put(f"k{i}", "x") for i in range(3)])
            for _ in range(3):
                await asyncio.gather(*[kv.get(f"absent{i}") for i in range(50)])
            assert max([status["keys"] for status in await kv.status()]) == 3


async def test_a_full_disk_stops_the_votes_of_one_node_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk, running_cluster(tmp_path / "cluster", 3) as cluster:
        cluster.stop_all()
        move_data(cluster, 2, disk)
        cluster.start_all()
        fill(disk / "filler")
        async with only(cluster, 2, timeout=30) as full, only(cluster, 1, timeout=30) as healthy:
            await full.put("first", "1")
            number = 0
            while (await full.status())[0]["disk"] != "full":
                number += 1
                await full.put(f"k{number}", b"x" * 65536)
            for i in range(10):
                await full.put(f"on/{i}", "through the others")
                assert (await healthy.get(f"on/{i}")).value == b"through the others"
            (disk / "filler").unlink()
            while (await full.status())[0]["disk"] == "full":
                await full.put("again", "1")
            cluster.kill(3)  # Now node 2's vote is needed.
            await healthy.put("needed", "2")
            assert (await full.get("needed")).value == b"2"
