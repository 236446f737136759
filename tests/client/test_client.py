"""The asyncio client against nodes that refuse, hang, vanish and babble: what is retried, what is not, what is told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from client.fake_node import FakeNode, Store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import paxoskv
from paxoskv.client import link as link_module
from paxoskv.core import errors, operations
from paxoskv.core.address import Address

Pair = tuple[FakeNode, FakeNode]
Call = Callable[[paxoskv.Client], Awaitable[object]]

WRITES: dict[str, Call] = {
    "put": lambda kv: kv.put("k", "v"),
    "delete": lambda kv: kv.delete("k"),
    "cas": lambda kv: kv.cas("k", None, "v"),
    "incr": lambda kv: kv.incr("k"),
    "append": lambda kv: kv.append("k", "v"),
    "swap": lambda kv: kv.swap("k", "v"),
}
ENDLESS = 60.0


def both(pair: Pair, timeout: float = ENDLESS) -> paxoskv.Client:
    """A client of both nodes that goes to the first one while it can."""
    first, second = pair
    return paxoskv.connect([first.address, second.address], prefer=0, timeout=timeout)


async def ready(kv: paxoskv.Client, nodes: int) -> None:
    """Wait until a client has connected to so many nodes."""
    while sum(status["up"] for status in await kv.status()) < nodes:
        pass


# Connecting.


async def test_connect_can_be_entered_or_awaited(node: FakeNode) -> None:
    async with paxoskv.connect(node.address) as kv:
        await kv.put("k", "v")
    kv = await paxoskv.connect([node.address])
    assert (await kv.get("k")).value == b"v"
    await kv.close()
    await node.until(lambda: not node.connections)


async def test_no_node_at_all_is_a_definite_error_that_names_every_node_and_its_reason(pair: Pair) -> None:
    first, second = pair
    await first.stop()
    second.silent_at_hello = True
    with pytest.raises(paxoskv.NotReached) as failed:
        await paxoskv.connect([first.address, second.address], timeout=1.0)
    assert failed.value.definite
    assert f"{first.address}: Connection refused" in str(failed.value)
    assert second.address in str(failed.value)
    await second.until(lambda: not second.connections)  # Nothing is left behind.


async def test_one_node_is_enough_to_connect(pair: Pair) -> None:
    await pair[0].stop()
    async with both(pair) as kv:
        await kv.put("k", "v")
    assert len(pair[1].seen) == 1


@pytest.mark.parametrize(
    "endpoints",
    [
        "",
        "here",
        "here:",
        ":7401",
        "here:0",
        "here:65536",
        "here:-1",
        "a b:1",
        "a:1,",
        "[::1:1",
        "a\0b:1",
        "a:" + "9" * 9,
        "a:" + "9" * 9_999,
        "a..b:1",
        "a" * 70 + ":1",
        "::x:1",
    ],
)
def test_what_is_no_endpoint_is_refused_with_an_example(endpoints: str) -> None:
    with pytest.raises(paxoskv.BadRequest, match=r"such as 127\.0\.0\.1:7401"):
        paxoskv.connect(endpoints)


async def test_no_endpoints_are_refused() -> None:
    with pytest.raises(paxoskv.BadRequest, match="at least one"):
        paxoskv.connect([])


async def test_a_name_that_leads_nowhere_says_so() -> None:
    with pytest.raises(paxoskv.NotReached, match="cannot be resolved"):
        await paxoskv.connect("no-such-host.invalid:7401", timeout=0.2)


async def test_prefer_names_an_endpoint_or_its_index(pair: Pair) -> None:
    first, second = pair
    for prefer in (1, second.address):
        async with paxoskv.connect([first.address, second.address], prefer=prefer) as kv:
            await asyncio.gather(*[kv.get(f"k{number}") for number in range(20)])
    assert (len(first.seen), len(second.seen)) == (0, 40)


async def test_writes_go_where_the_nodes_say_and_reads_where_the_keys_hash_does(pair: Pair) -> None:
    first, second = pair
    first.writes_to = second.writes_to = second.address
    async with paxoskv.connect([first.address, second.address]) as kv:
        await ready(kv, 2)
        await asyncio.gather(*[kv.put(f"k{number}", "v") for number in range(20)])
        assert (len(first.seen), len(second.seen)) == (0, 20)
        await asyncio.gather(*[kv.get(f"k{number}") for number in range(20)])
        assert first.seen
        # Another one leads; whoever of them says so last, most have to.
        seen = len(first.seen)
        for node in pair:
            node.say_writes_to(first.address)
        await ready(kv, 2)
        await asyncio.gather(*[kv.put(f"k{number}", "v") for number in range(20)])
        assert len(first.seen) == seen + 20
        # Nobody knows any: as if there were none.
        for node in pair:
            node.say_writes_to("")
        await ready(kv, 2)
        seen = len(second.seen)
        await asyncio.gather(*[kv.put(f"k{number}", "v") for number in range(20)])
        assert seen < len(second.seen) < seen + 20


async def test_when_the_node_for_writes_is_gone_or_refuses_another_one_takes_them(pair: Pair) -> None:
    first, second = pair
    first.writes_to = second.writes_to = second.address
    async with paxoskv.connect([first.address, second.address]) as kv:
        await ready(kv, 2)
        second.refuse_with = paxoskv.Unavailable.status
        await kv.put("k", "v")
        assert len(first.seen) == 1
        await second.stop()
        await kv.put("k", "w")
        assert len(first.seen) == 2


async def test_a_stranger_is_no_place_for_writes_and_a_preference_comes_first(pair: Pair) -> None:
    first, second = pair
    first.writes_to = second.writes_to = "10.9.8.7:7401"
    async with paxoskv.connect([first.address, second.address]) as kv:
        await kv.put("k", "v")
    first.writes_to = second.writes_to = second.address
    seen = len(second.seen)
    async with both(pair) as kv:
        await ready(kv, 2)
        await asyncio.gather(*[kv.put(f"k{number}", "v") for number in range(20)])
    assert len(second.seen) == seen


@pytest.mark.parametrize("prefer", [2, -1, "elsewhere:7401"])
async def test_preferring_a_stranger_is_refused(pair: Pair, prefer: int | str) -> None:
    with pytest.raises(paxoskv.BadRequest, match="endpoints"):
        paxoskv.connect([node.address for node in pair], prefer=prefer)


async def test_endpoints_of_two_clusters_are_refused_by_name(pair: Pair) -> None:
    """Or else each client would write into the cluster that answered it first."""
    pair[1].cluster = "another"

    async def talk() -> None:
        async with both(pair) as kv:
            while True:
                await kv.get("k")

    with pytest.raises(paxoskv.BadRequest) as refused:
        await talk()
    for name in (pair[0].address, "'fake'", pair[1].address, "'another'"):
        assert name in str(refused.value)


async def test_a_node_that_comes_back_as_one_of_another_cluster_is_left_out_and_the_rest_goes_on(pair: Pair) -> None:
    first, second = pair
    async with both(pair) as kv:
        await ready(kv, 2)
        await first.stop()
        first.cluster = "another"
        await first.start()
        await first.until(lambda: first.accepted >= 3)  # It was tried, refused, and tried again.
        for _ in range(10):
            await kv.put("k", "v")
        statuses = await kv.status()
    assert first.seen == []
    assert len(second.seen) == 10
    assert "belongs to cluster 'another'" in statuses[0]["error"]


@pytest.mark.parametrize("endpoints", [None, 7, b"127.0.0.1:7401", [7401]])
async def test_endpoints_of_another_type_are_refused(endpoints: Any) -> None:
    with pytest.raises(paxoskv.BadRequest, match="endpoint"):
        paxoskv.connect(endpoints)


@pytest.mark.parametrize("prefer", [1.0, True, b"127.0.0.1:7401"])
async def test_a_preference_of_another_type_is_refused(pair: Pair, prefer: Any) -> None:
    with pytest.raises(paxoskv.BadRequest, match="prefer is"):
        paxoskv.connect([node.address for node in pair], prefer=prefer)


async def test_a_client_belongs_to_the_event_loop_in_which_it_was_first_used(node: FakeNode) -> None:
    async def strange(call: Call) -> str:
        with pytest.raises(paxoskv.BadRequest) as failed:
            await call(kv)
        return str(failed.value)

    async def scan(kv: paxoskv.Client) -> None:
        async for _ in kv.scan():
            pass

    calls: list[Call] = [*WRITES.values(), lambda kv: kv.get("k"), scan, lambda kv: kv.status(), lambda kv: kv.close()]
    async with paxoskv.connect(node.address) as kv:
        for call in calls:
            assert "event loop" in await asyncio.to_thread(asyncio.run, strange(call))
        await kv.put("k", "v")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "1"])
async def test_a_timeout_that_is_none_is_refused(node: FakeNode, seconds: float) -> None:
    with pytest.raises(paxoskv.BadRequest, match="timeout"):
        paxoskv.connect(node.address, timeout=seconds)
    async with paxoskv.connect(node.address) as kv:
        with pytest.raises(paxoskv.BadRequest, match="timeout"):
            await kv.get("k", timeout=seconds)


# What operations give.


async def test_every_operation_gives_what_it_promises(node: FakeNode) -> None:
    async with paxoskv.connect(node.address) as kv:
        assert await kv.get("k") == (None, 0)
        version = await kv.put("k", "v")
        assert await kv.get("k") == paxoskv.Entry(b"v", version)
        newer = await kv.cas("k", "v", "5")
        assert newer > version
        assert (await kv.incr("k", -7)).value == -2
        assert (await kv.append("k", "0")).length == 3
        swapped = await kv.swap("k", b"\x00\xff")
        assert swapped.old == b"-20"
        assert await kv.delete("k", if_version=swapped.version)
        assert not await kv.delete("k")
        assert (await kv.swap("k", "v")).old is None


async def test_a_failed_condition_tells_how_the_key_is(node: FakeNode) -> None:
    async with paxoskv.connect(node.address) as kv:
        version = await kv.put("k", "v")
        for call in (
            kv.put("k", "w", if_version=version + 1),
            kv.delete("k", if_version=0),
            kv.cas("k", "x", "w"),
            kv.incr("k"),
        ):
            with pytest.raises(paxoskv.ConditionFailed) as failed:
                await call
            assert (failed.value.value, failed.value.version) == (b"v", version)
            assert f"the key has version {version} and was not changed" in str(failed.value)
            assert failed.value.definite
        with pytest.raises(paxoskv.ConditionFailed, match="the key is absent and was not changed"):
            await kv.cas("absent", "x", "w")


async def test_keys_and_values_are_bytes_whatever_holds_them(node: FakeNode) -> None:
    async with paxoskv.connect(node.address) as kv:
        values: list[Any] = ["é", b"\xc3\xa9", bytearray(b"\xc3\xa9"), memoryview(b"\xc3\xa9")]
        for value in values:
            await kv.put(value, value)
            assert (await kv.get(value)).value == b"\xc3\xa9"
    assert set(node.store) == {b"", b"\xc3\xa9"}


async def test_what_a_node_would_refuse_is_not_sent(node: FakeNode) -> None:
    nonsense: Any = 7
    async with paxoskv.connect(node.address) as kv:
        calls: list[tuple[Awaitable[object], str]] = [
            (kv.get(""), "a key has 1 to 1024 bytes, this one 0"),
            (kv.get("k" * 1025), "a key has 1 to 1024 bytes, this one 1025"),
            (kv.put("k", b"v" * (1024 * 1024 + 1)), "at most 1048576 bytes, this one 1048577"),
            (kv.cas("k", b"v" * (1024 * 1024 + 1), "v"), "at most 1048576 bytes"),
            (kv.get(nonsense), "a key is bytes or str, not int"),
            (kv.put("k", nonsense), "a value is bytes or str, not int"),
            (kv.put("k", "\ud800"), "UTF-8"),
            (kv.put("k", "v", if_version=-1), "if_version is a version"),
            (kv.delete("k", if_version=2**64), "if_version is a version"),
            (kv.incr("k", 2**63), "signed 64-bit"),
        ]
        for call, sentence in calls:
            with pytest.raises(paxoskv.BadRequest, match=sentence):
                await call
    assert node.seen == []


async def test_a_scan_that_a_node_would_refuse_is_not_sent(node: FakeNode) -> None:
    """This node answers no scan, so what is sent is not answered in time, and is told otherwise."""
    long = b"k" * 1026
    nonsense: Any = 7
    refused: list[tuple[dict[str, Any], str]] = [
        ({"prefix": long}, "a bound of a scan has at most 1025 bytes"),
        ({"start": long}, "a bound of a scan has at most 1025 bytes"),
        ({"end": long}, "a bound of a scan has at most 1025 bytes"),
        ({"prefix": "p", "start": "s"}, "a prefix, or start and end, not both"),
        ({"prefix": "p", "end": "e"}, "a prefix, or start and end, not both"),
        ({"start": nonsense}, "a bound is bytes or str, not int"),
        ({"limit": 0}, "the limit of a scan is a whole number from 1 to 9,223,372,036,854,775,807, not 0"),
        ({"limit": 10.0}, "a whole number from 1 to 9,223,372,036,854,775,807, not 10.0"),
        ({"limit": True}, "a whole number from 1 to 9,223,372,036,854,775,807, not True"),
        ({"limit": "3"}, "a whole number from 1 to 9,223,372,036,854,775,807, not '3'"),
    ]
    async with paxoskv.connect(node.address) as kv:
        await ready(kv, 1)
        for bounds, sentence in refused:
            with pytest.raises(paxoskv.BadRequest, match=sentence):
                await anext(kv.scan(**bounds))
        with pytest.raises(paxoskv.Unavailable):
            await anext(kv.scan(start=long[1:], end=long[1:], timeout=0.05))


async def test_answers_find_their_calls_in_any_order(node: FakeNode) -> None:
    node.backwards = True
    async with paxoskv.connect(node.address) as kv:
        await asyncio.gather(*[kv.put(f"k{number}", str(number)) for number in range(50)])
        entries = await asyncio.gather(*[kv.get(f"k{number}") for number in range(50)])
    assert [entry.value for entry in entries] == [str(number).encode() for number in range(50)]


async def test_ten_thousand_calls_at_once_share_one_connection_for_each_node(pair: Pair) -> None:
    async with paxoskv.connect([node.address for node in pair]) as kv:
        await ready(kv, 2)
        counters = await asyncio.gather(*[kv.incr(f"k{number % 100}") for number in range(10_000)])
    assert sorted(counter.value for counter in counters) == sorted(list(range(1, 101)) * 100)
    assert [node.accepted for node in pair] == [1, 1]
    assert min(len(node.seen) for node in pair) > 1000


async def test_all_clients_go_through_the_same_node_for_a_key_in_whatever_order_they_were_told_of_them(
    pair: Pair,
) -> None:
    """The node that holds the key needs one round trip for a write instead of two."""
    first, second = pair
    for addresses in ([first.address, second.address], [second.address, first.address]):
        async with paxoskv.connect(addresses) as kv:
            await ready(kv, 2)
            await asyncio.gather(*[kv.get(f"k{number}") for number in range(100)])
    for node in pair:
        keys = [request[2] for request in node.seen]
        assert len(keys) == 2 * len(set(keys))
        assert len(set(keys)) > 20


# Definite failures are retried.


@pytest.mark.parametrize("error", [cls for cls in errors.all_errors() if cls.retryable and cls.status])
@pytest.mark.parametrize("write", WRITES)
async def test_what_one_node_refuses_for_now_another_one_does(
    pair: Pair, write: str, error: type[paxoskv.PaxosKVError]
) -> None:
    first, second = pair
    first.refuse_with = error.status
    async with both(pair) as kv:
        await ready(kv, 2)
        await WRITES[write](kv)
    assert (len(first.seen), len(second.seen)) == (1, 1)


async def test_what_all_nodes_refuse_is_tried_again_until_one_does_not(pair: Pair) -> None:
    first, second = pair
    first.refuse_with = second.refuse_with = errors.Overloaded.status
    async with both(pair) as kv:
        await ready(kv, 2)
        call = asyncio.create_task(kv.incr("k"))
        await first.until(lambda: len(first.seen) == 2)
        await second.until(lambda: len(second.seen) == 2)
        second.refuse_with = None
        assert (await call).value == 1


async def test_what_all_nodes_refuse_until_the_end_is_the_refusal_and_did_not_happen(pair: Pair) -> None:
    for node in pair:
        node.refuse_with = errors.Overloaded.status
    async with both(pair, 0.3) as kv:
        with pytest.raises(paxoskv.Overloaded, match="because the test says so") as failed:
            await kv.put("k", "v")
    assert failed.value.definite
    assert pair[0].store == {}


class Clock:
    """What the event loop takes for the time: it stands still unless the test sets it forward."""

    def __init__(self, now: float) -> None:
        self.now = now


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time())
    monkeypatch.setattr(loop, "time", lambda: clock.now)
    return clock


async def refused_late(pair: Pair, clock: Clock, call: Call, timeout: float, left: float) -> object:
    """What becomes of a call that the first node refuses with so little time left; the second would take it."""

    def refuse(identifier: int) -> tuple[Any, ...]:
        clock.now += timeout - left
        return identifier, errors.Overloaded.status, b"because the test says so", 0

    pair[0].answer_as = refuse
    async with both(pair, timeout) as kv:
        await ready(kv, 2)
        return await call(kv)


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_was_refused_is_not_begun_again_without_the_time_to_end(
    pair: Pair, clock: Clock, write: str
) -> None:
    """What certainly did not happen would become what may have happened."""
    with pytest.raises(paxoskv.Overloaded, match="because the test says so") as failed:
        await refused_late(pair, clock, WRITES[write], 60.0, 0.1)
    assert failed.value.definite
    assert pair[1].seen == []


@pytest.mark.parametrize(
    ("call", "timeout", "left"),
    [
        (WRITES["put"], 60.0, 0.3),
        # A read never is in doubt.
        (lambda kv: kv.get("k"), 60.0, 0.1),
        # Who waits for so little in all has to be content with it.
        (WRITES["put"], 0.2, 0.1),
    ],
    ids=["time enough", "a read", "a short timeout"],
)
async def test_what_was_refused_is_begun_again_otherwise(
    pair: Pair, clock: Clock, call: Call, timeout: float, left: float
) -> None:
    await refused_late(pair, clock, call, timeout, left)
    assert len(pair[1].seen) == 1


async def test_what_is_wrong_with_the_request_is_not_retried(pair: Pair) -> None:
    pair[0].refuse_with = errors.BadRequest.status
    async with both(pair) as kv:
        await ready(kv, 2)
        with pytest.raises(paxoskv.BadRequest):
            await kv.put("k", "v")
    assert pair[1].seen == []


async def test_calls_go_to_another_node_while_one_is_down_and_come_back(pair: Pair) -> None:
    first, second = pair
    async with both(pair) as kv:
        await ready(kv, 2)
        await kv.put("k", "1")
        await first.stop()
        for _ in range(10):
            await kv.put("k", "2")
        assert (len(first.seen), len(second.seen)) == (1, 10)
        await first.start()
        await ready(kv, 2)
        await kv.put("k", "3")
        assert (len(first.seen), len(second.seen)) == (2, 10)


async def test_with_every_node_down_a_call_waits_and_goes_to_the_first_that_is_back(pair: Pair) -> None:
    first, second = pair
    async with both(pair) as kv:
        await first.stop()
        await second.stop()
        call = asyncio.create_task(kv.put("k", "v"))
        await second.start()
        await call
    assert len(second.seen) == 1


async def test_with_every_node_down_for_good_a_call_was_certainly_not_sent(pair: Pair) -> None:
    async with both(pair) as kv:
        await ready(kv, 2)
        for node in pair:
            await node.stop()
        while any(status["up"] for status in await kv.status()):
            pass
        with pytest.raises(paxoskv.NotReached, match=r"no node could be reached within 0\.1 s"):
            await kv.put("k", "v", timeout=0.1)


# Unknown outcomes are not.


def hang(node: FakeNode) -> None:
    node.hang = True


def cut_when_asked(node: FakeNode) -> None:
    node.cut_when_asked = True


def execute_then_cut(node: FakeNode) -> None:
    node.execute_then_cut = True


def say_goodbye(node: FakeNode) -> None:
    node.goodbye = "enough"


def answer_garbage(node: FakeNode) -> None:
    node.instead_of_answers = b"\xff\xff\xff\xff"


def answer_half_a_frame(node: FakeNode) -> None:
    node.instead_of_answers, node.close_after_answers = b"\x00\x00", True


def answer_with_an_unknown_status(node: FakeNode) -> None:
    node.refuse_with = 99


def answer_that_it_does_not_know(node: FakeNode) -> None:
    node.refuse_with = errors.OutcomeUnknown.status


DOUBTFUL = [
    hang,
    cut_when_asked,
    execute_then_cut,
    say_goodbye,
    answer_garbage,
    answer_half_a_frame,
    answer_with_an_unknown_status,
    answer_that_it_does_not_know,
]


@pytest.mark.parametrize("misbehave", DOUBTFUL)
@pytest.mark.parametrize("write", WRITES)
async def test_a_write_of_unknown_outcome_is_sent_once_and_told(
    pair: Pair, write: str, misbehave: Callable[[FakeNode], None]
) -> None:
    first, second = pair
    async with both(pair, 0.2) as kv:
        await ready(kv, 2)
        misbehave(first)
        with pytest.raises(paxoskv.OutcomeUnknown, match=first.address):
            await WRITES[write](kv)
    assert (len(first.seen), len(second.seen)) == (1, 0)


@pytest.mark.parametrize("misbehave", DOUBTFUL)
async def test_a_read_is_asked_of_another_node_whatever_became_of_it(
    pair: Pair, misbehave: Callable[[FakeNode], None]
) -> None:
    first, second = pair
    first.store[b"k"] = (b"v", 5, 0)
    async with both(pair, 1.0) as kv:
        await ready(kv, 2)
        misbehave(first)
        assert await kv.get("k") == (b"v", 5)
    assert (len(first.seen), len(second.seen)) == (1, 1)


async def test_a_read_that_nobody_answers_is_unavailable_and_not_unknown(pair: Pair) -> None:
    async with both(pair, 0.3) as kv:
        await ready(kv, 2)
        for node in pair:
            node.hang = True
        with pytest.raises(paxoskv.Unavailable, match=r"no node answered this read within 0\.3 s; asked last was 127"):
            await kv.get("k")


NONSENSE: list[tuple[str, operations.Argument, Any]] = [
    ("get", 7, 1),
    ("put", b"v", 1),
    ("incr", b"1", 1),
    ("incr", None, 1),
    ("append", b"1", 1),
    ("swap", 7, 1),
    ("put", None, "1"),
    ("put", None, None),
]


@pytest.mark.parametrize(("name", "value", "version"), NONSENSE)
async def test_an_answer_that_does_not_fit_the_question_leaves_the_outcome_unknown(
    node: FakeNode, name: str, value: operations.Argument, version: Any
) -> None:
    node.answer_as = lambda identifier: (identifier, operations.OK, value, version)
    calls: dict[str, Call] = WRITES | {"get": lambda kv: kv.get("k")}
    async with paxoskv.connect(node.address) as kv:
        with pytest.raises(paxoskv.OutcomeUnknown, match="nonsense"):
            await calls[name](kv)


SWITCHES = (
    "hang",
    "cut_when_asked",
    "execute_then_cut",
    "hold",
    "backwards",
    "overloaded",
    "unknown",
    "garbage",
    "well",
)


def _turn(node: FakeNode, switch: str) -> None:
    node.hang = switch == "hang"
    node.cut_when_asked = switch == "cut_when_asked"
    node.execute_then_cut = switch == "execute_then_cut"
    node.backwards = switch == "backwards"
    node.refuse_with = errors.Overloaded.status if switch == "overloaded" else None
    node.answer_as = (lambda identifier: (identifier, 99, None, 0)) if switch == "unknown" else None
    node.instead_of_answers = b"\xff\xff\xff\xff" if switch == "garbage" else None
    if switch == "hold":
        node.hold = True
    elif node.hold:
        node.release()


@given(st.lists(st.tuples(st.sampled_from(SWITCHES), st.sampled_from(SWITCHES)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_nodes_do_a_write_happens_at_most_once_and_its_error_tells_the_truth(
    script: list[tuple[str, str]],
) -> None:
    """Acknowledged: it happened, once. Definite error: it did not. Unknown: at most once."""

    async def scene() -> None:
        store: Store = {}
        told: dict[str, str] = {}

        async def write(kv: paxoskv.Client, key: str) -> None:
            try:
                await kv.incr(key, timeout=0.06)
                told[key] = "done"
            except paxoskv.PaxosKVError as error:
                told[key] = "did not happen" if error.definite else "unknown"

        async with FakeNode(store, 1) as first, FakeNode(store, 2) as second:
            async with paxoskv.connect([first.address, second.address], timeout=ENDLESS) as kv:
                for number, switches in enumerate(script):
                    for node, switch in zip((first, second), switches, strict=True):
                        _turn(node, switch)
                    await asyncio.gather(*[write(kv, f"{number}/{index}") for index in range(4)])
            for node in (first, second):
                await node.until(node.is_idle)
        assert len(told) == 4 * len(script)
        for key, outcome in told.items():
            value = store.get(key.encode(), (None, 0))[0]
            assert value in {"done": (b"1",), "did not happen": (None,), "unknown": (None, b"1")}[outcome]

    asyncio.run(scene())


# Time.


async def test_a_call_has_a_timeout_of_its_own_and_the_node_gives_up_before_the_caller(node: FakeNode) -> None:
    """So that its answer, which knows more than silence does, comes in time."""
    async with paxoskv.connect(node.address, timeout=ENDLESS) as kv:
        await kv.put("k", "v")
        await kv.put("k", "v", timeout=2.0)
        node.hang = True
        with pytest.raises(paxoskv.OutcomeUnknown, match=r"no answer within 0\.05"):
            await kv.put("k", "v", timeout=0.05)
    timeouts_ms = [request[5] for request in node.seen]
    assert 50_000 < timeouts_ms[0] < 60_000
    assert 1_500 < timeouts_ms[1] < 2_000
    assert 1 <= timeouts_ms[2] < 50


async def test_an_answer_that_comes_too_late_is_given_to_nobody_else(node: FakeNode) -> None:
    async with paxoskv.connect(node.address) as kv:
        await kv.put("other", "right")
        node.hold = True
        with pytest.raises(paxoskv.OutcomeUnknown):
            await kv.swap("k", "wrong", timeout=0.05)
        calls = [asyncio.create_task(kv.get("other")) for _ in range(5)]
        await node.until(lambda: len(node.seen) == 7)
        node.release()
        assert {(await call).value for call in calls} == {b"right"}
    assert node.accepted == 1


async def test_a_node_that_went_silent_is_avoided_until_it_speaks(pair: Pair) -> None:
    first, second = pair
    async with both(pair) as kv:
        await ready(kv, 2)
        first.hang = True
        with pytest.raises(paxoskv.OutcomeUnknown):
            await kv.put("k", "v", timeout=0.05)
        for _ in range(10):
            await kv.put("k", "v")
        assert (len(first.seen), len(second.seen)) == (1, 10)
        first.hang = False
        await ready(kv, 2)  # Asking for its status makes it speak.
        await kv.put("k", "v")
        assert (len(first.seen), len(second.seen)) == (2, 10)
    assert first.accepted == 1


async def test_a_node_that_stays_silent_gets_a_new_connection(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one may lead to a machine that lost its power."""
    monkeypatch.setattr(link_module, "_SILENCE_S_MAX", 0.05)
    first, _ = pair
    async with both(pair) as kv:
        first.hang = True
        with pytest.raises(paxoskv.OutcomeUnknown):
            await kv.put("k", "v", timeout=0.02)
        await first.until(lambda: first.accepted == 2)


async def test_a_node_that_does_not_read_holds_up_only_what_can_still_be_given_up(node: FakeNode) -> None:
    """What never left is a definite failure; what did is not."""
    outcomes = []

    async def put(kv: paxoskv.Client) -> None:
        try:
            await kv.put("k", b"v" * 1024 * 1024, timeout=0.5)
        except paxoskv.PaxosKVError as error:
            outcomes.append(error.definite)

    async with paxoskv.connect(node.address) as kv:
        (session,) = node.connections
        session.pause_reading()
        await asyncio.gather(*[put(kv) for _ in range(64)])
        assert set(outcomes) == {True, False}
        session.resume_reading()
        await kv.put("k", "v", timeout=ENDLESS)
    assert len(node.seen) == outcomes.count(False) + 1


# Cancellation and the end.


async def test_a_cancelled_call_leaves_the_connection_as_it_was(node: FakeNode) -> None:
    async with paxoskv.connect(node.address) as kv:
        await kv.put("k", "before")
        node.hold = True
        calls = [asyncio.create_task(kv.append("k", "x")) for _ in range(10)]
        await node.until(lambda: len(node.seen) == 11)
        for call in calls[::2]:
            call.cancel()
        await asyncio.wait(calls[::2])
        assert all(call.cancelled() for call in calls[::2])
        node.release()
        lengths = [(await call).length for call in calls[1::2]]
        assert lengths == [8, 10, 12, 14, 16]
        assert (await kv.get("k")).value == b"before" + b"x" * 10
    assert node.accepted == 1


async def test_a_call_cancelled_before_the_loop_turned_does_not_disturb_the_others(node: FakeNode) -> None:
    async with paxoskv.connect(node.address) as kv:
        calls = [asyncio.create_task(kv.incr("k")) for _ in range(10)]
        calls[0].cancel()
        await asyncio.wait(calls)
        assert calls[0].cancelled()
        assert sorted(call.result().value for call in calls[1:]) == list(range(1, 10))


async def test_a_call_that_is_cancelled_while_it_waits_for_room_passes_its_turn_on(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_IN_FLIGHT_MAX", 1)
    async with paxoskv.connect(node.address) as kv:
        node.hold = True
        waiting: list[asyncio.Task[int]] = []

        async def put_and_cancel_who_is_next() -> None:
            try:
                await kv.put("k", "1")
            finally:
                waiting[0].cancel()

        first = asyncio.create_task(put_and_cancel_who_is_next())
        await node.until(lambda: len(node.seen) == 1)
        waiting += [asyncio.create_task(kv.put("k", "2")) for _ in range(3)]
        await asyncio.sleep(0)
        node.release()
        await asyncio.gather(first, *waiting[1:])
    assert waiting[0].cancelled()
    assert len(node.seen) == 3


async def test_a_call_that_was_given_up_takes_no_room_from_others(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_IN_FLIGHT_MAX", 1)
    async with paxoskv.connect(node.address, timeout=ENDLESS) as kv:
        node.hold = True
        with pytest.raises(paxoskv.OutcomeUnknown):
            await kv.put("k", "v", timeout=0.05)
        cancelled = asyncio.create_task(kv.put("k", "v"))
        await node.until(lambda: len(node.seen) == 2)
        cancelled.cancel()
        third = asyncio.create_task(kv.put("k", "v"))
        await node.until(lambda: len(node.seen) == 3)
        node.release()
        await third


async def test_calls_that_wait_for_room_at_a_node_that_hangs_go_to_another_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was woken for each that had hung; each went elsewhere, and what was behind it slept until its deadline."""
    monkeypatch.setattr(link_module, "_IN_FLIGHT_MAX", 2)
    first, second = pair
    async with paxoskv.connect([first.address, second.address], prefer=0, timeout=3) as kv:
        await ready(kv, 2)
        first.hang = True
        found = await asyncio.gather(*[kv.get("k") for _ in range(20)])
    assert [entry.version for entry in found] == [0] * 20
    assert len(second.seen) == 20


async def test_a_read_behind_a_full_connection_is_asked_elsewhere_and_the_next_one_at_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_IN_FLIGHT_MAX", 1)
    first, second = pair
    async with paxoskv.connect([first.address, second.address], prefer=0, timeout=ENDLESS) as kv:
        await ready(kv, 2)
        first.hang = True
        stuck = asyncio.create_task(kv.put("k", "v"))
        await first.until(lambda: len(first.seen) == 1)
        await kv.get("k", timeout=0.9)
        assert len(second.seen) == 1
        await kv.get("k")  # Without any patience for the first.
        assert len(second.seen) == 2
        stuck.cancel()


async def test_writes_that_wait_for_room_at_a_leader_follow_the_next_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_IN_FLIGHT_MAX", 2)
    first, second = pair
    first.writes_to = second.writes_to = first.address
    async with paxoskv.connect([first.address, second.address], timeout=ENDLESS) as kv:
        await ready(kv, 2)
        first.hold = True
        calls = [asyncio.create_task(kv.put("k", "v")) for _ in range(10)]
        await first.until(lambda: len(first.seen) == 2)
        for node in pair:
            node.say_writes_to(second.address)
        await second.until(lambda: len(second.seen) == 8)
        first.release()
        await asyncio.gather(*calls)


async def test_a_scan_does_not_wait_twice_for_a_node_that_says_nothing(pair: Pair) -> None:
    first, second = pair
    second.page_keys = 1
    async with paxoskv.connect([first.address, second.address], prefer=0, timeout=0.9) as kv:
        await ready(kv, 2)
        for key in ("a", "b", "c"):
            await kv.put(key, "v")
        first.hang = True
        assert [found.key async for found in kv.scan()] == [b"a", b"b", b"c"]
    assert len(first.scans_seen) == 1


@pytest.mark.parametrize("keys_only", [0, 1, None, "yes", object()])
async def test_keys_only_is_checked_here_where_it_harms_no_other_call(node: FakeNode, keys_only: Any) -> None:
    async with paxoskv.connect(node.address) as kv:
        with pytest.raises(paxoskv.BadRequest, match="keys_only is True or False"):
            _ = [found async for found in kv.scan(keys_only=keys_only)]
    assert not node.scans_seen


async def test_a_view_that_was_released_is_no_key(node: FakeNode) -> None:
    view = memoryview(b"k")
    view.release()
    async with paxoskv.connect(node.address) as kv:
        with pytest.raises(paxoskv.BadRequest, match="released"):
            await kv.get(view)


async def test_status_of_a_closed_client_is_refused_as_calls_are(node: FakeNode) -> None:
    kv = await paxoskv.connect(node.address)
    await kv.close()
    with pytest.raises(paxoskv.NotReached, match="the client is closed"):
        await kv.status()


async def test_a_link_outlives_what_nobody_expected(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names cannot be looked up while an interpreter ends; the link never tried again, and said nothing."""

    async def broken(*_: object) -> None:
        raise RuntimeError("can't register atexit after shutdown")

    monkeypatch.setattr(link_module.Connection, "open", broken)
    with pytest.raises(paxoskv.NotReached, match="RuntimeError: can't register atexit after shutdown"):
        await paxoskv.connect(pair[0].address, timeout=0.1)


@pytest.mark.parametrize(("lasts_s", "pauses_s"), [(10.0, (0.0, 0.05)), (0.1, (0.25, 0.5))])
async def test_a_node_whose_connection_had_lasted_is_sought_at_once_and_one_that_comes_and_goes_is_not(
    node: FakeNode,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    lasts_s: float,
    pauses_s: tuple[float, float],
) -> None:
    sleep, slept = asyncio.sleep, []

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    connected = asyncio.Event()
    hooks = link_module.Hooks(admit=lambda *_: True, connected=connected.set, route=lambda: None)
    link = link_module.Link(Address("127.0.0.1", node.port), hooks)
    # Pauses grow while it is not to be had.
    node.instead_of_hello = b"\0\0\0\0"
    link.start()
    await node.until(lambda: node.accepted == 10)
    node.instead_of_hello = None
    await connected.wait()
    connected.clear()
    assert max(slept) > 0.2
    before = len(slept)
    clock.now += lasts_s
    for session in list(node.connections):
        session.cut()
    await connected.wait()
    least, most = pauses_s
    assert len(slept) == before + 1
    assert least <= slept[-1] <= most
    link.stop()
    await link.stopped()


async def test_close_ends_calls_in_flight_with_what_is_known_of_them(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_IN_FLIGHT_MAX", 2)
    kv = await paxoskv.connect(node.address, timeout=ENDLESS)
    node.hang = True
    sent_write = asyncio.create_task(kv.put("k", "v"))
    sent_read = asyncio.create_task(kv.get("k"))
    waiting_write = asyncio.create_task(kv.put("k", "w"))
    await node.until(lambda: len(node.seen) == 2)
    await kv.close()
    with pytest.raises(paxoskv.OutcomeUnknown, match="this client closed the connection"):
        await sent_write
    for call in (sent_read, waiting_write):
        with pytest.raises(paxoskv.NotReached, match="the client is closed"):
            await call
    assert len(node.seen) == 2


async def test_close_ends_calls_that_wait_for_any_node_or_between_attempts(pair: Pair) -> None:
    first, second = pair
    kv = await both(pair)
    first.refuse_with = second.refuse_with = errors.Overloaded.status
    pausing = asyncio.create_task(kv.put("k", "v"))
    await second.until(lambda: len(second.seen) == 5)
    await kv.status()  # Behind the refusal, so that the call pauses.
    await kv.close()
    with pytest.raises(paxoskv.NotReached, match="the client is closed"):
        await pausing
    kv = await both(pair)
    for node in pair:
        await node.stop()
    calls = [asyncio.create_task(kv.get("k")) for _ in range(3)]
    await asyncio.wait(calls, timeout=0.05)
    await kv.close()
    for call in calls:
        with pytest.raises(paxoskv.NotReached, match="the client is closed"):
            await call


async def test_close_can_be_called_again_and_by_several(node: FakeNode) -> None:
    kv = await paxoskv.connect(node.address)
    await asyncio.gather(kv.close(), kv.close())
    await kv.close()
    with pytest.raises(paxoskv.NotReached, match="the client is closed"):
        await kv.get("k")
    with pytest.raises(paxoskv.NotReached):
        await kv
    await node.until(lambda: not node.connections)


async def test_close_can_be_cancelled(node: FakeNode) -> None:
    """It must not swallow the cancellation of the task that closes."""
    kv = await paxoskv.connect(node.address)
    closing = asyncio.create_task(kv.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    # Nothing is left of it, though nobody closes it again.
    await node.until(lambda: not node.connections)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await kv.close()


async def test_connecting_that_is_cancelled_leaves_nothing_behind(node: FakeNode) -> None:
    node.silent_at_hello = True
    connecting = asyncio.ensure_future(paxoskv.connect(node.address, timeout=ENDLESS)._open())
    await node.until(lambda: node.accepted == 1)
    connecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await connecting
    await node.until(lambda: not node.connections)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Status.


async def test_status_has_one_entry_for_each_endpoint_in_their_order(pair: Pair) -> None:
    first, second = pair
    async with both(pair) as kv:
        await ready(kv, 2)
        second.hang = True
        statuses = await kv.status(timeout=1.0)
    assert statuses[0] == {"node": 1, "mode": "fake", "address": first.address, "up": True}
    assert statuses[1] == {"address": second.address, "up": False, "error": f"{second.address}: no answer within 1 s"}


async def test_status_needs_nobody_to_be_up(pair: Pair) -> None:
    for node in pair:
        await node.stop()
    kv = both(pair)
    statuses = await kv.status(timeout=5)
    await kv.close()
    assert [status["up"] for status in statuses] == [False, False]
    assert statuses[0]["error"] == f"{pair[0].address}: Connection refused"


async def test_a_status_that_is_no_status_does_not_hide_the_others(pair: Pair) -> None:
    pair[0].status_json = "{"
    async with both(pair) as kv:
        while True:
            statuses = await kv.status()
            if statuses[1]["up"]:
                break
    assert statuses[0]["error"] == f"{pair[0].address}: malformed STATUS"
