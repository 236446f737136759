"""What replicas missed, which they get again within bounds (protocol.md section 9), and the Accepts that it goes by."""

import random
from dataclasses import dataclass, field

import pytest
from harness.cluster import Cluster

from paxoskv.core import operations
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation
from paxoskv.core.placement import EveryNode
from paxoskv.paxos.context import Context, Timing
from paxoskv.paxos.directed import Directed
from paxoskv.paxos.messages import Accepted, Proposals, Refusal

TIMING = Timing()


def put(key: bytes, value: bytes = b"v") -> Operation:
    return Operation(operations.PUT, key, value)


def missed(count: int, value: bytes = b"v", capacity: Capacity | None = None) -> Cluster:
    """A cluster whose node 3 was down while so many keys were written through node 1."""
    cluster = Cluster(capacity=capacity)
    cluster.crash(3)
    puts = [put(b"%03d" % number, value) for number in range(count)]
    cluster.submit(1, *puts)
    cluster.settle()
    assert all(cluster.result(each) is not None for each in puts)
    return cluster


def repairs(cluster: Cluster) -> list[int]:
    """How many keys each of node 1's frames in flight repairs at node 3."""
    return [len(packet.message.accept_keys) for packet in cluster.of(1, 3, Proposals)]  # type: ignore[union-attr]


def test_so_many_keys_are_remembered_of_a_replica_and_reads_find_the_others() -> None:
    cluster = missed(10, capacity=Capacity(repairs=4))
    status = cluster.engine(1).repair.status()
    assert (status["behind"], status["repairs_dropped"]) == ({"3": 4}, 6)
    cluster.restart(3)
    cluster.settle()
    assert cluster.engine(1).repair.status()["repaired"] == 4
    assert len(cluster.engine(3).records.resident) == 4
    for number in range(10):
        assert cluster.run(3, Operation(operations.GET, b"%03d" % number)).value == b"v"


def test_a_key_that_a_replica_missed_again_is_not_forgotten() -> None:
    """Nor counted as if it were, once there is room for no other."""
    cluster = missed(4, capacity=Capacity(repairs=4))
    cluster.run(1, put(b"003", b"again"))
    status = cluster.engine(1).repair.status()
    assert (status["behind"], status["repairs_dropped"]) == ({"3": 4}, 0)


def test_a_slice_has_so_many_keys_and_the_next_waits_for_its_answer() -> None:
    cluster = missed(300)
    cluster.restart(3)
    cluster.tick(TIMING.tick_s)
    assert repairs(cluster) == [128]
    cluster.tick(TIMING.tick_s)
    assert repairs(cluster) == [128]
    cluster.exchange(1, 3)
    cluster.tick(TIMING.tick_s)
    assert repairs(cluster) == [128]
    # An answer that never comes is not waited for longer than that.
    cluster.packets.clear()
    cluster.tick(TIMING.repair_delay_s)
    assert repairs(cluster) == [300 - 2 * 128]


def test_a_slice_has_so_many_bytes() -> None:
    cluster = missed(7, bytes(100_000))
    cluster.restart(3)
    cluster.tick(TIMING.tick_s)
    assert repairs(cluster) == [3]
    cluster.exchange(1, 3)
    cluster.tick(TIMING.tick_s)
    assert repairs(cluster) == [3]


def test_a_replica_that_was_lost_meanwhile_gets_its_next_slice_as_soon_as_it_is_back() -> None:
    """Nothing comes back any more of what it was sent."""
    cluster = missed(200)
    cluster.restart(3)
    cluster.tick(TIMING.tick_s)
    cluster.cut(1, 3)
    cluster.connect(1, 3)
    cluster.tick(TIMING.tick_s)
    assert repairs(cluster) == [200 - 128]


@dataclass
class Waiter:
    heard: list[tuple[str, int, bytes]] = field(default_factory=list)

    def on_accepted(self, node: int, key: bytes) -> None:
        self.heard.append(("accepted", node, key))

    def on_refused(self, node: int, key: bytes) -> None:
        self.heard.append(("refused", node, key))


@pytest.fixture
def directed() -> Directed:
    context = Context(1, 1, EveryNode((1, 2, 3)), random.Random(0), TIMING, 1000, Capacity())
    return Directed(context, lambda message: None)


def sent(directed: Directed, node: int, *keys: bytes, waiter: Waiter, register: bytes = b"") -> list[Proposals]:
    for key in keys:
        directed.accept(node, key, 1, register, waiter)
    directed.flush()
    return directed._context.take_sends()[node]  # type: ignore[return-value]


def test_who_waits_hears_of_each_key_once_and_from_the_replica_that_was_asked(directed: Directed) -> None:
    waiter = Waiter()
    [message] = sent(directed, 2, b"a", b"b", waiter=waiter)
    answer = Accepted(message.number, (Refusal(b"b", 9, False),))
    directed.on_accepted(3, answer)
    assert waiter.heard == []
    directed.on_accepted(2, answer)
    directed.on_accepted(2, answer)
    assert waiter.heard == [("accepted", 2, b"a"), ("refused", 2, b"b")]
    assert not directed.waiting


def test_what_is_never_answered_is_forgotten_and_nothing_sooner(directed: Directed) -> None:
    """A peer may be up and answer nothing, for as long as it likes."""
    waiter = Waiter()
    [first] = sent(directed, 2, b"first", waiter=waiter)
    directed._context.advance(1.5)
    directed.tick()
    [second] = sent(directed, 2, b"second", waiter=waiter)
    directed._context.advance(2.5)
    directed.tick()
    for message in (first, second):
        directed.on_accepted(2, Accepted(message.number, ()))
    assert waiter.heard == [("accepted", 2, b"second")]
    sent(directed, 2, b"third", waiter=waiter)
    directed._context.advance(5.0)
    directed.tick()
    assert not directed.waiting


def test_of_a_peer_that_was_lost_nothing_is_waited_for(directed: Directed) -> None:
    waiter = Waiter()
    [lost], [other] = sent(directed, 2, b"a", waiter=waiter), sent(directed, 3, b"a", waiter=waiter)
    directed.peer_lost(2)
    directed.on_accepted(2, Accepted(lost.number, ()))
    directed.on_accepted(3, Accepted(other.number, ()))
    assert waiter.heard == [("accepted", 3, b"a")]


def test_accepts_for_one_replica_are_cut_so_that_each_batch_fits_a_frame(directed: Directed) -> None:
    keys = [b"%d" % number for number in range(5)]
    messages = sent(directed, 2, *keys, waiter=Waiter(), register=bytes(300_000))
    assert [list(message.accept_keys) for message in messages] == [keys[:2], keys[2:4], keys[4:]]
