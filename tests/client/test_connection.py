"""The lowest level: frames, ids, callbacks, and what becomes of them when the connection does not last."""

import asyncio
import operator
from collections.abc import Callable
from typing import Any

import pytest
from client.fake_node import FRAME_BYTES_MAX, FakeNode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paxoskv.client.connection import LOST, UNSENT, Connection
from paxoskv.core import operations
from paxoskv.core.errors import NotReached, ProtocolError
from paxoskv.wire import client as wire
from paxoskv.wire import framing

Answered = tuple[int, Any, int]


async def connect(node: FakeNode, seconds: float = 10.0) -> Connection:
    return await Connection.open("127.0.0.1", node.port, seconds, lambda connection, reason: None)


def submit(connection: Connection, kind: int, key: bytes, argument: Any = None) -> "asyncio.Future[Answered]":
    """One operation whose callback completes a future; a second call of the callback would raise there."""
    future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
    connection.submit(kind, key, argument, None, 1000, lambda *answer: future.set_result(answer))
    return future


async def test_requests_of_one_turn_leave_as_one_frame(node: FakeNode) -> None:
    connection = await connect(node)
    await asyncio.gather(*[submit(connection, operations.INCR, b"n", 1) for _ in range(100)])
    assert node.frames == [100]
    connection.close()


async def test_no_frame_exceeds_what_a_node_takes_even_if_only_the_keys_are_long(node: FakeNode) -> None:
    """A node closes the connection at a longer frame, and every operation of the turn would be in doubt."""
    connection = await connect(node)
    key = b"k" * 1000
    answers = await asyncio.gather(*[submit(connection, operations.GET, key) for _ in range(8000)])
    assert {answer[0] for answer in answers} == {operations.OK}
    assert len(node.frames) > 1
    assert node.frame_bytes_seen < FRAME_BYTES_MAX / 2
    connection.close()


async def test_the_largest_cas_behind_a_nearly_full_frame_still_fits(node: FakeNode) -> None:
    connection = await connect(node)
    submit(connection, operations.PUT, b"k", b"v" * (256 * 1024 - 100))
    largest = b"v" * 1024 * 1024
    future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
    connection.submit(operations.CAS, b"k" * 1024, largest, largest, 1000, lambda *a: future.set_result(a))
    assert (await future)[0] == operations.CONDITION_FAILED
    connection.close()


async def test_answers_find_their_operations_in_any_order(node: FakeNode) -> None:
    node.backwards = True
    connection = await connect(node)
    arrived: list[int] = []

    def note(number: int) -> Callable[[object], None]:
        return lambda _: arrived.append(number)

    futures = []
    for number in range(10):
        future = submit(connection, operations.PUT, b"key-%d" % number, b"v")
        future.add_done_callback(note(number))
        futures.append(future)
    versions = [(await future)[2] for future in futures]
    assert versions == list(range(1, 11))
    assert arrived == list(range(9, -1, -1))
    connection.close()


async def test_what_was_sent_is_lost_when_the_connection_breaks_and_what_was_not_is_unsent(node: FakeNode) -> None:
    node.hang = True
    connection = await connect(node)
    sent = submit(connection, operations.PUT, b"k", b"sent")
    await node.until(lambda: bool(node.seen))
    connection.close()
    unsent = submit(connection, operations.PUT, b"k", b"unsent")
    assert (await sent)[0] == LOST
    assert (await unsent)[0] == UNSENT
    assert len(node.seen) == 1


async def test_a_forgotten_operation_is_answered_to_nobody(node: FakeNode) -> None:
    connection = await connect(node)
    called = []
    identifier = connection.submit(operations.GET, b"k", None, None, 1000, lambda *answer: called.append(answer))
    connection.forget(identifier)
    await submit(connection, operations.GET, b"k")
    assert called == []
    assert not connection.in_flight
    connection.close()


async def test_a_transport_that_is_full_says_so_and_says_when_it_is_not(node: FakeNode) -> None:
    connection = await connect(node)
    (session,) = node.connections
    session.pause_reading()
    room = asyncio.Event()
    connection.on_room = room.set
    answers = []
    is_writable = operator.attrgetter("writable")
    while is_writable(connection):
        answers.append(submit(connection, operations.PUT, b"k", b"v" * 1024 * 1024))
        await asyncio.sleep(0)
        assert len(answers) < 1000, "the kernel takes this much?"
    session.resume_reading()
    await room.wait()
    assert is_writable(connection)
    assert {answer[0] for answer in await asyncio.gather(*answers)} == {operations.OK}
    connection.close()


async def test_a_node_that_never_says_hello_is_given_up(node: FakeNode) -> None:
    node.silent_at_hello = True
    with pytest.raises(NotReached, match=f"{node.address}: it did not answer within"):
        await connect(node, 0.05)
    await node.until(lambda: node.accepted == 1 and not node.connections)


async def test_a_refused_connection_names_the_node_and_the_cause(node: FakeNode) -> None:
    await node.stop()
    with pytest.raises(NotReached, match=f"{node.address}: Connection refused"):
        await connect(node)


async def test_another_wire_version_is_refused_and_named(node: FakeNode) -> None:
    node.instead_of_hello = framing.pack((wire.HELLO, 99, "c", 1, 1, 1))
    with pytest.raises(NotReached, match=r"another version of the client protocol: \(99,\)"):
        await connect(node)


async def test_what_is_no_paxoskv_node_is_not_taken_for_one(node: FakeNode) -> None:
    node.instead_of_hello = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(NotReached, match="client port of a paxoskv node"):
        await connect(node)


async def test_goodbye_is_the_reason_that_callers_hear(node: FakeNode) -> None:
    node.goodbye = "you talk too much"
    connection = await connect(node)
    status, reason, _ = await submit(connection, operations.GET, b"k")
    assert status == LOST
    assert reason == b"the node closed the connection: you talk too much"


async def test_status_and_faults_are_answered(node: FakeNode) -> None:
    connection = await connect(node)
    assert await connection.status() == {"node": 1, "mode": "fake"}
    await connection.inject_fault("slow", True)
    with pytest.raises(ProtocolError, match="no faults here"):
        await connection.inject_fault("none", True)
    connection.close()


@pytest.mark.parametrize("nonsense", [7, "{", "[]", "null", b"\xff", None, ()])
async def test_a_status_that_is_no_json_object_is_a_protocol_error(node: FakeNode, nonsense: object) -> None:
    node.status_json = nonsense
    connection = await connect(node)
    with pytest.raises(ProtocolError, match="malformed STATUS"):
        await connection.status()
    connection.close()


async def test_asking_for_status_on_a_lost_connection_fails_at_once(node: FakeNode) -> None:
    node.hang = True
    connection = await connect(node)
    asking = asyncio.create_task(connection.status())
    await node.until(lambda: bool(node.connections))
    await asyncio.sleep(0)
    connection.close()
    with pytest.raises(NotReached):
        await asking
    with pytest.raises(NotReached):
        await connection.status()


MALFORMED = [
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x01\xc1",
    framing.pack(()),
    framing.pack(7),
    framing.pack((99, 1)),
    framing.pack((wire.REQUESTS, ())),
    framing.pack((wire.HELLO,)),
    framing.pack((wire.HELLO, wire.WIRE_VERSION, 1, 2, 3, 4)),
    framing.pack((wire.ANSWERS,)),
    framing.pack((wire.ANSWERS, 7)),
    framing.pack((wire.ANSWERS, (7,))),
    framing.pack((wire.ANSWERS, ((1, 0, None),))),
    framing.pack((wire.ANSWERS, (("1", 0, None, 0),))),
    framing.pack((wire.ANSWERS, ((1, "0", None, 0),))),
    framing.pack((wire.ANSWERS, ((1, LOST, None, 0),))),
    framing.pack((wire.ANSWERS, ((1, UNSENT, None, 0),))),
    framing.pack((wire.STATUS,)),
    framing.pack((wire.WRITES_TO, 7)),
    framing.pack((wire.COMMAND, 1)),
    framing.pack((wire.PAGE, 1, 0, b"", ())),
    framing.pack((wire.PAGE, 1, LOST, b"", (), None)),
    framing.pack((wire.PAGE, 1, 0, b"", ((b"k", b"v", 1),), None)),
    framing.pack((wire.PAGE, 1, 0, b"", (("k", b"v", 1, 0),), None)),
    framing.pack((wire.PAGE, 1, 0, b"", (), 7)),
    framing.pack(((), 1, 2)),
]


@pytest.mark.parametrize("garbage", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_frame_breaks_the_connection_and_nothing_else(node: FakeNode, garbage: bytes) -> None:
    node.instead_of_answers = garbage
    connection = await connect(node)
    status, reason, _ = await submit(connection, operations.PUT, b"k", b"v")
    assert status == LOST
    assert reason
    await node.until(lambda: not node.connections)


@given(
    garbage=st.one_of(
        st.binary(max_size=64),
        st.recursive(
            st.none() | st.integers(-5, 2**32) | st.binary(max_size=4) | st.text(max_size=4),
            lambda inner: st.lists(inner, max_size=5),
            max_leaves=12,
        ).map(framing.pack),
        st.tuples(
            st.just(wire.ANSWERS),
            st.lists(
                st.tuples(st.integers(0, 3), st.integers(-3, 40), st.none() | st.binary(max_size=3), st.integers())
            ),
        )
        .filter(lambda body: all(-(2**63) <= answer[3] < 2**64 for answer in body[1]))
        .map(framing.pack),
    ),
    in_place_of_hello=st.booleans(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_from_a_node_end_in_an_answer_or_a_lost_connection(garbage: bytes, in_place_of_hello: bool) -> None:
    """Never an exception in the event loop, nor a callback that is called twice or never."""

    async def exchange() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        async with FakeNode() as node:
            if in_place_of_hello:
                # Behind it a zero length, which no frame has: most connections end there.
                node.instead_of_hello = garbage + bytes(4)
            else:
                node.instead_of_answers = garbage + bytes(4)
                node.close_after_answers = True
            try:
                connection = await connect(node, 0.2)
            except NotReached:
                return
            answer = await submit(connection, operations.PUT, b"k", b"v")
            assert type(answer[0]) is int
            connection.close()

    raised: list[dict[str, Any]] = []
    asyncio.run(exchange())
    assert raised == []


async def test_garbage_fed_a_byte_at_a_time_is_judged_as_when_fed_whole(node: FakeNode) -> None:
    connection = await connect(node)
    future = submit(connection, operations.GET, b"k")
    for byte in wire.pack_answers([(1, operations.OK, b"v", 5)]):
        connection.data_received(bytes([byte]))
    assert await future == (operations.OK, b"v", 5)
    connection.close()
