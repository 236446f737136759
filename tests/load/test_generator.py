"""The load generator: every operation is counted once, for what it was, from the moment that it was due."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from client.fake_node import FakeNode, ThreadedNodes

import paxoskv
from paxoskv.client.connection import LOST, UNSENT
from paxoskv.core import errors, operations
from paxoskv.core.address import Address
from paxoskv.load import generator as generator_module
from paxoskv.load.calls import error_class
from paxoskv.load.generator import Generator
from paxoskv.load.plan import Outcome, Plan
from paxoskv.load.processes import run
from paxoskv.load.timeline import Timeline

ENDLESS = 600.0


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plan_for(nodes: list[FakeNode], **rest: Any) -> Plan:
    defaults: dict[str, Any] = {"clients": 8, "duration_s": ENDLESS, "keys": 20, "load": False}
    return Plan([node.address for node in nodes], **(defaults | rest))


@asynccontextmanager
async def running(plan: Plan, clock: Callable[[], float] | None = None) -> AsyncIterator[Generator]:
    """A load that is stopped, and has heard every answer, when the block is left."""
    generator = Generator(plan) if clock is None else Generator(plan, clock)
    task = asyncio.create_task(generator.run())
    try:
        yield generator
    finally:
        generator.stop()
        await task


def seen(nodes: list[FakeNode]) -> int:
    return sum(len(node.seen) for node in nodes)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 (it has no events for tests)
            await asyncio.sleep(0)


def executed(nodes: list[FakeNode]) -> int:
    """The sum of all counters."""
    return sum(int(value) for value, _, _ in nodes[0].store.values() if value is not None)


async def test_every_operation_is_counted_once(nodes: list[FakeNode]) -> None:
    async with running(plan_for(nodes, op="incr")) as generator:
        await until(lambda: seen(nodes) > 2000)
    outcome = generator.outcome
    # Those of the last round were answered after the end, and only the counters have them.
    assert seen(nodes) - 8 <= outcome.histogram.total <= seen(nodes)
    assert outcome.acknowledged_increments == seen(nodes) == executed(nodes)
    assert sum(outcome.coordinators.values()) == outcome.histogram.total
    assert outcome.coordinators.keys() == {node.address for node in nodes}
    assert outcome.errors == {}
    assert outcome.unknown == outcome.unknown_increments == 0


async def test_what_the_warm_up_did_is_not_measured(nodes: list[FakeNode]) -> None:
    clock = Clock()
    async with running(plan_for(nodes, warmup_s=0.1, op="incr"), clock) as generator:
        await until(lambda: bool(nodes[0].seen))
        while not generator.outcome.histogram.total:
            warm = seen(nodes)
            await asyncio.sleep(0)
    assert warm > 0
    assert generator.outcome.histogram.total <= seen(nodes) - warm + 8
    assert generator.outcome.acknowledged_increments == executed(nodes), "a counter counts them all the same"


async def test_reads_are_no_increments(nodes: list[FakeNode]) -> None:
    async with running(plan_for(nodes, op="incr", read_ratio=0.5, distribution="one-key")) as generator:
        await until(lambda: seen(nodes) > 500)
    kinds = Counter(request[1] for node in nodes for request in node.seen)
    assert generator.outcome.acknowledged_increments == kinds[operations.INCR] == executed(nodes)
    assert kinds[operations.GET] > 100


@pytest.mark.parametrize("cls", [cls for cls in errors.all_errors() if cls.status])
async def test_refusals_are_counted_by_class(nodes: list[FakeNode], cls: type[paxoskv.PaxosKVError]) -> None:
    for node in nodes:
        node.refuse_with = cls.status
    async with running(plan_for(nodes, op="incr")) as generator:
        await until(lambda: seen(nodes) > 40)
    outcome = generator.outcome
    assert outcome.errors.keys() == {cls.code}
    assert seen(nodes) - 8 <= outcome.errors[cls.code] <= seen(nodes)
    assert outcome.unknown == (0 if cls.definite else outcome.errors[cls.code])
    assert outcome.unknown_increments == (0 if cls.definite else seen(nodes))
    assert outcome.histogram.total == 0


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (operations.PUT, UNSENT, paxoskv.NotReached),
        (operations.GET, UNSENT, paxoskv.NotReached),
        (operations.PUT, LOST, paxoskv.OutcomeUnknown),
        (operations.GET, LOST, paxoskv.Unavailable),
        (operations.INCR, operations.NOT_AN_INTEGER, paxoskv.NotAnInteger),
        (operations.PUT, errors.OutcomeUnknown.status, paxoskv.OutcomeUnknown),
        (operations.GET, errors.OutcomeUnknown.status, paxoskv.Unavailable),
        (operations.PUT, 99, paxoskv.OutcomeUnknown),
    ],
)
def test_a_failure_has_a_class_by_what_is_known_of_it(
    kind: int, status: int, expected: type[paxoskv.PaxosKVError]
) -> None:
    assert error_class(kind, status) is expected


@pytest.mark.parametrize("read_ratio", [0.0, 1.0])
async def test_what_a_broken_connection_swallowed_is_unknown_if_it_was_a_write(
    nodes: list[FakeNode], read_ratio: float
) -> None:
    async with running(plan_for(nodes, op="incr", read_ratio=read_ratio)) as generator:
        await until(lambda: seen(nodes) > 100)
        nodes[0].execute_then_cut = True
        before = nodes[0].accepted
        await until(lambda: nodes[0].accepted > before + 2)
        nodes[0].execute_then_cut = False
    outcome = generator.outcome
    assert outcome.errors.keys() == {"unavailable" if read_ratio else "outcome-unknown"}
    assert bool(outcome.unknown) is (not read_ratio)
    if not read_ratio:
        least = outcome.acknowledged_increments
        assert least < executed(nodes) <= least + outcome.unknown_increments


@pytest.mark.parametrize("read_ratio", [0.0, 1.0])
async def test_what_nobody_answers_in_time_is_given_up_and_the_load_goes_on(
    nodes: list[FakeNode], read_ratio: float
) -> None:
    async with running(plan_for(nodes, op="incr", timeout_s=0.3, read_ratio=read_ratio)) as generator:
        await until(lambda: seen(nodes) > 100)
        nodes[0].hang = True
        hanging = len(nodes[0].seen)
        await until(lambda: bool(generator.outcome.errors))
        before = len(nodes[1].seen)
        await until(lambda: len(nodes[1].seen) > before + 1000)
        assert len(nodes[0].seen) <= hanging + 8, "a node that hangs is not asked on and on"
        nodes[0].hang = False
    (errors_by_class,) = generator.outcome.errors.items()
    assert errors_by_class[0] == ("unavailable" if read_ratio else "outcome-unknown")
    assert errors_by_class[1] >= len(nodes[0].seen) - hanging > 0
    assert generator.outcome.unknown == (0 if read_ratio else errors_by_class[1])


async def test_an_answer_that_comes_after_its_operation_was_given_up_is_not_counted(nodes: list[FakeNode]) -> None:
    async with running(plan_for(nodes[:1], op="incr", timeout_s=0.05)) as generator:
        await until(lambda: seen(nodes) > 10)
        nodes[0].hold = True
        # All eight clients have given one up: some had an answer on its way when the node began to hold them back.
        await until(lambda: generator.outcome.errors.total() >= 8)
        nodes[0].release()
        answered = seen(nodes)
        await until(lambda: seen(nodes) > answered + 100)
    outcome = generator.outcome
    assert outcome.unknown_increments >= 8
    assert outcome.acknowledged_increments + outcome.unknown_increments == executed(nodes)


async def test_with_no_node_left_every_attempt_is_counted_as_not_reached(nodes: list[FakeNode]) -> None:
    async with running(plan_for(nodes)) as generator:
        await until(lambda: seen(nodes) > 100)
        for node in nodes:
            await node.stop()
        await until(lambda: generator.outcome.errors["not-reached"] > 0)
        total = generator.outcome.histogram.total
        for node in nodes:
            await node.start()
        await until(lambda: generator.outcome.histogram.total > total)


async def test_keys_go_to_the_node_that_the_client_library_would_choose(nodes: list[FakeNode]) -> None:
    async with running(plan_for(list(reversed(nodes)), distribution="sequential")):
        await until(lambda: seen(nodes) > 100)
    of_load = [{request[2] for request in node.seen} for node in nodes]
    for node in nodes:
        node.seen.clear()
    async with paxoskv.connect([node.address for node in nodes]) as kv:
        while not all(status["up"] for status in await kv.status()):
            pass
        await asyncio.gather(*[kv.get(f"bench/{number}") for number in range(20)])
    assert [{request[2] for request in node.seen} for node in nodes] == of_load


async def test_with_route_any_every_client_stays_with_its_node_whatever_the_key(nodes: list[FakeNode]) -> None:
    async with running(plan_for(nodes, route="any", distribution="one-key")):
        await until(lambda: len(nodes[0].seen) > 100)
        await until(lambda: len(nodes[1].seen) > 100)
    assert {request[2] for node in nodes for request in node.seen} == {b"bench/0"}


async def test_with_route_any_a_client_that_is_refused_goes_on_to_the_next_node(nodes: list[FakeNode]) -> None:
    first, second = sorted(nodes, key=lambda node: Address.parse(node.address))
    first.refuse_with = errors.Overloaded.status
    async with running(plan_for(nodes, clients=1, route="any")) as generator:
        await until(lambda: generator.outcome.histogram.total > 100)
    assert list(generator.outcome.coordinators) == [second.address]
    assert generator.outcome.errors == {"overloaded": 1}


@pytest.mark.parametrize(("part", "parts"), [(0, 1), (1, 3)])
async def test_sequential_visits_every_key_of_its_part_once_before_any_twice(
    nodes: list[FakeNode], part: int, parts: int
) -> None:
    plan = plan_for(nodes[:1], distribution="sequential", clients=1, keys=30, part=part, parts=parts)
    async with running(plan):
        await until(lambda: len(nodes[0].seen) > 60)
    keys = [request[2] for request in nodes[0].seen]
    mine = [b"bench/%d" % number for number in range(part, 30, parts)]
    assert keys[: 2 * len(mine)] == mine * 2


async def test_zipf_prefers_few_keys_and_uniform_none(nodes: list[FakeNode]) -> None:
    share = {}
    for distribution in ("zipf", "uniform"):
        nodes[0].seen.clear()
        async with running(plan_for(nodes[:1], distribution=distribution, keys=1000, clients=64)):
            await until(lambda: len(nodes[0].seen) > 5000)
        keys = Counter(request[2] for request in nodes[0].seen)
        share[distribution] = keys.most_common(1)[0][1] / keys.total()
    # 1 / sum of 1 / rank^0.99 over 1000 ranks is 0.13.
    assert share["zipf"] > 0.1
    assert share["uniform"] < 0.01


async def test_the_same_seed_draws_the_same_operations(nodes: list[FakeNode]) -> None:
    drawn = []
    for _ in range(2):
        nodes[0].seen.clear()
        async with running(plan_for(nodes[:1], clients=1, read_ratio=0.5, seed=7)):
            await until(lambda: len(nodes[0].seen) > 200)
        drawn.append([request[1:4] for request in nodes[0].seen[:200]])
    assert drawn[0] == drawn[1]


# Time.


async def test_an_open_loop_counts_latency_from_the_moment_that_an_operation_was_due(nodes: list[FakeNode]) -> None:
    """A second's stall, with 1000 operations due in it: they waited from 1 s down to nothing, on average half a second.

    Counted from when they were sent, all of them would have taken no time: coordinated omission.
    """
    clock = Clock()
    nodes[0].hold = True
    async with running(plan_for(nodes[:1], rate=1000.0), clock) as generator:
        await until(lambda: generator.started_at > 0)
        clock.now += 1.0
        await until(lambda: len(nodes[0].seen) == 1000)
        nodes[0].release()
        await until(lambda: generator.outcome.histogram.total == 1000)
    result = generator.outcome.to_json()
    assert result["max_ms"] == pytest.approx(999)
    assert result["p50_ms"] == pytest.approx(500, rel=1 / 60)
    assert result["p90_ms"] == pytest.approx(900, rel=1 / 60)
    assert result["ops_per_s"] == 1000
    assert result["longest_gap_ms"] == 1000


@pytest.mark.parametrize("rate", [1.0, 16.0, 1024.0])  # Whose intervals add up without a rest.
async def test_an_open_loop_that_is_on_time_adds_nothing(nodes: list[FakeNode], rate: float) -> None:
    """Each operation was sent when the next one was due: at 16 a second it took 62 ms longer than it did."""
    clock = Clock()
    async with running(plan_for(nodes[:1], rate=rate), clock) as generator:
        await until(lambda: generator.started_at > 0)
        for _ in range(3):
            answered = generator.outcome.histogram.total
            clock.now += 1 / rate
            await until(lambda: generator.outcome.histogram.total > answered)  # noqa: B023
    assert generator.outcome.histogram.total == 3
    assert generator.outcome.histogram.max_us < 10


async def test_a_closed_loop_counts_latency_from_when_it_was_sent(nodes: list[FakeNode]) -> None:
    clock = Clock()
    nodes[0].hold = True
    async with running(plan_for(nodes[:1], clients=3), clock) as generator:
        await until(lambda: len(nodes[0].seen) == 3)
        clock.now += 0.25
        nodes[0].release()
        await until(lambda: generator.outcome.histogram.total > 3)
    assert generator.outcome.histogram.max_us == 250_000
    assert sum(generator.outcome.histogram.counts[1:]) == 3, "all others took no time"


async def test_a_client_that_still_waits_at_the_end_has_had_its_gap(nodes: list[FakeNode]) -> None:
    clock = Clock()
    nodes[0].hold = True
    async with running(plan_for(nodes[:1]), clock) as generator:
        await until(lambda: len(nodes[0].seen) == 8)
        clock.now += 3.0
        generator.stop()
        await until(lambda: generator.stopping)
        nodes[0].release()
    assert generator.outcome.histogram.total == 0
    assert generator.outcome.to_json()["longest_gap_ms"] == 3000


@pytest.mark.parametrize("rate", [100, 10**12])
async def test_an_open_loop_without_bound_says_what_it_could_not_send(
    nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    """Each of them was counted by itself, and a rate that nobody can send kept the loop from ever ending."""
    monkeypatch.setattr(generator_module, "_OPEN_LOOP_IN_FLIGHT_MAX", 10)
    clock = Clock()
    nodes[0].hold = True
    async with running(plan_for(nodes[:1], rate=float(rate)), clock) as generator:
        await until(lambda: generator.started_at > 0)
        clock.now += 1.0
        await until(lambda: len(nodes[0].seen) == 10)
        nodes[0].release()
        await until(lambda: generator.outcome.histogram.total == 10)
    assert generator.outcome.errors == {"not-sent": rate - 10}


async def test_an_open_loop_without_a_node_ends_too(nodes: list[FakeNode]) -> None:
    """Each operation was tried by itself, and at such a rate the loop did nothing else any more."""
    clock = Clock()
    async with running(plan_for(nodes[:1], rate=1e12), clock) as generator:
        await until(lambda: generator.started_at > 0)
        await nodes[0].stop()
        await until(lambda: generator._connections == [None])
        clock.now += 1.0
        await until(lambda: bool(generator.outcome.errors))
    assert generator.outcome.errors == {"not-reached": 10**12}


# Before it begins.


async def test_loading_writes_every_key_once_before_anything_is_measured(nodes: list[FakeNode]) -> None:
    async with running(plan_for(nodes, load=True, keys=2000, read_ratio=1.0)) as generator:
        await until(lambda: seen(nodes) > 2100)
    writes = [request for node in nodes for request in node.seen if request[1] == operations.PUT]
    assert len(writes) == len({request[2] for request in writes}) == 2000
    for node in nodes:
        kinds = [request[1] for request in node.seen]
        assert kinds == sorted(kinds, reverse=True), "first puts, then gets"
    assert generator.outcome.histogram.total <= seen(nodes) - 2000


async def test_loading_makes_counters_zero(nodes: list[FakeNode]) -> None:
    await Generator(plan_for(nodes, op="incr")).load()
    assert {value for key, (value, _, _) in nodes[0].store.items() if key} == {b"0"}
    await _idle(nodes)


async def _idle(nodes: list[FakeNode]) -> None:
    for node in nodes:
        await node.until(node.is_idle)


async def test_loading_that_fails_says_why(nodes: list[FakeNode]) -> None:
    for node in nodes:
        node.refuse_with = errors.Overloaded.status
    with pytest.raises(paxoskv.Overloaded, match=r"could not be written before the measurement: because the test"):
        await Generator(plan_for(nodes, load=True)).run()


async def test_loading_that_nobody_answers_ends(nodes: list[FakeNode]) -> None:
    for node in nodes:
        node.hang = True
    with pytest.raises(paxoskv.OutcomeUnknown, match="no answer in time"):
        await Generator(plan_for(nodes, load=True, timeout_s=0.05)).run()


async def test_what_the_cluster_does_not_take_is_refused_before_it_is_sent(nodes: list[FakeNode]) -> None:
    with pytest.raises(paxoskv.BadRequest, match="values of 1048577 bytes; this cluster takes 1048576 at most"):
        await Generator(plan_for(nodes, value_size=1024 * 1024 + 1)).run()
    with pytest.raises(paxoskv.BadRequest, match="keys of 1026 bytes; this cluster takes 1024 at most"):
        await Generator(plan_for(nodes, prefix="k" * 1024)).run()
    assert seen(nodes) == 0
    await _idle(nodes)


async def test_no_node_at_all_is_not_reached() -> None:
    with pytest.raises(paxoskv.NotReached, match="Connection refused"):
        await Generator(Plan(["127.0.0.1:1"])).run()


# Several processes.


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_share_the_clients_and_their_outcomes_add_up(threaded: ThreadedNodes, processes: int) -> None:
    plan = Plan(threaded.endpoints.split(","), clients=5, duration_s=0.7, keys=20, op="incr")
    shown: list[int] = []
    outcome = run(plan, processes, shown.append)
    assert outcome.acknowledged_increments == executed(threaded.nodes) > 100
    assert 0 < outcome.histogram.total <= outcome.acknowledged_increments
    assert shown == sorted(shown)
    assert shown[-1] > 0
    assert outcome.histogram.total >= shown[-1]


def test_what_ends_one_process_ends_all_and_is_told() -> None:
    plan = Plan(["127.0.0.1:1"], clients=5, load=False)
    with pytest.raises(paxoskv.NotReached, match="Connection refused"):
        run(plan, 2, lambda operations: None)


def test_outcomes_of_processes_add_up() -> None:
    first, second = Outcome(seconds=1.0, longest_gap_s=0.5), Outcome(seconds=2.0, longest_gap_s=0.25)
    first.histogram.record(0.001)
    second.histogram.record(0.004)
    first.errors["overloaded"] = 1
    second.errors["overloaded"] = 2
    first.coordinators["a:1"] = 1
    second.coordinators["b:1"] = 1
    second.unknown = second.unknown_increments = 3
    first.acknowledged_increments, second.acknowledged_increments = 10, 20
    first.scans, first.scanned_keys, second.scans, second.scanned_keys = 1, 10, 3, 50
    first.merge(second)
    result = first.to_json()
    assert result["operations"] == 2
    assert result["ops_per_s"] == 1.0
    assert result["max_ms"] == 4.0
    assert result["errors"] == {"overloaded": 3}
    assert result["coordinators"] == {"a:1": 1, "b:1": 1}
    assert (first.unknown, first.unknown_increments, first.acknowledged_increments) == (3, 3, 30)
    assert result["longest_gap_ms"] == 500
    assert result["keys_per_scan"] == 15


async def test_a_read_modify_write_is_one_operation_and_loses_no_update(nodes: list[FakeNode]) -> None:
    """Of 8 clients on one key, all but one find that somebody wrote meanwhile, and begin again."""
    async with running(plan_for(nodes, op="rmw", distribution="one-key")) as generator:
        await until(lambda: generator.outcome.histogram.total > 200)
    kinds = Counter(request[1] for node in nodes for request in node.seen)
    outcome = generator.outcome
    _, version, _ = nodes[0].store[b"bench/0"]
    assert outcome.histogram.total <= version <= outcome.histogram.total + 8
    assert kinds[operations.GET] >= kinds[operations.PUT] > version, "some writes found another version"
    assert all(request[4] is not None for node in nodes for request in node.seen if request[1] == operations.PUT)
    assert outcome.errors == {}


@pytest.mark.parametrize("rate", [0.0, 500.0])
async def test_a_read_modify_write_that_breaks_off_is_counted_once(nodes: list[FakeNode], rate: float) -> None:
    async with running(plan_for(nodes, op="rmw", rate=rate)) as generator:
        await until(lambda: generator.outcome.histogram.total > 100)
        for node in nodes:
            node.refuse_with = paxoskv.Unavailable.status
        await until(lambda: generator.outcome.errors[paxoskv.Unavailable.code] > 20)
    assert generator._in_flight == 0
    assert generator.outcome.unknown == 0


async def test_latest_inserts_keys_that_are_new_and_reads_what_is_there(nodes: list[FakeNode]) -> None:
    plan = plan_for(nodes, distribution="latest", read_ratio=0.5, load=True)
    async with running(plan):
        await until(lambda: seen(nodes) > 2000)
    requests = [request for node in nodes for request in node.seen]
    written = [request[2] for request in requests if request[1] == operations.PUT]
    assert len(written) == len(set(written)) > 500
    newest = max(int(key.rpartition(b"/")[2]) for key in written)
    read = [int(request[2].rpartition(b"/")[2]) for request in requests if request[1] == operations.GET]
    assert max(read) > plan.keys, "new keys are read"
    assert newest == len(written) - 1


# Scans


def scannable(nodes: list[FakeNode], page_keys: int = 1000) -> None:
    for node in nodes:
        node.page_keys = page_keys


async def test_scans_are_of_drawn_lengths_from_drawn_keys_and_the_rest_inserts(nodes: list[FakeNode]) -> None:
    scannable(nodes)
    plan = plan_for(nodes, op="scan", read_ratio=0.9, keys=500, scan_length=10, load=True)
    async with running(plan) as generator:
        await until(lambda: generator.outcome.histogram.total > 2000)
    scans = [scan for node in nodes for scan in node.scans_seen]
    assert {end for _, _, end, *_ in scans} == {b"bench0"}
    lengths = Counter(limit for *_, limit in scans)
    assert lengths.keys() == set(range(1, 11))
    assert min(lengths.values()) > len(scans) / 20
    starts = {start for _, start, *_ in scans}
    assert starts <= {b"bench/%d" % number for number in range(500)}
    assert len(starts) > 300
    assert not any(keys_only for *_, keys_only, _, _ in scans)
    requests = [request for node in nodes for request in node.seen]
    written = [request[2] for request in requests]
    assert {request[1] for request in requests} == {operations.PUT}
    assert len(written) == len(set(written)), "every write is of a new key"
    assert set(written) == {b"bench/%d" % number for number in range(len(written))}
    assert 0.85 < len(scans) / (len(scans) + len(written) - 500) < 0.95
    outcome = generator.outcome
    assert outcome.errors == {}
    assert outcome.scans + len(written) - 500 == pytest.approx(outcome.histogram.total, abs=16)
    assert 5 < outcome.to_json()["keys_per_scan"] < 6
    assert generator._in_flight == 0


async def test_a_scan_of_several_pages_is_one_operation(nodes: list[FakeNode]) -> None:
    """Of three keys each, some of them deleted."""
    scannable(nodes, page_keys=3)
    async with running(plan_for(nodes, op="scan", read_ratio=1.0, scan_length=8, load=True)) as generator:
        await until(lambda: generator.outcome.scans > 20)
        for number in range(20):
            nodes[0].store[b"bench/%d" % (2 * number)] = (None, 0, 0)
        before = generator.outcome.scans
        await until(lambda: generator.outcome.scans > before + 500)
    scans = [scan for node in nodes for scan in node.scans_seen]
    begun = [scan for scan in scans if scan[3] is None]
    assert generator.outcome.scans == pytest.approx(len(begun), abs=16)
    assert generator.outcome.histogram.total == generator.outcome.scans
    assert len(scans) > 1.5 * len(begun)
    assert generator.outcome.scanned_keys <= 8 * generator.outcome.scans
    assert generator._in_flight == 0


@pytest.mark.parametrize("rate", [0.0, 500.0])
async def test_a_scan_that_breaks_off_is_counted_once_and_has_changed_nothing(
    nodes: list[FakeNode], rate: float
) -> None:
    scannable(nodes, page_keys=3)
    async with running(plan_for(nodes, op="scan", read_ratio=1.0, load=True, rate=rate)) as generator:
        await until(lambda: generator.outcome.scans > 100)
        for node in nodes:
            node.refuse_with = paxoskv.Overloaded.status
        await until(lambda: generator.outcome.errors[paxoskv.Overloaded.code] > 20)
        for node in nodes:
            node.refuse_with = None
        nodes[0].cut_when_asked = True
        await until(lambda: generator.outcome.errors[paxoskv.Unavailable.code] > 2)
        nodes[0].cut_when_asked = False
    assert generator._in_flight == 0
    assert generator.outcome.unknown == 0
    assert generator.outcome.histogram.total == generator.outcome.scans


async def test_a_scan_that_nobody_answers_is_given_up(nodes: list[FakeNode]) -> None:
    plan = plan_for(nodes[:1], op="scan", read_ratio=1.0, timeout_s=0.05)
    async with running(plan) as generator:
        await until(lambda: generator.outcome.errors[paxoskv.Unavailable.code] >= 8)
        scannable(nodes)
        await until(lambda: generator.outcome.scans > 100)
    assert generator._in_flight == 0


async def test_a_timeline_has_every_success_and_every_error(nodes: list[FakeNode]) -> None:
    async with running(plan_for(nodes, timeline=True)) as generator:
        await until(lambda: generator.outcome.histogram.total > 200)
        for node in nodes:
            node.refuse_with = paxoskv.Overloaded.status
        await until(lambda: generator.outcome.errors.total() > 40)
    outcome = generator.outcome
    assert outcome.timeline is not None
    assert sum(outcome.timeline.ok) == outcome.histogram.total
    assert sum(outcome.timeline.errors) == outcome.errors.total()
    assert len(outcome.gaps_s) == 8
    assert max(outcome.gaps_s) == outcome.longest_gap_s
    shown = outcome.to_json()
    assert shown["began_unix"] > 0
    assert shown["timeline"]["bin_ms"] == 10


def test_timelines_of_several_processes_add_up() -> None:
    first, second = Outcome(timeline=Timeline(), gaps_s=[1.0]), Outcome(timeline=Timeline(), gaps_s=[2.0])
    assert first.timeline is not None
    assert second.timeline is not None
    first.timeline.note(0.001, True)
    second.timeline.note(0.025, True)
    second.timeline.note(0.001, False)
    first.merge(second)
    assert (first.timeline.ok, first.timeline.errors, first.gaps_s) == ([1, 0, 1], [1, 0, 0], [1.0, 2.0])
