"""Keys that their homes begin without asking."""

import random

import pytest
from harness.cluster import Cluster

from paxoskv.core import operations
from paxoskv.core.errors import Unavailable
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation
from paxoskv.core.placement import EveryNode
from paxoskv.paxos.chain import Chain
from paxoskv.paxos.context import Context, Timing
from paxoskv.paxos.initial import InitialBallots
from paxoskv.paxos.records import Record

PLACEMENT = EveryNode((1, 2, 3))
TIMING = Timing()


def put(key: bytes, value: bytes) -> Operation:
    return Operation(operations.PUT, key, value, deadline=float("inf"))


def get(key: bytes) -> Operation:
    return Operation(operations.GET, key, deadline=float("inf"))


def names(node: int) -> list[bytes]:
    """Keys that have their home there."""
    return [key for key in (b"k%d" % number for number in range(100)) if PLACEMENT.home(key) == node]


@pytest.fixture
def initial() -> InitialBallots:
    context = Context(1, 1, PLACEMENT, random.Random(0), TIMING, 1000, Capacity())
    context.up |= {2, 3}
    context.now = 10.0
    return InitialBallots(context)


def fresh(key: bytes) -> Chain:
    return Chain(key, PLACEMENT.replicas(key), Record(key))


def test_every_node_is_home_to_some_keys_and_says_the_same() -> None:
    others = EveryNode((3, 1, 2))
    assert all(len(names(node)) > 20 for node in (1, 2, 3))
    assert all(others.home(key) == PLACEMENT.home(key) for key in names(2))


def test_only_what_was_never_used_is_begun(initial: InitialBallots) -> None:
    key = names(1)[0]
    assert initial.may_begin(fresh(key))
    assert not initial.may_begin(fresh(names(2)[0]))
    assert not initial.may_begin(Chain(key, PLACEMENT.replicas(key), None))  # Nobody knows.
    promised, lost, heard = fresh(key), fresh(key), fresh(key)
    assert promised.record is not None
    promised.record.promised = 1 << 8 | 2
    lost.ballot = 1
    heard.round_seen = 1
    assert not any(map(initial.may_begin, (promised, lost, heard)))


def test_a_disk_that_has_not_answered_for_a_while_is_not_waited_for(initial: InitialBallots) -> None:
    chain = fresh(names(1)[0])
    initial.journaling_since = 10.0 - TIMING.own_first_lag_s / 2
    assert initial.may_begin(chain)
    initial.journaling_since = 10.0 - 2 * TIMING.own_first_lag_s
    assert not initial.may_begin(chain)


def test_a_disk_that_is_slow_in_the_mean_is_not_waited_for(initial: InitialBallots) -> None:
    """Alone, each Accept would find a disk that owes nothing, and wait for it."""
    chain = fresh(names(1)[0])
    initial.disk_took(initial._context.now - 0.05)
    assert initial.may_begin(chain)  # Once is no mean.
    initial.disk_took(initial._context.now - 0.05)
    assert not initial.may_begin(chain)
    context = initial._context
    context.now += TIMING.own_first_pause_s
    assert initial.may_begin(chain)
    for _ in range(100):
        initial.disk_took(context.now - 0.001)
    assert initial.may_begin(chain)


def test_where_every_majority_needs_the_own_disk_its_speed_does_not_matter(initial: InitialBallots) -> None:
    """Asking the others first would need it twice."""
    chain = fresh(names(1)[0])
    initial._context.up.discard(3)
    for _ in range(10):
        initial.disk_took(initial._context.now - 0.05)
    initial.journaling_since = 10.0 - 2 * TIMING.own_first_lag_s
    assert initial.may_begin(chain)
    initial.journaling_since = 10.0 - 2 * TIMING.resend_s
    assert not initial.may_begin(chain)  # It hangs.


def test_below_a_floor_nothing_is_begun(initial: InitialBallots) -> None:
    initial.floor = 5 << 28
    assert not initial.may_begin(fresh(names(1)[0]))


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_without_a_majority_nothing_is_exposed(nodes: int) -> None:
    """On the own disk alone it would be unknown what becomes of it; and it came to light when the others were back."""
    cluster = Cluster(nodes, watched=True)
    key = next(
        key for key in (b"k%d" % number for number in range(100)) if EveryNode(tuple(cluster.nodes)).home(key) == 1
    )
    for other in range(2, nodes + 1):
        cluster.crash(other)
    operation = Operation(operations.PUT, key, b"1", deadline=cluster.now + 0.5)
    cluster.submit(1, operation)
    for _ in range(100):
        cluster.tick(0.01)
        cluster.commit(1)
    found = cluster.result(operation)
    assert found is not None
    assert found.status == Unavailable.status
    for other in range(2, nodes + 1):
        cluster.restart(other)
    assert cluster.run(2, get(key)).value is None


def test_a_key_is_begun_in_one_round_trip_and_held_from_then_on() -> None:
    cluster = Cluster(watched=True)
    key = names(1)[0]
    for value in (b"1", b"2"):
        cluster.run(1, put(key, value))
    counters = cluster.engine(1).status()["engine"]
    assert counters["initial_ballots"] == 1
    assert counters["prepares"] == 0
    assert counters["proposed_steps"] == 2
    assert cluster.run(3, get(key)).value == b"2"


def test_a_lone_node_begins_its_keys() -> None:
    cluster = Cluster(1, watched=True)
    assert cluster.run(1, put(b"k", b"1")).status == operations.OK
    assert cluster.engine(1).status()["engine"]["initial_ballots"] == 1
    assert cluster.run(1, get(b"k")).value == b"1"


def test_what_comes_while_the_own_disk_has_not_answered_waits_for_the_first_step() -> None:
    """As a batch of its own it would wait for a commit of its own, and take the key along when that is late."""
    cluster = Cluster(watched=True)
    key = names(1)[0]
    first, second = put(key, b"1"), put(key, b"2")
    cluster.submit(1, first)
    cluster.submit(1, second)
    assert not cluster.packets
    cluster.commit(1)
    assert len(cluster.of(1, 2)) == 2
    cluster.tick(2 * TIMING.own_first_s)
    assert cluster.engine(1).proposer.counters["initial_ballots_given_up"] == 0
    cluster.settle()
    one, other = cluster.result(first), cluster.result(second)
    assert one is not None
    assert other is not None
    assert one.version < other.version
    assert cluster.run(2, get(key)).value == b"2"


def test_a_key_that_was_lost_before_the_own_disk_answered_is_not_sent() -> None:
    """Node 2 prepares it, and this node promises: the Accept is overtaken, and would only be refused."""
    cluster = Cluster(watched=True)
    key = names(1)[0]
    lost = put(key, b"1")
    cluster.submit(1, lost)
    cluster.submit(2, put(key, b"2"))
    for packet in cluster.of(2, 1):
        cluster.deliver(packet)
    cluster.commit(1)
    cluster.commit(1)
    assert not cluster.of(1, 3)
    cluster.settle()
    assert cluster.result(lost) is not None
    assert cluster.engine(1).proposer.counters["initial_ballots"] == 1
    assert not cluster.engine(1).proposer._batches
