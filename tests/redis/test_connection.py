"""A connection over a real socket, to an engine that answers when the test wants it to."""

import asyncio
import gc
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import redis.asyncio

from paxoskv.core import errors
from paxoskv.core.operations import Operation, Result, evaluate
from paxoskv.core.scan import PAGE_KEYS_MAX, Item, ScanOperation
from paxoskv.redis import connection as connections
from paxoskv.redis.commands.table import One, Plan
from paxoskv.redis.connection import RedisConnection
from paxoskv.redis.session import Sessions

Judge = Callable[[Operation], Result | None]


class Host:
    """A node with the engine of a test: operations are evaluated at once, but for those that `judge` answers."""

    id = 1
    key_bytes_max = 1024
    value_bytes_max = 1024 * 1024
    clients_max = 1000
    stopping = False

    def __init__(self) -> None:
        self.values: dict[bytes, tuple[bytes | None, int, int]] = {}
        self.held: list[Operation] = []
        self.held_keys: set[bytes] = set()
        self.submitted = 0
        self.limits: list[int | None] = []
        """Of the pages of scans."""
        self.judge: Judge = lambda operation: None

    def now(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def submit(self, operations: Sequence[Operation]) -> None:
        self.submitted += len(operations)
        held = [operation for operation in operations if operation.key in self.held_keys]
        self.held += held
        self.answer([operation for operation in operations if operation.key not in self.held_keys])

    def answer(self, operations: Sequence[Operation]) -> None:
        """In the next turn."""
        asyncio.get_running_loop().call_soon(self._answer, operations)

    def release(self) -> None:
        """Answer what was held."""
        held, self.held = self.held, []
        self.held_keys.clear()
        self.answer(held)

    def _answer(self, operations: Sequence[Operation]) -> None:
        waiting = []
        for operation in operations:
            connection, identifier = operation.reply  # type: ignore[misc]
            result = self.judge(operation) or self._evaluate(operation)
            if connection.completed(identifier, result):
                waiting.append(connection)
        for connection in waiting:
            connection.flush()

    def _evaluate(self, operation: Operation) -> Result:
        value, version, expires_at = self.values.get(operation.key, (None, 0, 0))
        done = evaluate(operation, value, version, expires_at, self.value_bytes_max)
        if done.effect:
            value, version, expires_at = self.values[operation.key] = done.value, version + 1, done.expires_at
        return Result(done.status, done.result, version, expires_at)

    def scan(self, operation: ScanOperation) -> None:
        limit = operation.limit
        self.limits.append(limit)
        keys = sorted(key for key in self.values if key >= operation.key)
        operation.following = keys[limit] if limit is not None and limit < len(keys) else None
        page = [(key, *self.values[key]) for key in keys[:limit]]
        operation.items = [Item(*entry) for entry in page if entry[1] is not None]
        self.answer([operation])

    def status(self) -> dict[str, Any]:
        return {}


class Door:
    """A server of the door's protocol, and clients of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.sessions = Sessions()
        self.connections: list[RedisConnection] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(self._connection, "127.0.0.1", 0)

    def _connection(self) -> RedisConnection:
        self.connections.append(RedisConnection(self.host, self.sessions))
        return self.connections[-1]

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def connect(self, receive_bytes: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        line = socket.socket()
        if receive_bytes:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        line.setblocking(False)
        await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=line, limit=2**16)
        self._writers.append(writer)
        return reader, writer

    async def stop(self) -> None:
        for writer in self._writers:
            writer.close()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds; a minute, at most, for the worst of machines."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door(Host())
    await door.start()
    yield door
    await door.stop()


async def test_answers_keep_their_order_while_a_key_waits_and_nobody_else_waits_for_it(door: Door) -> None:
    host = door.host
    host.held_keys.add(b"slow")
    reader, writer = await door.connect()
    writer.write(b"SET quick 1\r\nGET slow\r\nGET quick\r\nPING\r\n")
    assert await reader.readline() == b"+OK\r\n"
    others, another = await door.connect()
    another.write(b"GET quick\r\nPING\r\n")
    assert await others.readexactly(14) == b"$1\r\n1\r\n+PONG\r\n"
    assert [operation.key for operation in host.held] == [b"slow"]
    # What could be done was done, but is not told yet.
    assert host.submitted == 4
    host.release()
    assert await reader.readexactly(19) == b"$-1\r\n$1\r\n1\r\n+PONG\r\n"


async def test_commands_on_other_keys_overtake_one_that_waits_for_its_key(door: Door) -> None:
    """A pipeline of SET and GET in turns, each pair of another key, had taken a round trip for each pair."""
    host = door.host
    host.held_keys |= {b"a", b"b", b"c"}
    reader, writer = await door.connect()
    writer.write(b"SET a 1\r\nGET a\r\nSET a 2\r\nINCR a\r\nGET a\r\nSET b 5\r\nGET b\r\nSET c 7\r\nMGET a c\r\n")
    await eventually(lambda: len(host.held) == 3)
    assert [operation.key for operation in host.held] == [b"a", b"b", b"c"]
    while host.held:
        host.release()
        await asyncio.sleep(0)
    expected = b"+OK\r\n$1\r\n1\r\n+OK\r\n:3\r\n$1\r\n3\r\n+OK\r\n$1\r\n5\r\n+OK\r\n*2\r\n$1\r\n3\r\n$1\r\n7\r\n"
    assert await reader.readexactly(len(expected)) == expected
    assert not door.connections[0]._busy
    assert not door.connections[0]._behind


@pytest.mark.parametrize("command", [b"MGET a a", b"EXISTS a b a", b"MSET a 1 a 2"])
async def test_a_key_that_a_command_names_twice_is_waited_for_all_the_same(door: Door, command: bytes) -> None:
    """Its second mention took the mark of the command that was begun next, so the one behind that was begun, too."""
    host = door.host
    host.held_keys.add(b"a")
    reader, writer = await door.connect()
    writer.write(command + b"\r\nSETNX a x\r\nGET a\r\nPING\r\n")
    await eventually(lambda: bool(host.held))
    while host.held[0].condition is None:
        host.answer([host.held.pop(0)])
        await eventually(lambda: bool(host.held))
    # Whatever else was begun with it is there by the time that somebody else is answered.
    others, another = await door.connect()
    another.write(b"PING\r\n")
    await others.readline()
    assert [operation.condition for operation in host.held] == [0]
    host.release()
    await reader.readuntil(b"+PONG\r\n")


async def test_what_waits_for_a_key_is_not_begun_for_somebody_who_is_gone(door: Door) -> None:
    host = door.host
    host.held_keys.add(b"a")
    _, writer = await door.connect()
    writer.write(b"SET a 1\r\nGET a\r\nSET a 2\r\n")
    await eventually(lambda: len(host.held) == 1)
    # Not the end of what it has to say, after which it would still get its answers, but of the connection.
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await eventually(lambda: not door.sessions.connections)
    host.release()
    assert host.submitted == 1


async def test_a_command_waits_for_an_earlier_one_on_its_key_but_for_changes_that_follow_changes(door: Door) -> None:
    host = door.host
    host.held_keys.add(b"k")
    reader, writer = await door.connect()
    writer.write(b"SET k 1\r\nINCR k\r\nAPPEND k 0\r\nGET k\r\nINCR k\r\nSET k 5 NX\r\nMGET k other\r\n")
    await eventually(lambda: len(host.held) == 3)
    assert host.submitted == 3
    host.release()
    expected = b"+OK\r\n:2\r\n:2\r\n$2\r\n20\r\n:21\r\n$-1\r\n*2\r\n$2\r\n21\r\n$-1\r\n"
    assert await reader.readexactly(len(expected)) == expected


async def test_who_reads_no_answers_is_read_no_further_and_finally_closed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_S_MAX", 0.2)
    _, writer = await door.connect(receive_bytes=4096)
    writer.write(b"ECHO %b\r\n" % (b"x" * 1000) * 20_000)
    await eventually(lambda: bool(door.connections))
    [owner] = door.connections
    seen = 0

    def is_closed() -> bool:
        nonlocal seen
        if owner._transport is not None:
            seen = max(seen, owner._transport.get_write_buffer_size())
        return not door.sessions.connections

    await eventually(is_closed)
    assert 1024 * 1024 < seen < 3 * 1024 * 1024
    assert door.sessions.commands_processed < 10_000


LARGE = b"x" * 1024 * 1024
LARGE_ANSWER_BYTES = len(b"$1048576\r\n") + len(LARGE) + 2


async def test_large_answers_that_nobody_reads_end_the_connection_and_no_more_are_made(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_S_MAX", 0.2)
    door.host.values |= {b"k%d" % number: (LARGE, 1, 0) for number in range(100)}
    _, writer = await door.connect(receive_bytes=4096)
    writer.write(b"".join(b"GET k%d\r\n" % number for number in range(100)) * 10)
    await eventually(lambda: bool(door.connections) and not door.sessions.connections)
    assert door.host.submitted <= 256


async def test_who_reads_gets_all_of_many_large_answers(door: Door) -> None:
    door.host.values |= {b"k%d" % number: (LARGE, 1, 0) for number in range(20)}
    reader, writer = await door.connect()
    answer = b"$1048576\r\n%b\r\n" % LARGE
    for _ in range(5):
        writer.write(b"".join(b"GET k%d\r\n" % number for number in range(20)))
        for _ in range(20):
            assert await reader.readexactly(len(answer)) == answer


async def test_who_has_asked_for_much_at_once_gets_it_all(door: Door) -> None:
    """A hundred megabytes in one turn, more than the client can have taken by then: it was cut off."""
    answers = [b"%03d" % number + LARGE[3:] for number in range(100)]
    host = door.host
    host.values |= {b"k%d" % number: (value, 1, 0) for number, value in enumerate(answers)}
    host.held_keys |= host.values.keys()
    reader, writer = await door.connect()
    writer.write(b"".join(b"GET k%d\r\n" % number for number in range(100)))
    await eventually(lambda: len(host.held) == 100)
    host.release()
    for value in answers:
        assert await reader.readexactly(len(value) + 12) == b"$1048576\r\n%b\r\n" % value


async def others_turn(door: Door) -> None:
    """Whatever the node does at once with what it has received is done."""
    reader, writer = await door.connect()
    writer.write(b"PING\r\n")
    assert await reader.readline() == b"+PONG\r\n"


async def test_so_many_commands_of_several_keys_are_under_way_on_one_connection(door: Door) -> None:
    """Each may come to have an answer of 64 MiB."""
    host = door.host
    keys = [b"%d" % number for number in range(40)]
    host.held_keys |= set(keys)
    reader, writer = await door.connect()
    writer.write(b"".join(b"MGET %b %b\r\n" % (keys[n], keys[n + 1]) for n in range(0, 40, 2)) + b"PING\r\n")
    await eventually(lambda: len(host.held) >= 32)
    await others_turn(door)
    assert len(host.held) == 32
    host.release()
    expected = b"*2\r\n$-1\r\n$-1\r\n" * 20 + b"+PONG\r\n"
    assert await reader.readexactly(len(expected)) == expected
    assert host.submitted == 40


async def test_fewer_commands_are_under_way_while_answers_are_large(door: Door) -> None:
    """256 values of a megabyte would lie here for each client, whether it reads them or not."""
    host = door.host
    host.values |= {b"large": (LARGE, 1, 0)}
    keys = [b"%d" % number for number in range(100)]
    reader, writer = await door.connect()
    for asked, most in ((b"GET large\r\n", 16), (b"GET small\r\n", 100)):
        writer.write(asked)
        await reader.readexactly(LARGE_ANSWER_BYTES if most == 16 else 5)
        host.held_keys |= set(keys)
        writer.write(b"".join(b"GET %b\r\n" % key for key in keys))
        await eventually(lambda most=most: len(host.held) >= most)  # type: ignore[misc]
        await others_turn(door)
        assert len(host.held) == most
        host.release()
        assert await reader.readexactly(500) == b"$-1\r\n" * 100


async def test_a_command_that_waits_for_its_key_is_not_the_last_that_was_carried_out(door: Door) -> None:
    host = door.host
    host.held_keys.add(b"k")
    reader, writer = await door.connect()
    writer.write(b"GET k\r\nMGET k\r\n")
    await eventually(lambda: bool(host.held))
    await others_turn(door)
    session = door.connections[0]._session
    assert session is not None
    assert " cmd=get " in session.describe()
    host.release()
    await reader.readexactly(14)
    assert " cmd=mget " in session.describe()


async def test_a_scan_that_goes_on_asks_for_twice_as_many_keys(door: Door) -> None:
    """A page of a few keys costs a round trip to a quorum, as one of many does."""
    names = [b"%05d" % number for number in range(9000)]
    door.host.values |= dict.fromkeys(names, (b"v", 1, 0))
    found: list[list[bytes]] = []
    async with redis.asyncio.Redis(port=door.port) as client:
        cursor = 0
        while cursor or not found:
            cursor, page = await client.scan(cursor, count=10)
            found.append(page)
    asked = [10 * 2**number for number in range(8)]
    assert door.host.limits[: len(asked) + 2] == [*asked, PAGE_KEYS_MAX, PAGE_KEYS_MAX]
    assert [len(page) for page in found[:-1]] == door.host.limits[:-1]
    assert [name for page in found for name in page] == names


async def test_a_scan_among_deleted_keys_looks_at_twice_as_many_at_a_time(door: Door) -> None:
    """Or it would look at one in each round trip, where one key was asked for."""
    host = door.host
    host.values |= {b"%03d" % number: (None, 0, 0) for number in range(100)} | {b"last": (b"v", 1, 0)}
    async with redis.asyncio.Redis(port=door.port) as client:
        assert await client.scan(0, count=1) == (0, [b"last"])
    assert host.limits == [1, 2, 4, 8, 16, 32, 64]


async def test_a_long_pipeline_leaves_the_others_their_turn(door: Door) -> None:
    reader, writer = await door.connect()
    other_reader, other_writer = await door.connect()
    writer.write(b"PING\r\n" * 20_000)
    other_writer.write(b"PING\r\n")
    assert await other_reader.readline() == b"+PONG\r\n"
    assert door.sessions.commands_processed < 20_000
    for _ in range(20_000):
        assert await reader.readline() == b"+PONG\r\n"


def failing(status: int, key: bytes) -> Judge:
    return lambda operation: Result(status, b"because", 0) if operation.key == key else None


@pytest.mark.parametrize(
    ("status", "command", "code"),
    [
        (errors.Unavailable.status, b"SET bad 1", b"CLUSTERDOWN"),
        (errors.Overloaded.status, b"INCR bad", b"TRYAGAIN"),
        (errors.ShuttingDown.status, b"GET bad", b"TRYAGAIN"),
        (errors.OutcomeUnknown.status, b"INCR bad", b"UNKNOWN"),
        (errors.Unavailable.status, b"MGET a bad", b"CLUSTERDOWN"),
        (errors.Unavailable.status, b"EXISTS a bad", b"CLUSTERDOWN"),
        # As a whole these have happened in part.
        (errors.Unavailable.status, b"MSET a 1 bad 1", b"UNKNOWN"),
        (errors.Overloaded.status, b"DEL full bad", b"UNKNOWN"),
        (errors.Overloaded.status, b"DEL a bad", b"TRYAGAIN"),
        (errors.Overloaded.status, b"MSET bad 1", b"TRYAGAIN"),
    ],
)
async def test_an_error_says_whether_it_happened(door: Door, status: int, command: bytes, code: bytes) -> None:
    door.host.values[b"full"] = (b"v", 1, 0)
    door.host.judge = failing(status, b"bad")
    reader, writer = await door.connect()
    writer.write(command + b"\r\nPING\r\n")
    answer = await reader.readline()
    assert answer.startswith(b"-%b " % code)
    assert answer.endswith(b"because\r\n")
    assert await reader.readline() == b"+PONG\r\n"
    assert door.sessions.error_replies == 1


async def test_a_command_of_many_keys_fails_as_unknown_when_some_were_changed_before(door: Door) -> None:
    door.host.judge = failing(errors.Unavailable.status, b"k1999")
    reader, writer = await door.connect()
    writer.write(b"MSET " + b" ".join(b"k%d v" % number for number in range(2000)) + b"\r\n")
    assert (await reader.readline()).startswith(b"-UNKNOWN some of the keys were changed, and others not: ")
    writer.write(b"DEL " + b" ".join(b"k%d" % number for number in range(2000)) + b"\r\n")
    assert (await reader.readline()).startswith(b"-UNKNOWN ")


async def test_an_answer_of_too_many_bytes_is_refused(door: Door) -> None:
    door.host.values[b"k"] = (LARGE, 1, 0)
    reader, writer = await door.connect()
    writer.write(b"MGET" + b" k" * 5000 + b"\r\nEXISTS" + b" k" * 5000 + b"\r\n")
    assert (await reader.readline()).startswith(b"-ERR the answer has more than 67108864 bytes")
    assert await reader.readline() == b":5000\r\n"
    assert door.host.submitted <= 256 + 5000


TRANSACTION = b"MULTI\r\nSET a 1\r\nINCR n\r\nEXEC\r\nPING\r\n"


@pytest.mark.parametrize("cut", range(0, len(TRANSACTION) + 1, 7))
async def test_a_transaction_is_refused_as_a_whole(door: Door, cut: int) -> None:
    reader, writer = await door.connect()
    writer.write(TRANSACTION[:cut])
    await asyncio.sleep(0)
    writer.write(TRANSACTION[cut:])
    assert (await reader.readline()).startswith(b"-ERR MULTI is not supported: ")
    for _ in range(2):
        assert (await reader.readline()).startswith(b"-ERR not carried out: ")
    assert (await reader.readline()).startswith(b"-EXECABORT ")
    assert await reader.readline() == b"+PONG\r\n"
    assert not door.host.values


async def test_a_long_transaction_is_refused_as_a_whole(door: Door) -> None:
    reader, writer = await door.connect()
    writer.write(b"MULTI\r\n" + b"INCR n\r\n" * 10_000 + b"DISCARD\r\nGET n\r\n")
    assert (await reader.readline()).startswith(b"-ERR MULTI is not supported: ")
    for _ in range(10_000):
        assert (await reader.readline()).startswith(b"-ERR not carried out: ")
    assert await reader.readexactly(10) == b"+OK\r\n$-1\r\n"


async def test_a_busy_node_carries_out_no_part_of_a_transaction(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been received is not silence, however long the node takes to come to it."""
    monkeypatch.setattr("paxoskv.redis.transaction._QUIET_S", 0.0)
    reader, writer = await door.connect()
    writer.write(b"MULTI\r\n" + b"SET k v\r\n" * 5_000 + b"EXEC\r\n")
    assert (await reader.readline()).startswith(b"-ERR MULTI is not supported: ")
    for _ in range(5_000):
        assert (await reader.readline()).startswith(b"-ERR not carried out: ")
    assert (await reader.readline()).startswith(b"-EXECABORT ")
    assert not door.host.submitted


async def test_who_waits_for_the_refusal_of_a_transaction_can_go_on(door: Door) -> None:
    reader, writer = await door.connect()
    writer.write(b"MULTI\r\n")
    assert (await reader.readline()).startswith(b"-ERR MULTI is not supported: ")
    writer.write(b"SET a 1\r\nEXEC\r\n")
    assert await reader.readline() == b"+OK\r\n"
    assert (await reader.readline()).startswith(b"-ERR EXEC is not supported: ")


async def test_ten_thousand_commands_that_need_no_engine_are_answered(door: Door) -> None:
    reader, writer = await door.connect()
    writer.write(b"PING\r\n" * 10_000)
    assert await reader.readexactly(70_000) == b"+PONG\r\n" * 10_000


async def test_who_has_no_more_to_say_still_gets_all_answers_and_is_closed(door: Door) -> None:
    """As of `printf ... | nc`."""
    door.host.held_keys.add(b"slow")
    reader, writer = await door.connect()
    writer.write(b"SET k 1\r\nGET slow\r\nGET k\r\n" + b"PING\r\n" * 1000)
    writer.write_eof()
    await eventually(lambda: len(door.host.held) == 1)
    door.host.release()
    assert await reader.read(-1) == b"+OK\r\n$-1\r\n$1\r\n1\r\n" + b"+PONG\r\n" * 1000


async def test_what_was_answered_leaves_nothing_for_the_collector(door: Door) -> None:
    """Under load, looking for circles took a tenth of a node's time, and stopped it for 70 ms at a time."""
    reader, writer = await door.connect()

    def left() -> int:
        return sum(type(each) in (Operation, One, Plan) for each in gc.get_objects())

    gc.collect()
    before = left()
    gc.disable()
    try:
        writer.write(b"SET a 1\r\nGET a\r\nMGET a b\r\nMSET a 1 b 2\r\nINCR a\r\nSET a 1 NX GET\r\nPING\r\n")
        await reader.readuntil(b"+PONG\r\n")
        assert left() == before
    finally:
        gc.enable()
