"""A planned restart, one node after the other, under load."""

import asyncio
from pathlib import Path

import pytest
from harness.processes import running_cluster

import paxoskv


@pytest.mark.parametrize("mode", ["paxos", "raft"])
async def test_nothing_is_in_doubt_when_nodes_are_stopped_in_order(tmp_path: Path, mode: str) -> None:
    """What clients had sent lay unread when the node closed their connections, and nobody could tell its outcome."""
    done = 0
    going_on = True
    wanted = 0
    enough = asyncio.Event()

    async def work(kv: paxoskv.Client, key: str) -> None:
        nonlocal done
        while going_on:
            await kv.incr(key)
            done += 1
            if done >= wanted:
                enough.set()

    with running_cluster(tmp_path, 3, mode=mode) as cluster:
        async with paxoskv.connect(cluster.endpoints, timeout=30) as kv:
            workers = [asyncio.create_task(work(kv, f"k{number}")) for number in range(48)]
            for number in cluster.config.nodes:
                wanted = done + 1000
                enough.clear()
                assert await asyncio.to_thread(cluster.stop, number) == 0
                cluster.start(number)
                await asyncio.to_thread(cluster.wait_ready, number)
                await enough.wait()
            going_on = False
            await asyncio.gather(*workers)
            values = [(await kv.get(f"k{number}")).value for number in range(48)]
            assert sum(int(value or 0) for value in values) == done
