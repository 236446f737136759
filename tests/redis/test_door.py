"""Redis clients against nodes of ours."""

import asyncio
import contextlib
import random
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
import redis
import redis.asyncio
from harness.processes import running_cluster

import paxoskv.sync


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


def test_scan_asks_nodes_for_no_more_keys_than_it_was_asked_for(ports: list[int], door: redis.Redis) -> None:
    """A page of two thousand keys from every replica, whatever COUNT was: 15 times as long."""

    def scanned() -> int:
        with paxoskv.sync.connect(f"127.0.0.1:{ports[0]}") as kv:
            [status] = kv.status()
        return int(status["scan_keys"] if "scan_keys" in status else status["engine"]["scan_keys"])

    with redis.Redis(port=ports[0]) as one:
        one.mset({f"few/{number}": "v" for number in range(500)})
        before = scanned()
        cursor, keys = one.execute_command("SCAN", 0, "MATCH", "few/*", "COUNT", 10)
        assert len(keys) == 10
        assert scanned() - before <= 30
        found = list(keys)
        while int(cursor):
            cursor, keys = one.execute_command("SCAN", cursor, "MATCH", "few/*")
            found += keys
        assert sorted(found) == sorted(b"few/%d" % number for number in range(500))


def test_what_one_node_took_another_answers(ports: list[int], door: redis.Redis) -> None:
    for number, port in enumerate(ports):
        with redis.Redis(port=port, protocol=3) as other:
            assert other.set("k", number)
            assert door.get("k") == b"%d" % number
            assert other.execute_command("INCR", "hits") == number + 1


def test_counters_of_info_begin_again_when_they_are_told_to(door: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError):
        door.execute_command("GET")
    assert door.info("stats")["total_error_replies"] > 0
    door.config_resetstat()
    assert door.info("stats")["total_error_replies"] == 0


def test_clients_are_listed_as_they_were_asked_for_and_not_without_end(door: redis.Redis) -> None:
    own, listed = door.client_id(), door.execute_command("CLIENT", "LIST", "ID", door.client_id(), 0, door.client_id())
    text = listed if isinstance(listed, bytes) else str(listed).encode()
    assert text.count(b"id=%d " % own) + text.count(b"'id': '%d'" % own) == 2
    assert b"client|list" in text, "the command that is under way is the last"
    with pytest.raises(redis.ResponseError, match="too many ids: 5000, at most 4096"):
        door.execute_command("CLIENT", "LIST", "ID", *[own] * 5000)


def test_a_scan_goes_on_past_what_is_deleted_until_it_has_as_many_as_were_asked_for(door: redis.Redis) -> None:
    door.flushall()
    pipeline = door.pipeline(transaction=False)
    for number in range(6000):
        pipeline.set(f"tk{number}", "v")
    pipeline.execute()
    door.flushall()
    left = {b"a", b"b", b"za", b"zb"}
    for key in left:
        door.set(key, "v")
    cursor, keys = door.scan(0, count=1000)
    assert (cursor, set(keys)) == (0, left)


def test_clients_show_the_fields_that_libraries_look_for(door: redis.Redis) -> None:
    [first, *_] = door.client_list()
    assert {"qbuf", "qbuf-free", "omem", "tot-mem", "events", "ssub"} <= first.keys()
    assert first["flags"] == "N"


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


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["KEYS", "a" * 65_537], "a pattern has at most 65536 bytes"),
        (["SCAN", "0", "MATCH", "a*" * 32_769], "a pattern has at most 65536 bytes"),
        (["CONFIG", "GET", "a*" * 32_769], "a pattern has at most 65536 bytes"),
        (["CONFIG", "GET", *["*"] * 257], "too many names: 257"),
        (["COMMAND", "DOCS", *["get"] * 257], "too many names: 257"),
        (["CLIENT", "SETNAME", "n" * 1025], "a name has at most 1024 bytes"),
        (["CLIENT", "SETINFO", "LIB-NAME", "n" * 1025], "a name has at most 1024 bytes"),
        (["HELLO", "3", "SETNAME", "n" * 1025], "a name has at most 1024 bytes"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_would_keep_a_node_busy_is_refused(door: redis.Redis, command: list[str], sentence: str) -> None:
    with pytest.raises(redis.ResponseError, match=sentence):
        door.execute_command(*command)
    assert door.ping()


async def test_the_asyncio_client_works(ports: list[int], door: redis.Redis) -> None:
    async with redis.asyncio.Redis(port=ports[2]) as client:
        assert sorted(await asyncio.gather(*(client.incr("n") for _ in range(100)))) == list(range(1, 101))


async def test_the_asyncio_client_has_the_same_commands(ports: list[int], door: redis.Redis) -> None:
    async with redis.asyncio.Redis(port=ports[2], protocol=3, decode_responses=True) as client:
        assert await client.set("a", "1", ex=1000, nx=True)
        assert 900 < await client.ttl("a") <= 1000
        assert await client.set("a", "2", get=True, keepttl=True) == "1"
        assert await client.getex("a", persist=True) == "2"
        assert await client.ttl("a") == -1
        assert await client.mset({"b": "x", "c": "y"})
        assert await client.mget("a", "b", "c", "d") == ["2", "x", "y", None]
        assert sorted([key async for key in client.scan_iter(match="[ab]")]) == ["a", "b"]
        assert await client.incrbyfloat("a", 0.5) == 2.5
        assert await client.expire("b", 1000, nx=True)
        assert await client.config_get("append*") == {"appendfsync": "always", "appendonly": "yes"}
        assert (await client.info("server"))["redis_mode"] == "standalone"
        pipeline = client.pipeline(transaction=False)
        pipeline.append("b", "!").strlen("b").getrange("b", 0, 0).delete("a", "b", "c")
        assert await pipeline.execute() == [2, 2, "x", 3]


def test_a_transaction_changes_nothing(door: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError, match="MULTI is not supported: there are no transactions here"):
        door.pipeline().set("a", 1).incr("n").execute()
    assert door.get("a") is None
    with pytest.raises(redis.ResponseError, match="MULTI is not supported"):
        door.execute_command("MULTI")
    assert door.set("a", 1)


def test_changes_of_one_key_in_pipelines_through_all_nodes_are_made_in_their_order(
    ports: list[int], door: redis.Redis
) -> None:
    """All fight for the key; each sees its own changes in order, and none twice."""
    found: list[list[int]] = []

    def run(port: int) -> None:
        with redis.Redis(port=port) as client:
            pipeline = client.pipeline(transaction=False)
            for _ in range(200):
                pipeline.incr("n")
            found.append(pipeline.execute())

    threads = [threading.Thread(target=run, args=(port,)) for port in ports * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answers == sorted(answers) for answers in found)
    assert sorted(number for answers in found for number in answers) == list(range(1, 1801))


def test_bytes_may_come_one_at_a_time(ports: list[int], door: redis.Redis) -> None:
    data = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\n\0\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nSTRLEN k\r\nPING 'a b'\r\n"
    with socket.create_connection(("127.0.0.1", ports[1]), timeout=30) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            line.sendall(data[at : at + 1])
        expected = b"+OK\r\n$4\r\na\r\n\0\r\n:4\r\n$3\r\na b\r\n"
        with line.makefile("rb") as answers:
            assert answers.read(len(expected)) == expected


def test_large_values_come_and_go_and_too_large_ones_are_refused_with_a_sentence(door: redis.Redis) -> None:
    value = random.Random(1).randbytes(1024 * 1024)
    assert door.set("k", value)
    assert door.get("k") == value
    assert door.getrange("k", 1024 * 1024 - 3, -1) == value[-3:]
    for call in (
        lambda: door.set("k", value + b"x"),
        lambda: door.mset({f"k{number}": value + b"x" * (number == 2) for number in range(3)}),
        lambda: door.execute_command("CAS", "k", value + b"x", "y"),
    ):
        with pytest.raises(redis.ResponseError, match="a value has at most 1048576 bytes, this one 1048577"):
            call()
    with pytest.raises(redis.ResponseError, match="string exceeds maximum allowed size"):
        door.append("k", "x")
    assert door.get("k0") is None
    assert door.get("k") == value


def test_a_command_may_have_very_many_keys(door: redis.Redis) -> None:
    values = {b"k%05d" % number: b"%d" % number for number in range(3000)}
    assert door.mset(values)
    assert door.mget(list(values)) == list(values.values())
    assert door.exists(*values, "nope") == 3000
    assert door.delete(*values, "nope") == 3000
    assert door.dbsize() == 0


DEFINITE = redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError


class Counting:
    """A relay in front of a node, that counts how often a word is sent."""

    def __init__(self, port: int, word: bytes) -> None:
        self.sent = 0
        self._word = word
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            node = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pump, args=(client, node, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(node, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.sent += data.count(self._word) if counts else 0
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()

    def close(self) -> None:
        # Closing alone would not wake who waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("mode", ["paxos", "raft"])
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "paused"])
def test_silence_is_never_the_answer_and_an_increment_is_sent_once(
    tmp_path: Path, mode: str, stop: signal.Signals
) -> None:
    """redis-py with its default settings, and the majority gone before the answer."""
    with running_cluster(tmp_path, mode=mode) as cluster:
        one, *others = list(cluster.config.nodes.values())
        relay = Counting(one.client.port, b"$6\r\nINCRBY\r\n$1\r\nn\r\n")
        with contextlib.closing(relay), redis.Redis(port=relay.port) as client:
            assert client.incr("n") == 1
            assert relay.sent == 1
            for node in others:
                cluster.signal(node.id, stop)
            with pytest.raises(redis.ResponseError) as caught:
                client.incr("n")
            assert isinstance(caught.value, DEFINITE) or str(caught.value).startswith("UNKNOWN ")
            assert relay.sent == 2
            with pytest.raises(DEFINITE):
                client.get("n")
            assert client.ping()


def test_connections_beyond_the_descriptors_are_refused_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = tmp_path / "python"
    limited.write_text(f'#!/bin/sh\nulimit -n 200\nexec {sys.executable} "$@"\n')
    limited.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(limited))
    with running_cluster(tmp_path / "cluster", nodes=1) as cluster, contextlib.ExitStack() as stack:
        port = next(iter(cluster.config.nodes.values())).client.port
        early = stack.enter_context(redis.Redis(port=port))
        allowed = int(early.config_get("maxclients")["maxclients"])
        assert 0 < allowed < 200
        lines = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(allowed + 150)
        ]
        refused = 0
        for line in lines:
            with contextlib.suppress(ConnectionError):
                line.sendall(b"PING\r\n")
                refused += line.recv(100) == b"-ERR max number of clients reached\r\n"
        assert refused >= 1
        assert early.incr("n") == 1
        assert early.info("clients")["connected_clients"] <= allowed
        for line in lines:
            line.close()
        while early.info("clients")["connected_clients"] > 1:
            pass
        with redis.Redis(port=port) as late:
            assert late.incr("n") == 2
