"""Raft mode with real processes, real sockets, real disks."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.processes import ask_everything, fill, move_data, running_cluster, small_disk

import paxoskv
from paxoskv.client.connection import Connection
from paxoskv.core.errors import BadRequest, ConfigurationError
from paxoskv.server.launcher import LocalCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with running_cluster(tmp_path_factory.mktemp("raft"), 3, "--fault-injection", mode="raft") as running:
        yield running


def only(cluster: LocalCluster, number: int, timeout: float = 30.0) -> paxoskv.Client:
    """A client that knows one node alone."""
    return paxoskv.connect(cluster.endpoints[number - 1], timeout=timeout)


async def raft_of(cluster: LocalCluster, number: int) -> dict[str, Any]:
    """One node's account, empty while it gives none."""
    with contextlib.suppress(paxoskv.PaxosKVError):
        async with only(cluster, number, timeout=5) as kv:
            [status] = await kv.status()
            return status if status["up"] else {}
    return {}


async def leader_of(cluster: LocalCluster, among: tuple[int, ...] = (1, 2, 3)) -> int:
    """Who leads, once all of these agree."""
    async with asyncio.timeout(60):
        while True:
            accounts = [await raft_of(cluster, number) for number in among]
            leaders = {account["raft"]["leader"] if account else 0 for account in accounts}
            if len(leaders) == 1 and leaders < set(among):
                return int(leaders.pop())
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        # There is no event for it: it happens in other processes.
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def command(cluster: LocalCluster, number: int, name: str, argument: object) -> None:
    client = cluster.config.node(number).client
    connection = await Connection.open(client.host, client.port, 10.0, lambda connection, reason: None)
    try:
        await connection.command(name, argument)
    finally:
        connection.close()


async def stall(cluster: LocalCluster, number: int, stalled: bool) -> None:
    client = cluster.config.node(number).client
    connection = await Connection.open(client.host, client.port, 10.0, lambda connection, reason: None)
    try:
        await connection.inject_fault("disk-stall", stalled)
    finally:
        connection.close()


async def test_any_node_takes_any_operation(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as one, only(cluster, 2) as two, only(cluster, 3) as three:
        await ask_everything(one, two, three)


async def test_the_largest_values_fit_an_entry_and_a_frame(cluster: LocalCluster) -> None:
    large, other = b"a" * (1 << 20), b"b" * (1 << 20)
    async with only(cluster, 1) as one, only(cluster, 2) as two, only(cluster, 3) as three:
        await one.put("large", large)
        await two.cas("large", large, other)
        await asyncio.gather(*[three.cas(f"large/{number}", None, large) for number in range(8)])
        assert (await three.get("large")).value == other
        assert (await one.get("large/7")).value == large


async def test_leadership_goes_where_it_is_told_to_while_clients_write(cluster: LocalCluster) -> None:
    async with only(cluster, 1) as kv:
        begun = await leader_of(cluster)
        target = begun % 3 + 1
        writes = [asyncio.create_task(kv.incr("handed over")) for _ in range(50)]
        await command(cluster, begun, "raft-transfer", target)
        writes += [asyncio.create_task(kv.incr("handed over")) for _ in range(50)]
        await asyncio.gather(*writes)
        assert await leader_of(cluster) == target
        assert (await kv.get("handed over")).value == b"100"
        with pytest.raises(BadRequest, match="does not lead"):
            await command(cluster, begun, "raft-transfer", target)


async def test_every_node_tells_its_clients_who_leads_and_again_when_that_changes(cluster: LocalCluster) -> None:
    begun = await leader_of(cluster)
    target = begun % 3 + 1
    clients = [node.client for node in cluster.config.nodes.values()]
    connections = [await Connection.open(*client, 10.0, lambda connection, reason: None) for client in clients]
    changed = asyncio.Event()
    for connection in connections:
        connection.on_route = changed.set

    async def all_say(number: int) -> None:
        async with asyncio.timeout(60):
            while {connection.writes_to for connection in connections} != {str(clients[number - 1])}:
                await changed.wait()
                changed.clear()

    try:
        await all_say(begun)
        await command(cluster, begun, "raft-transfer", target)
        await all_say(target)
    finally:
        for connection in connections:
            connection.close()


async def test_a_leader_whose_disk_hangs_hands_over_and_writes_go_on(cluster: LocalCluster) -> None:
    leader = await leader_of(cluster)
    other = leader % 3 + 1
    await stall(cluster, leader, True)
    try:
        async with only(cluster, other) as kv:
            writes = asyncio.create_task(_write(kv, "hangs", 20))

            async def handed_over() -> bool:
                return (await raft_of(cluster, other))["raft"]["leader"] not in (0, leader)

            await until(handed_over)
            await writes
            assert (await kv.get("hangs")).value == b"20"
    finally:
        await stall(cluster, leader, False)


async def _write(kv: paxoskv.Client, key: str, count: int) -> None:
    for _ in range(count):
        await kv.incr(key)
        await asyncio.sleep(0.01)


async def test_a_dead_leader_is_replaced_and_nothing_that_was_acknowledged_is_lost(cluster: LocalCluster) -> None:
    leader = await leader_of(cluster)
    others = tuple(number for number in (1, 2, 3) if number != leader)
    async with only(cluster, others[0]) as kv:
        await asyncio.gather(*[kv.append("list", b"%d " % number) for number in range(50)])
        cluster.kill(leader)
        try:
            await asyncio.gather(*[kv.append("list", b"%d " % number) for number in range(50, 100)])
            assert await leader_of(cluster, others) != leader
        finally:
            cluster.start(leader)
            cluster.wait_ready(leader)
        async with only(cluster, leader) as back:
            assert sorted(map(int, ((await back.get("list")).value or b"").split())) == list(range(100))


async def test_a_stopped_leader_hands_over_by_itself(cluster: LocalCluster) -> None:
    leader = await leader_of(cluster)
    others = tuple(number for number in (1, 2, 3) if number != leader)
    before = {number: await raft_of(cluster, number) for number in others}
    cluster.signal(leader, signal.SIGTERM)
    assert await asyncio.to_thread(cluster.nodes[leader].process.wait, 60) == 0
    try:
        for number in others:
            account = await raft_of(cluster, number)
            assert account["raft"]["leader"] in others, "it was so before the process ended"
            assert account["raft"]["term"] == before[number]["raft"]["term"] + 1, "and took one election"
            if account["raft"]["leader"] == number:
                # Trials of its own time, such as the cluster's first election, are none of this one.
                assert account["engine"]["trials"] == before[number]["engine"]["trials"], "without asking whether to"
    finally:
        cluster.kill(leader)
        cluster.start(leader)
        cluster.wait_ready(leader)


async def test_a_folder_of_one_mode_is_refused_by_the_other(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 1, mode="raft") as cluster:
        cluster.stop_all()
        path = cluster.config.path
        path.write_text(path.read_text().replace('mode = "raft"', 'mode = "paxos"'))
        with pytest.raises(
            ConfigurationError,
            match=r"belongs to mode 'raft', and this node was started with mode 'paxos'\. Start it with",
        ):
            cluster.start_all()


async def test_a_wiped_disk_under_an_old_id_is_refused_by_all(tmp_path: Path) -> None:
    """It would vote twice in a term, and have nothing of what it has acknowledged."""
    with running_cluster(tmp_path, 3, mode="raft") as cluster:
        async with only(cluster, 1) as kv:
            await kv.put("k", "v")
        await leader_of(cluster)
        cluster.kill(3)
        shutil.rmtree(cluster.config.node(3).data)
        cluster.start(3)
        cluster.wait_ready(3)

        async def refused() -> bool:
            reasons = [account["peers"]["3"]["reason"] for account in [await raft_of(cluster, n) for n in (1, 2)]]
            return all("has another disk than the one this cluster knows" in reason for reason in reasons)

        await until(refused)
        account = await raft_of(cluster, 3)
        assert (account["raft"]["leader"], account["raft"]["last_index"]) == (0, 0)
        assert await leader_of(cluster, (1, 2)) in (1, 2)
        async with only(cluster, 1) as kv:
            assert (await kv.get("k")).value == b"v"


async def test_a_follower_that_was_away_for_longer_than_the_log_catches_up_while_clients_write(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 3, "--journal-bytes", "8m", mode="raft") as cluster:
        leader = await leader_of(cluster)
        away = leader % 3 + 1
        value = b"v" * 4096
        async with only(cluster, leader) as kv:
            await kv.put("k0", value)
            cluster.kill(away)
            for start in range(0, 12_000, 500):
                await asyncio.gather(*[kv.put(f"k{i}", value) for i in range(start, start + 500)])
            assert (await kv.status())[0]["raft"]["first_index"] > 1, "the log it lacks is gone"
            cluster.start(away)
            cluster.wait_ready(away)
            stopping = False

            async def write() -> None:
                number = 0
                while not stopping:
                    number += 1
                    await asyncio.gather(*[kv.put(f"k{i}", b"%d" % number) for i in range(50)])

            writing = asyncio.create_task(write())

            async def caught_up() -> bool:
                ours, theirs = (await kv.status())[0], await raft_of(cluster, away)
                follower = ours["raft"]["followers"][str(away)]
                near = bool(theirs) and theirs["raft"]["applied_index"] + 100 > ours["raft"]["commit_index"]
                return near and follower["state"] == "replicate"

            await until(caught_up)
            stopping = True
            await writing
            assert (await raft_of(cluster, away))["engine"]["snapshots_taken"] >= 1
            last = await kv.get("k0")
        async with only(cluster, away) as kv:
            assert await kv.get("k0") == last
            assert (await kv.get("k11999")).value == value


async def test_with_leases_a_leader_reads_without_asking(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 3, "--lease-reads", mode="raft") as cluster:
        leader = await leader_of(cluster)
        async with only(cluster, leader) as kv:
            await kv.put("k", "v")

            async def leased() -> bool:
                assert (await kv.get("k")).value == b"v"
                return int((await kv.status())[0]["engine"]["leases_used"]) > 0

            await until(leased)


async def test_a_leader_whose_disk_is_full_steps_down_and_comes_back_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk, running_cluster(tmp_path / "cluster", 3, mode="raft") as cluster:
        cluster.stop_all()
        move_data(cluster, 2, disk)
        cluster.start_all()
        leader = await leader_of(cluster)
        if leader != 2:
            await command(cluster, leader, "raft-transfer", 2)

        async def leads() -> bool:
            return await leader_of(cluster) == 2

        await until(leads)
        fill(disk / "filler")
        async with only(cluster, 2) as full, only(cluster, 1) as healthy:
            number = 0
            while not (await full.status())[0]["storage"]["disk_full"]:
                number += 1
                await full.put(f"k{number}", b"x" * 65536)

            async def stepped_down() -> bool:
                return (await raft_of(cluster, 1))["raft"]["leader"] in (1, 3)

            await until(stepped_down)
            for i in range(10):
                await full.put(f"on/{i}", "through the others")
                assert (await healthy.get(f"on/{i}")).value == b"through the others"
            (disk / "filler").unlink()

            async def has_room() -> bool:
                return not (await full.status())[0]["storage"]["disk_full"]

            await until(has_room)
            cluster.kill(3)  # Now node 2's disk is needed.
            await healthy.put("needed", "2")
            assert (await full.get("needed")).value == b"2"
