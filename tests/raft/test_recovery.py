"""Restarts: what a node finds on its disk, whatever had got there; the paper's figure 2, persistent state."""

import random

import pytest
from harness.raft import Cluster

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft import messages
from paxoskv.raft.engine import BASE_KEY, RaftEngine
from paxoskv.raft.entry import POSITION_BITS, Batch, Entry
from paxoskv.raft.machine import Base
from paxoskv.raft.records import Record


def put(key: bytes, value: bytes) -> Operation:
    return Operation(operations.PUT, key, value, deadline=1e9)


def held(cluster: Cluster, number: int, key: bytes = b"k") -> bytes | None:
    return cluster.run(number, Operation(operations.GET, key, deadline=1e9)).value  # type: ignore[return-value]


def test_term_vote_and_log_are_there_again() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run(1, put(b"k", b"v"))
    cluster.settle()
    before = cluster.engine(2)
    cluster.crash(2, notice=False)
    cluster.restart(2)
    after = cluster.engine(2)
    assert (after.election.term, after.election.vote) == (before.election.term, before.election.vote)
    assert (after.log.last_index, after.log.last_term) == (before.log.last_index, before.log.last_term)


def test_what_a_snapshot_builds_on_is_applied_before_it_is_taken_over() -> None:
    """Found by the simulator. The node had applied entry 2 when the snapshot came, which therefore brings only what has
    changed since. That entry 2 was committed stands in no row: a heartbeat had said it."""
    engine = RaftEngine(2, 2, (1, 2, 3), random.Random(1), empty=True)
    batch = Batch(1, 1, 1, bytes([operations.INCR]), [b"k"], [5], (), ())
    log = [Entry(1, 1 << 20, 0, ()), Entry(1, 1 << 20, 0, [batch])]
    other = Record(b"other", b"v", 3 << POSITION_BITS | 1)
    rows = [
        [messages.Append(1, 0, 0, 0, 0, log)],
        [messages.Chunk(1, 1, 1, 3, (b"other",), (other.to_blob(),))],
        [messages.Install(1, 1, 2, 2, Base(3, 1, ((1, 1, 2),)))],
    ]
    for row in [[], *rows]:
        assert engine.recover(row) == []
    assert engine.machine.applied == 3
    assert engine.records.resident[b"other"].value == b"v"
    assert engine.records.resident[b"k"].value == b"5"


def test_what_is_known_to_be_committed_is_applied_at_once_and_the_rest_waits_for_a_leader() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run(1, put(b"k", b"v"))
    cluster.settle()
    cluster.submit(1, put(b"k", b"w"))
    cluster.hand(1, 2)
    cluster.commit(2)
    cluster.crash(2)
    cluster.restart(2)
    engine = cluster.engine(2)
    assert engine.log.last_index == 3
    assert engine.machine.applied == 2, "entry 3 may yet be taken back"
    assert engine.records.resident[b"k"].value == b"v"


@pytest.mark.parametrize("rows", range(6))
def test_any_number_of_rows_may_be_on_the_disk(rows: int) -> None:
    """Rows reach the disk in order, so a crash leaves the first so many of them."""
    cluster = Cluster()
    cluster.elect(1)
    for number in range(5):
        cluster.submit(1, put(b"k", b"%d" % number))
        cluster.hand(1, 2)
        cluster.hand(1, 3)
    queued = len(cluster.nodes[2].disk.queued)
    assert queued == 5
    cluster.crash(2, committed=rows)
    cluster.restart(2)
    assert cluster.engine(2).log.last_index == 1 + rows
    cluster.settle()
    assert held(cluster, 2) == b"4"


def test_a_row_that_took_entries_back_does_so_again() -> None:
    cluster = Cluster()
    cluster.elect(1)
    term = cluster.engine(2).election.term
    entry = cluster.engine(1).log.at(1)
    cluster.say(1, 2, messages.Append(term, 1, term, 1, 0, [entry, entry, entry]))
    cluster.commit(2)
    entry = type(entry)(term + 1, 1 << 20, 0, ())
    cluster.say(3, 2, messages.Append(term + 1, 2, term, 1, 0, [entry]))
    cluster.commit(2)
    cluster.crash(2)
    cluster.restart(2)
    log = cluster.engine(2).log
    assert [log.term_at(index) for index in range(1, log.last_index + 1)] == [term, term, term + 1]


@pytest.mark.parametrize("steps", range(8))
def test_a_crash_in_the_middle_of_a_checkpoint_loses_nothing(steps: int) -> None:
    """(M1): some records are written and others are not, the base is or is not, the rows are trimmed or not."""
    cluster = Cluster()
    cluster.elect(1)
    for number in range(8):
        cluster.run(1, put(b"k%d" % number, b"old"))
    cluster.checkpoint(1)
    for number in range(8):
        cluster.run(1, put(b"k%d" % number, b"new"))
    cluster.run(1, Operation(operations.INCR, b"n", 1, deadline=1e9))
    for _ in range(steps):
        cluster.step_checkpoint(1)
        cluster.run(1, Operation(operations.INCR, b"n", 1, deadline=1e9))
    cluster.settle()
    cluster.crash(1)
    cluster.restart(1)
    cluster.settle()
    assert [held(cluster, 1, b"k%d" % number) for number in range(8)] == [b"new"] * 8
    assert held(cluster, 1, b"n") == b"%d" % (1 + steps)


def test_the_base_tells_term_and_vote_and_what_is_not_applied_though_the_rows_are_gone() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run(1, put(b"k", b"v"))
    cluster.settle()
    cluster.submit(1, put(b"k", b"w"))
    cluster.commit(1)
    cluster.packets.clear()
    cluster.checkpoint(1)
    engine = cluster.engine(1)
    assert not cluster.nodes[1].disk.rows
    assert BASE_KEY in cluster.nodes[1].disk.records
    before = (engine.election.term, engine.election.vote, engine.log.last_index)
    cluster.crash(1)
    cluster.restart(1)
    engine = cluster.engine(1)
    assert (engine.election.term, engine.election.vote, engine.log.last_index) == before
    assert engine.log.last_index == engine.machine.applied + 1


@pytest.mark.parametrize("seed", range(20))
def test_every_node_may_be_killed_at_once_and_again_and_what_was_acknowledged_is_there(seed: int) -> None:
    rng = random.Random(seed)
    cluster = Cluster(seed=seed, log_bytes=rng.choice((0, 1 << 25)))
    acknowledged = 0
    for _ in range(6):
        cluster.settle(10.0, until=lambda: bool(cluster.leader()))
        wanted = [Operation(operations.INCR, b"n", 1, deadline=1e9) for _ in range(rng.randint(1, 5))]
        for operation in wanted:
            cluster.submit(rng.choice(cluster.up), operation)
        for _ in range(rng.randint(0, 60)):
            step = rng.randrange(3)
            if step == 0 and cluster.packets:
                cluster.deliver(cluster.packets[0])
            elif step == 1:
                cluster.commit(rng.choice(cluster.up))
            elif rng.random() < 0.2:
                cluster.step_checkpoint(rng.choice(cluster.up))
        acknowledged += sum(cluster.result(operation) is not None for operation in wanted)
        for number in cluster.up:
            cluster.crash(number, rng.randint(0, len(cluster.nodes[number].disk.queued)))
        cluster.packets.clear()
        for number in cluster.nodes:
            cluster.restart(number)
    value = int(held(cluster, rng.choice(cluster.up), b"n") or 0)
    assert acknowledged <= value <= 30
