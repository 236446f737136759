"""What clients can make a log engine propose, send and hold in one turn."""

from typing import Any

import pytest
from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.errors import Unavailable
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation
from paxoskv.raft import messages
from paxoskv.raft.engine import TERMS_AHEAD_MAX, RaftEngine

MEGABYTE = 1 << 20


def puts(count: int) -> list[Operation]:
    return [Operation(operations.PUT, b"%d" % number, b"v" * MEGABYTE, deadline=1e9) for number in range(count)]


def test_a_turn_proposes_only_so_much_and_the_rest_follows() -> None:
    """A turn is one row of the journal; one of a gigabyte SQLite refuses, which ended the leader."""
    cluster = Cluster(1)
    cluster.settle(2.0)
    asked = puts(40)
    cluster.submit(1, *asked)
    assert all(sum(map(len, row)) < 6 * MEGABYTE for _, row, _ in cluster.nodes[1].disk.queued)
    cluster.settle(5.0)
    assert all(cluster.result(put) is not None for put in asked)


def test_a_follower_forwards_only_so_much_and_the_rest_follows() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    asked = puts(24)
    cluster.submit(2, *asked)
    forwarded = [
        len(batch.encoded) for packet in cluster.of(2, 1, messages.Forward) for batch in packet.message.batches
    ]  # type: ignore[union-attr]
    assert 3 * MEGABYTE < sum(forwarded) < 6 * MEGABYTE
    cluster.settle(5.0)
    assert all(cluster.result(put) is not None for put in asked)


def test_a_follower_whose_disk_hangs_sends_its_clients_to_other_nodes() -> None:
    """It is sent few entries beyond those that it acknowledges, so it would hear of no answer to them."""
    cluster = Cluster(3)
    cluster.elect(1)
    for number in range(200):
        cluster.submit(1, Operation(operations.PUT, b"%d" % number, b"v", deadline=1e9))
        for packet in cluster.packets[:]:
            if packet in cluster.packets:
                cluster.deliver(packet)
        cluster.commit(1)
        cluster.commit(2)
        cluster.tick(0.02)
    for kind, argument in ((operations.PUT, b"v"), (operations.GET, None)):
        asked = Operation(kind, b"k", argument, deadline=1e9)
        cluster.submit(3, asked)
        result = cluster.result(asked)
        assert result is not None
        assert result.status == Unavailable.status
        assert b"this node's disk hangs" in (result.value or b"")  # type: ignore[operator]
    cluster.settle(3.0)
    assert cluster.run(3, Operation(operations.PUT, b"k", b"v")).status == operations.OK


def test_a_term_far_ahead_of_all_is_not_followed() -> None:
    """One such message spread, and nobody could be elected any more: there was no term left."""
    cluster = Cluster(3)
    cluster.elect(1)
    for message in (
        messages.Appended(2**48, 0, 0),
        messages.VoteRequest(2**48, 2**40, 2**48, False, True),
        messages.Vote(2**48, False, False),
        messages.Campaign(2**48),
    ):
        cluster.say(3, 1, message)
    assert cluster.leader() == 1
    assert cluster.run(2, Operation(operations.PUT, b"k", b"v")).status == operations.OK
    cluster.crash(1)
    cluster.settle(5.0)
    assert cluster.run(2, Operation(operations.PUT, b"k", b"w")).status == operations.OK


def test_nobody_is_left_behind_when_the_others_have_followed_a_lie() -> None:
    """Just short of what is not believed. The next election takes those who did follow beyond it."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.say(3, 1, messages.Appended(cluster.engine(1).election.term + TERMS_AHEAD_MAX, 0, 0))
    cluster.settle(5.0)
    leader = cluster.leader()
    assert cluster.run(leader, Operation(operations.PUT, b"k", b"v")).status == operations.OK
    assert len({cluster.engine(number).election.term for number in (1, 2, 3)}) == 1
    cluster.crash(leader)
    cluster.settle(5.0)
    assert cluster.run(cluster.leader(), Operation(operations.PUT, b"k", b"w")).status == operations.OK


def test_a_follower_that_takes_nothing_is_not_sent_the_same_window_with_every_heartbeat() -> None:
    """It was 44 MB/s, for as long as its disk hung."""

    def build(*arguments: Any, **options: Any) -> RaftEngine:
        return RaftEngine(*arguments, **options | {"capacity": Capacity(backlog_bytes=MEGABYTE)})

    cluster = Cluster(3, seed=1, build=build)
    cluster.elect(1)
    sent: list[int] = []

    def pump() -> None:
        """Everything but node 3's disk, which hangs."""
        busy = True
        while busy:
            busy = False
            while cluster.packets:
                packet = cluster.packets[0]
                if packet.target == 3 and isinstance(packet.message, messages.Append) and packet.message.entries:
                    sent.append(len(packet.frame))
                cluster.deliver(packet)
                busy = True
            for node in (1, 2):
                busy = cluster.commit(node) or busy

    for put in puts(8):
        cluster.submit(1, put)
        pump()
    assert cluster.engine(3).is_muted
    sent.clear()
    for _ in range(200):
        cluster.tick(0.025, 1, 2, 3)
        pump()
    assert 0 < len(sent) <= 11
    while cluster.commit(3):
        pass
    cluster.settle(5.0)
    assert cluster.engine(3).log.last_index == cluster.engine(1).log.last_index


@pytest.mark.parametrize("gap_s", [0.15, 0.25, 0.5])
def test_a_leader_that_hardly_ever_runs_steps_down_where_it_hears_of_nobody(gap_s: float) -> None:
    """Every turn looked like the first after a pause, before which nothing can have been heard."""
    cluster = Cluster(3, seed=1)
    cluster.elect(1)
    for _ in range(10):
        cluster.now += gap_s
        cluster.engine(1).tick(cluster.now)
        cluster.turn(1)
        cluster.packets.clear()
    assert cluster.engine(1).leader is None


def test_nodes_that_hardly_ever_run_elect_a_leader() -> None:
    cluster = Cluster(3, seed=1)
    for _ in range(100):
        cluster.tick(0.3)
        busy = True
        while busy:
            busy = False
            while cluster.packets:
                cluster.deliver(cluster.packets[0])
                busy = True
            for node in cluster.nodes:
                busy = cluster.commit(node) or busy
        if cluster.leader():
            return
    raise AssertionError("nobody was elected")


def test_disks_that_are_behind_and_work_do_not_make_leadership_wander() -> None:
    """The oldest row was over a second old, so that each leader handed over to the next, whose disk was no better."""
    cluster = Cluster(3, seed=1)
    cluster.elect(1)
    term = cluster.engine(1).election.term
    for turn in range(200):
        cluster.tick(0.05)
        cluster.submit(1, Operation(operations.PUT, b"%d" % turn, b"v", deadline=1e9))
        while cluster.packets:
            cluster.deliver(cluster.packets[0])
        if turn % 8 == 0:
            for node in cluster.nodes:
                cluster.commit(node)
    assert cluster.engine(1).leader is not None
    assert cluster.engine(1).leader.target == 0
    assert cluster.engine(1).election.term == term
