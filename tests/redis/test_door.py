"""Redis clients against nodes of ours."""

import asyncio
import socket
from pathlib import Path

import pytest
import redis
import redis.asyncio
from harness.processes import running_cluster


def test_a_pipeline_sees_its_own_writes_in_their_order(door: redis.Redis) -> None:
    pipeline = door.pipeline(transaction=False)
    for number in range(300):
        pipeline.incr("n").set(f"k{number % 7}", number).get(f"k{number % 7}")
    answers = pipeline.execute()
    assert answers[0::3] == list(range(1, 301))
    assert answers[2::3] == [b"%d" % number for number in range(300)]


def test_ten_thousand_commands_in_one_write_are_answered_in_order(ports: list[int], door: redis.Redis) -> None:
    commands = b"".join(
        b"*3\r\n$3\r\nSET\r\n$5\r\n%05d\r\n$5\r\n%05d\r\n" % (number, number) for number in range(5000)
    ) + b"".join(b"*2\r\n$3\r\nGET\r\n$5\r\n%05d\r\n" % number for number in range(5000))
    expected = b"+OK\r\n" * 5000 + b"".join(b"$5\r\n%05d\r\n" % number for number in range(5000))
    with socket.create_connection(("127.0.0.1", ports[1]), timeout=30) as line:
        line.sendall(commands)
        with line.makefile("rb") as answers:
            assert answers.read(len(expected)) == expected


def test_what_one_node_took_another_answers(ports: list[int], door: redis.Redis) -> None:
    for number, port in enumerate(ports):
        with redis.Redis(port=port, protocol=3) as other:
            assert other.set("k", number)
            assert door.get("k") == b"%d" % number
            assert other.execute_command("INCR", "hits") == number + 1


def test_values_and_versions_are_conditions(door: redis.Redis) -> None:
    assert door.execute_command("GETV", "k") == [None, 0]
    version = door.execute_command("SETV", "k", "a", 0)
    assert version > 0
    assert door.execute_command("SETV", "k", "b", 0) is None
    assert door.execute_command("CAS", "k", "x", "b") == 0
    assert door.execute_command("CAS", "k", "a", "b") == 1
    value, newer = door.execute_command("GETV", "k")
    assert (value, newer > version) == (b"b", True)
    assert door.execute_command("DELV", "k", version) == 0
    assert door.execute_command("DELV", "k", newer) == 1
    with pytest.raises(redis.ResponseError, match="a version is 0"):
        door.execute_command("DELV", "k", -1)


def test_a_scan_finds_every_key_once_a_page_at_a_time(door: redis.Redis) -> None:
    pipeline = door.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set(f"user:{number}", number)
    pipeline.set("other", 1).execute()
    assert sorted(door.scan_iter(match="user:*", count=37)) == sorted(b"user:%d" % number for number in range(1000))
    assert door.dbsize() == 1001
    assert len(door.keys("user:1?")) == 10
    assert door.randomkey() is not None
    assert door.flushall()
    assert door.dbsize() == 0
    with pytest.raises(redis.ResponseError, match="invalid cursor: this node has not given it"):
        door.execute_command("SCAN", 12345)


def test_a_key_expires(door: redis.Redis) -> None:
    door.set("k", "v", px=1)
    while door.exists("k"):
        pass
    assert door.get("k") is None
    assert door.set("k", "w", nx=True)


def test_what_cannot_be_done_atomically_is_refused_with_a_reason(door: redis.Redis) -> None:
    for command in ("MULTI", "RENAME a b", "MSETNX a 1", "EVAL x 0"):
        with pytest.raises(redis.ResponseError, match="is not supported: "):
            door.execute_command(*command.split())


def test_keys_and_values_beyond_the_bounds_are_refused_and_the_connection_goes_on(door: redis.Redis) -> None:
    for key in ("", "k" * 1025):
        with pytest.raises(redis.ResponseError, match="a key has 1 to 1024 bytes"):
            door.set(key, 1)
    assert door.ping()


async def test_the_asyncio_client_works(ports: list[int], door: redis.Redis) -> None:
    async with redis.asyncio.Redis(port=ports[2]) as client:
        assert sorted(await asyncio.gather(*(client.incr("n") for _ in range(100)))) == list(range(1, 101))


def test_silence_is_never_the_answer_and_an_increment_is_sent_once(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        one, *others = list(cluster.config.nodes.values())
        with redis.Redis(port=one.client.port) as client:
            assert client.incr("n") == 1
            for node in others:
                cluster.kill(node.id)
            before = client.info("stats")["total_commands_processed"]
            with pytest.raises(redis.ResponseError, match=r"^(UNKNOWN|CLUSTERDOWN) "):
                client.incr("n")
            assert client.info("stats")["total_commands_processed"] == before + 2
