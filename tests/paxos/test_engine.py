"""What the parts of one engine do together, where no random schedule goes often enough."""

import random
from collections.abc import Sequence

from harness.cluster import Cluster

from paxoskv.core import operations
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import Promised, Proposals
from paxoskv.paxos.records import Record

LARGE = bytes(300_000)


def put(key: bytes, value: bytes = b"1") -> Operation:
    return Operation(operations.PUT, key, value)


def incr(key: bytes) -> Operation:
    return Operation(operations.INCR, key, 1)


def get(key: bytes, deadline: float = float("inf")) -> Operation:
    return Operation(operations.GET, key, deadline=deadline)


def test_a_refusal_in_an_answer_that_comes_in_parts_is_no_promise() -> None:
    """Its entry is empty like that of an acceptor that has nothing, so each part has to name its own refusals."""
    cluster = Cluster()
    cluster.settle()
    # Nodes 1 and 3 hold a counter, and two values that do not fit one frame together. Node 2 has promised, and no more.
    cluster.submit(1, put(b"counter", b"1"), put(b"x", LARGE), put(b"y", LARGE))
    for packet in cluster.of(1, 2):
        cluster.deliver(packet)
    cluster.commit(2)
    cluster.exchange(1, 3)
    # Node 1 promises the counter to node 3 at ballot 2.3, which node 3 forgets in a crash.
    cluster.submit(3, incr(b"counter"))
    for packet in cluster.of(3, 1):
        cluster.deliver(packet)
    cluster.commit(1)
    cluster.crash(3)
    cluster.packets.clear()
    cluster.restart(3)
    # Node 2 prepares all three keys at 2.2, and of node 1's answer the first part alone arrives.
    again = incr(b"counter")
    cluster.submit(2, again, put(b"x"), put(b"y"))
    for packet in cluster.of(2, 1):
        cluster.deliver(packet)
    cluster.commit(1)
    assert len(cluster.of(1, 2, Promised)) == 2
    cluster.deliver(cluster.of(1, 2, Promised)[0])
    cluster.exchange(2, 3)
    cluster.settle()
    assert cluster.result(again) == Result(operations.OK, 2, cluster.run(2, get(b"counter")).version)


def test_a_vote_that_the_own_hung_disk_took_no_notice_of_is_cast_when_it_works_again() -> None:
    """With one other node up, the own vote is needed; the operation must not wait for it in vain."""
    cluster = Cluster(watched=True, capacity=Capacity(backlog_bytes=1000))
    cluster.run(1, put(b"k", b"1"))
    cluster.crash(3)
    cluster.submit(1, put(b"k3", bytes(2000)))
    for packet in cluster.of(1, 2):
        cluster.deliver(packet)
    cluster.commit(1)
    cluster.commit(2)
    for packet in cluster.of(2, 1):
        cluster.deliver(packet)
    assert cluster.engine(1).muted
    operation = put(b"k", b"2")
    cluster.submit(1, operation)
    cluster.settle(5)
    assert cluster.result(operation) is not None


def test_what_is_in_memory_is_never_asked_of_the_disk() -> None:
    """An older copy of it could arrive when the newer one has been written, and has left memory."""
    engine = PaxosEngine(1, 1, EveryNode((1, 2, 3)), random.Random(0))
    loads = []
    for key in (b"a", b"b"):
        engine.submit([get(key)], 0.0)
        loads += engine.take_effects().loads
    assert loads == [b"a", b"b"]
    engine.tick(1.0)  # The gets go on without the own disk, in one batch.
    assert engine.take_effects().loads == []
    engine.loaded({b"a": None}, 1.1)
    engine.take_effects()
    now = 1.1
    for _ in range(100):
        now += 0.1
        engine.tick(now)
        assert engine.take_effects().loads == []


def test_a_change_behind_a_checkpoints_slice_is_written_by_the_next_one() -> None:
    """A slice can be taken in the middle of a turn, which has changed the record before and changes it again."""
    engine = PaxosEngine(1, 1, EveryNode((1, 2, 3)), random.Random(0), empty=True)
    engine.receive(2, [Proposals(1, (b"k",), (ballots.make_ballot(1, 2),), (0,), (), (), ())], 0.0)
    engine.begin_checkpoint()
    [(_, blob)] = engine.checkpoint_slice(10)
    later = ballots.make_ballot(2, 3)
    engine.receive(3, [Proposals(1, (b"k",), (later,), (0,), (), (), ())], 0.0)
    engine.folded([b"k"])
    assert Record.from_blob(b"k", blob).promised < later
    assert engine.begin_checkpoint() == 1
    [(_, blob)] = engine.checkpoint_slice(10)
    assert Record.from_blob(b"k", blob).promised == later


def test_a_message_whose_keys_are_on_disk_is_looked_at_when_the_last_of_them_has_come() -> None:
    """Looking at each waiting message whenever any key comes takes a node of many cold keys all of its time."""
    cluster = Cluster(cache_bytes=1)
    names = [b"%02d" % number for number in range(20)]
    for name in names:
        cluster.run(1, put(name))
    cluster.settle()
    for number in cluster.nodes:
        cluster.checkpoint(number)
    cluster.tick(0.01)
    for name in names:
        cluster.submit(1, put(name, b"2"))
    cluster.load(1)
    engine = cluster.engine(2)
    assert not engine.records.resident
    asked: list[Sequence[bytes]] = []
    missing = engine.records.missing

    def counted(keys: Sequence[bytes]) -> list[bytes]:
        asked.append(keys)
        return missing(keys)

    engine.records.missing = counted  # type: ignore[method-assign]
    for packet in [packet for packet in cluster.packets if packet.target == 2]:
        cluster.deliver(packet)
    first = len(asked)
    assert first
    wanted, cluster.nodes[2].loads = cluster.nodes[2].loads, []
    disk = cluster.nodes[2].disk.records
    for name in wanted[:-1]:
        engine.loaded({name: disk[name]}, cluster.now)
    assert len(asked) == first
    engine.loaded({wanted[-1]: disk[wanted[-1]]}, cluster.now)
    cluster.turn(2)
    assert len(asked) > first
