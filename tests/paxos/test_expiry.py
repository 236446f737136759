"""Expiry is a change by consensus: protocol.md section 8. Interleavings are in tests/scenarios (b08)."""

from harness.cluster import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation, Result
from paxoskv.paxos import register as registers

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


def test_the_sweep_reclaims_what_nobody_reads_in_memory_and_on_disk() -> None:
    cluster = Cluster(sweeps=True)
    keys = [b"%03d" % number for number in range(40)]
    set_clocks(cluster, 1_000)
    for index, key in enumerate(keys):
        node = index % 3 + 1
        cluster.run(node, Operation(operations.PUT, key, b"v" * 50, expiry=2_000 if index % 2 else None))
        if index == 20:
            for number in cluster.nodes:
                cluster.checkpoint(number)
    set_clocks(cluster, 3_000)
    cluster.settle(60)
    for number in cluster.nodes:
        resident = cluster.engine(number).records.resident
        left = [key for key in keys if registers.user_view(resident[key].register)[0] is not None]
        assert left == keys[::2], number
    swept = [cluster.engine(number).status()["engine"]["swept_keys"] for number in cluster.nodes]
    assert sum(swept) == 20, "each key is swept by the node that wrote it, and by no other"


def test_what_a_lost_node_wrote_is_swept_by_the_others() -> None:
    cluster = Cluster(sweeps=True)
    cluster.run(1, put(b"v", 2_000))
    for number in cluster.nodes:
        cluster.checkpoint(number)
    cluster.crash(1)
    set_clocks(cluster, 10_000, 2, 3)
    cluster.settle(5)
    assert cluster.engine(2).records.resident[KEY].register[0]
    set_clocks(cluster, 70_000, 2, 3)
    cluster.settle(60)
    assert not cluster.engine(2).records.resident[KEY].register[0]


def test_a_key_that_expires_again_and_again_keeps_no_reader_waiting() -> None:
    """What was settled before was another value. Readers waited for pauses that grew each time."""
    cluster = Cluster()
    for number in range(1, 12):
        cluster.run(1, put(b"v", 1_000 * number))
        set_clocks(cluster, 1_000 * number)
        before = cluster.now
        assert cluster.run(1, get()).value is None
        assert cluster.now - before < 0.001
        cluster.tick(0.1)


def test_readers_at_all_nodes_that_find_a_value_expired_do_not_preempt_each_other_for_ever() -> None:
    cluster = Cluster()
    cluster.run(1, put(b"v", 2_000))
    cluster.crash(1)
    set_clocks(cluster, 3_000, 2, 3)
    reads = [get() for _ in range(6)]
    for index, read in enumerate(reads):
        cluster.submit(index % 2 + 2, read)
    cluster.settle()
    assert [cluster.result(read) for read in reads] == [Result(operations.OK, None, 0, 0)] * 6


def test_a_sweep_without_a_majority_has_no_more_than_a_pages_gets_under_way() -> None:
    """They had come to as many as clients may have operations, who were refused."""
    cluster = Cluster(sweeps=True)
    set_clocks(cluster, 1000)
    cluster.submit(1, *[Operation(operations.PUT, b"%04d" % n, b"v", deadline=1e9, expiry=60_000) for n in range(1500)])
    cluster.settle(1.0)
    cluster.crash(2)
    cluster.crash(3)
    set_clocks(cluster, 70_000, 1)
    most = 0
    for _ in range(300):
        cluster.tick(0.1)
        cluster.commit(1)
        cluster.load(1)
        cluster.packets.clear()
        most = max(most, cluster.engine(1).context.inner)
    assert 0 < most <= 256


def test_what_is_in_the_journal_alone_is_swept_after_a_restart() -> None:
    cluster = Cluster(sweeps=True)
    set_clocks(cluster, 1000)
    cluster.run(1, put(b"v", expiry=60_000))
    for number in cluster.nodes:
        cluster.crash(number)
        cluster.restart(number)
    set_clocks(cluster, 200_000)
    cluster.settle(100.0)
    register = cluster.engine(1).records.resident[KEY].register
    assert registers.user_view(register)[0] is None
