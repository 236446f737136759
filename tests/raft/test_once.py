"""One effect for each operation, whatever is sent again: dissertation, section 6.3; numbers of batches per origin."""

from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft import messages


def incr(deadline: float = 1e9) -> Operation:
    return Operation(operations.INCR, b"k", 1, deadline=deadline)


def led() -> Cluster:
    cluster = Cluster()
    cluster.elect(1)
    cluster.packets.clear()
    return cluster


def value(cluster: Cluster) -> bytes | int | None:
    return cluster.run(1, Operation(operations.GET, b"k", deadline=1e9)).value


def test_a_forwarded_batch_that_arrives_twice_is_appended_once() -> None:
    cluster = led()
    cluster.submit(2, incr())
    [packet] = cluster.of(2, 1, messages.Forward)
    cluster.deliver(packet, keep=True)
    cluster.deliver(packet)
    cluster.settle()
    assert value(cluster) == b"1"


def test_a_batch_that_comes_too_early_is_left_out_and_what_lacks_is_asked_for() -> None:
    cluster = led()
    first, second = incr(), incr()
    cluster.submit(2, first)
    cluster.packets.clear()
    cluster.submit(2, second)
    last = cluster.engine(1).log.last_index
    cluster.hand(2, 1)
    assert cluster.engine(1).log.last_index == last
    [packet] = cluster.of(1, 2, messages.Expected)
    assert isinstance(packet.message, messages.Expected)
    assert packet.message.number == 1
    cluster.settle(until=lambda: None not in (cluster.result(first), cluster.result(second)))
    assert value(cluster) == b"2"


def test_what_the_old_leader_had_committed_is_not_appended_again_by_the_new_one() -> None:
    """The answer was lost, not the entry: node 2 asks the new leader again, which knows by the batch's number."""
    cluster = led()
    operation = incr()
    cluster.submit(2, operation)
    cluster.hand(2, 1)
    cluster.exchange(1, 3)
    assert cluster.result(operation) is None
    cluster.crash(1)
    while cluster.leader() != 3:
        cluster.tick(0.05, 3)
        cluster.exchange(2, 3)
    cluster.settle(until=lambda: cluster.result(operation) is not None)
    cluster.restart(1)
    cluster.settle()
    assert value(cluster) == b"1"


def test_what_the_old_leader_alone_had_is_appended_by_the_new_one() -> None:
    cluster = led()
    operation = incr()
    cluster.submit(2, operation)
    cluster.hand(2, 1)
    cluster.commit(1)
    cluster.packets.clear()
    cluster.crash(1)
    cluster.settle(until=lambda: cluster.result(operation) is not None)
    cluster.restart(1)
    cluster.settle()
    assert value(cluster) == b"1"


def test_the_numbers_come_with_a_snapshot() -> None:
    """A snapshot that lost them would let a batch in that is in the records already."""
    cluster = Cluster(log_bytes=0)
    cluster.elect(1)
    cluster.packets.clear()
    operation = incr()
    cluster.submit(2, operation)
    [forwarded] = cluster.of(2, 1, messages.Forward)
    cluster.deliver(forwarded)
    cluster.exchange(1, 2)
    assert cluster.result(operation) is not None
    cluster.settle()
    assert cluster.engine(3).status()["engine"]["snapshots_taken"] == 1
    cluster.crash(1)
    while cluster.leader() != 3:
        cluster.tick(0.05, 3)
        cluster.exchange(2, 3)
    message = forwarded.message
    assert isinstance(message, messages.Forward)
    cluster.say(2, 3, messages.Forward(cluster.engine(3).election.term, message.batches))
    cluster.settle()
    assert {cluster.engine(number).records.resident[b"k"].value for number in cluster.up} == {b"1"}


def test_a_batch_of_a_former_incarnation_comes_too_late() -> None:
    cluster = led()
    cluster.submit(2, incr())
    [old] = cluster.of(2, 1, messages.Forward)
    cluster.crash(2)
    cluster.packets.clear()
    cluster.restart(2)
    cluster.run(2, incr())
    message = old.message
    assert isinstance(message, messages.Forward)
    cluster.say(2, 1, messages.Forward(cluster.engine(1).election.term, message.batches))
    cluster.settle()
    assert value(cluster) == b"1"


def test_another_nodes_batches_are_not_taken_from_whom_they_are_not() -> None:
    cluster = led()
    cluster.submit(2, incr())
    [packet] = cluster.of(2, 1, messages.Forward)
    last = cluster.engine(1).log.last_index
    assert cluster.say(3, 1, packet.message) == []
    assert cluster.engine(1).log.last_index == last


def test_without_a_leader_an_operation_waits_and_certainly_did_not_happen_when_its_time_is_up() -> None:
    cluster = Cluster()
    cluster.crash(2)
    cluster.crash(3)
    operation = incr(0.5)
    cluster.submit(1, operation)
    while cluster.result(operation) is None:
        assert cluster.now < 10
        cluster.tick(0.05, 1)
    result = cluster.result(operation)
    assert result is not None
    assert result.status == 18, "unavailable: definite"


def test_an_operation_that_waits_is_done_as_soon_as_somebody_leads() -> None:
    cluster = Cluster()
    operation = incr()
    cluster.submit(2, operation)
    cluster.settle(5.0, until=lambda: cluster.result(operation) is not None)
    result = cluster.result(operation)
    assert result is not None
    assert result.status == operations.OK


def test_what_may_have_been_appended_is_never_called_a_failure() -> None:
    cluster = led()
    operation = incr(cluster.now + 0.3)
    cluster.submit(2, operation)
    cluster.packets.clear()
    cluster.crash(1)
    cluster.crash(3)
    while cluster.result(operation) is None:
        assert cluster.now < 10
        cluster.tick(0.05, 2)
    result = cluster.result(operation)
    assert result is not None
    assert result.status == 32, "outcome unknown"


def test_of_two_that_both_must_find_the_key_absent_one_fails() -> None:
    """Evaluated once, in the order of the log, and answered from there."""
    cluster = led()
    one = Operation(operations.CAS, b"k", b"1", None, deadline=1e9)
    other = Operation(operations.CAS, b"k", b"2", None, deadline=1e9)
    cluster.submit(2, one)
    cluster.submit(3, other)
    cluster.settle(until=lambda: None not in (cluster.result(one), cluster.result(other)))
    statuses = sorted(result.status for operation in (one, other) if (result := cluster.result(operation)))
    assert statuses == [operations.OK, operations.CONDITION_FAILED]
