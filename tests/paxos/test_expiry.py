"""Expiry is a change by consensus: protocol.md section 8. Interleavings are in tests/scenarios (b08)."""

from harness.cluster import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation, Result

KEY = b"k"


def put(value: bytes, expiry: int | None = None, condition: int | None = None) -> Operation:
    return Operation(operations.PUT, KEY, value, condition, expiry=expiry)


def get() -> Operation:
    return Operation(operations.GET, KEY)


def set_clocks(cluster: Cluster, milliseconds: int, *numbers: int) -> None:
    for number in numbers or cluster.nodes:
        cluster.engine(number).wall(milliseconds)


def test_a_value_is_there_until_its_time_and_not_from_then_on() -> None:
    cluster = Cluster()
    set_clocks(cluster, 1_000)
    written = cluster.run(1, put(b"v", 2_000))
    assert written == Result(operations.OK, None, written.version, 2_000)
    set_clocks(cluster, 1_999)
    assert cluster.run(2, get()) == Result(operations.OK, b"v", written.version, 2_000)
    set_clocks(cluster, 2_000)
    assert cluster.run(2, get()) == Result(operations.OK, None, 0, 0)


def test_who_has_seen_a_value_expire_does_not_see_it_again_through_a_node_whose_clock_is_behind() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"v", 2_000))
    set_clocks(cluster, 3_000, 2)
    assert cluster.run(1, get()).value == b"v"
    assert cluster.run(2, get()).value is None
    assert cluster.run(1, get()).value is None
    assert cluster.run(3, get()).value is None


def test_an_operation_finds_what_has_expired_absent() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"7", 2_000))
    set_clocks(cluster, 2_000)
    assert cluster.run(1, put(b"v", condition=operations.EXISTS)).status == operations.CONDITION_FAILED
    assert cluster.run(1, Operation(operations.INCR, KEY, 1)).value == 1
    cluster.run(1, put(b"7", 3_000))
    set_clocks(cluster, 3_000)
    assert cluster.run(2, put(b"new", condition=0)).status == operations.OK


def test_what_is_put_with_an_expiry_in_the_past_is_gone_for_every_clock() -> None:
    cluster = Cluster()
    set_clocks(cluster, 5_000, 1)
    assert cluster.run(1, put(b"v", 4_000)).status == operations.OK
    assert cluster.run(2, get()) == Result(operations.OK, None, 0, 0)


def test_a_relayed_operation_keeps_its_expiry() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"v"))
    cluster.submit(2, put(b"w", 9_000))
    cluster.submit(1, Operation(operations.APPEND, KEY, b"x"))
    cluster.settle()
    found = cluster.run(3, get())
    assert (found.value, found.expires_at) in ((b"w", 9_000), (b"wx", 9_000))


def test_the_expiry_survives_a_restart_and_a_checkpoint() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"v", 2_000))
    for number in cluster.nodes:
        cluster.checkpoint(number)
        cluster.crash(number)
        cluster.restart(number)
    assert cluster.run(2, get()).expires_at == 2_000
    set_clocks(cluster, 2_000)
    assert cluster.run(3, get()).value is None
