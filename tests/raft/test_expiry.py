"""Expiry is a change that the log decides on, by the leader's clock: protocol.md section 8."""

from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.sweep import Sweep

KEY = b"k"


def put(value: bytes, expiry: int | None = None, condition: int | None = None) -> Operation:
    return Operation(operations.PUT, KEY, value, condition, expiry=expiry)


def get() -> Operation:
    return Operation(operations.GET, KEY)


def set_clocks(cluster: Cluster, milliseconds: int, *numbers: int) -> None:
    for number in numbers or cluster.nodes:
        cluster.engine(number).wall(milliseconds)


def led_by(number: int) -> Cluster:
    cluster = Cluster()
    cluster.elect(number)
    return cluster


def test_a_value_is_there_until_its_time_and_not_from_then_on() -> None:
    cluster = led_by(1)
    set_clocks(cluster, 1_000)
    written = cluster.run(2, put(b"v", 2_000))
    assert written == Result(operations.OK, None, written.version, 2_000)
    set_clocks(cluster, 1_999)
    assert cluster.run(3, get()) == Result(operations.OK, b"v", written.version, 2_000)
    set_clocks(cluster, 2_000)
    assert cluster.run(3, get()) == Result(operations.OK, None, 0, 0)
    assert cluster.run(1, get()) == Result(operations.OK, None, 0, 0)


def test_the_leaders_clock_decides_and_all_replicas_agree() -> None:
    cluster = led_by(1)
    set_clocks(cluster, 1_000)
    cluster.run(2, put(b"v", 2_000))
    set_clocks(cluster, 3_000, 2)
    assert cluster.run(2, get()).value == b"v", "the log has not said yet that it is gone"
    set_clocks(cluster, 3_000, 1)
    assert cluster.run(2, get()).value is None
    set_clocks(cluster, 0)
    for number in cluster.nodes:
        assert cluster.run(number, get()).value is None


def test_an_operation_finds_what_has_expired_absent() -> None:
    cluster = led_by(1)
    cluster.run(1, put(b"7", 2_000))
    set_clocks(cluster, 2_000)
    assert cluster.run(1, put(b"v", condition=operations.EXISTS)) == Result(operations.CONDITION_FAILED, None, 0, 0)
    assert cluster.run(1, Operation(operations.INCR, KEY, 1)).value == 1


def test_what_is_put_with_an_expiry_in_the_past_is_gone_for_every_clock() -> None:
    cluster = led_by(1)
    set_clocks(cluster, 5_000, 1)
    assert cluster.run(2, put(b"v", 4_000)).status == operations.OK
    assert cluster.run(3, get()) == Result(operations.OK, None, 0, 0)


def test_a_failed_condition_that_found_a_value_expired_leaves_its_trace() -> None:
    """Or else the log, applied again to a record that was written later, would come to another state (M1)."""
    cluster = led_by(1)
    set_clocks(cluster, 1_000)
    cluster.run(1, put(b"v", 2_000))
    cluster.run(1, put(b"only if absent", condition=0))
    set_clocks(cluster, 2_000)
    assert cluster.run(1, put(b"w", condition=operations.EXISTS)).status == operations.CONDITION_FAILED
    node = cluster.nodes[1]
    base = cluster.engine(1).begin_checkpoint()
    blobs = dict(cluster.engine(1).checkpoint_slice(100))
    assert base
    record = cluster.engine(1).records.resident[KEY]
    assert record.value is None
    # The record is on disk, and the base is not: as a crash between a checkpoint's slices leaves them.
    node.disk.records[KEY] = blobs[KEY]
    cluster.crash(1)
    cluster.restart(1)
    cluster.settle()
    assert cluster.run(1, get()) == Result(operations.OK, None, 0, 0)


def test_the_expiry_survives_a_restart_and_a_checkpoint() -> None:
    cluster = led_by(1)
    cluster.run(1, put(b"v", 2_000))
    for number in cluster.nodes:
        cluster.checkpoint(number)
        cluster.crash(number)
        cluster.restart(number)
    assert cluster.run(3, get()).expires_at == 2_000
    set_clocks(cluster, 2_000)
    assert cluster.run(3, get()).value is None


def test_the_leader_sweeps_what_nobody_reads_in_memory_and_on_disk() -> None:
    cluster = led_by(1)
    engine = cluster.engine(1)
    engine.sweep = Sweep(engine.pages, engine._expiries, engine._get)
    set_clocks(cluster, 1_000)
    keys = [b"%02d" % number for number in range(12)]
    for index, key in enumerate(keys):
        cluster.run(index % 3 + 1, Operation(operations.PUT, key, b"v", expiry=2_000 if index % 2 else None))
        if index == 6:
            cluster.checkpoint(1)
    set_clocks(cluster, 3_000)
    cluster.settle(10)
    for number in cluster.nodes:
        resident = cluster.engine(number).records.resident
        assert [key for key in keys if resident[key].value is not None] == keys[::2]
