"""Snapshots: dissertation, chapter 5; the paper's figure 13."""

import pytest
from harness.raft import Cluster, Packet

from paxoskv.core import operations
from paxoskv.core.operations import Operation
from paxoskv.raft import messages
from paxoskv.raft.context import Flow
from paxoskv.raft.entry import POSITION_BITS
from paxoskv.raft.machine import Base
from paxoskv.raft.records import Record
from paxoskv.raft.snapshot import Sender


def put(key: int, value: bytes) -> Operation:
    return Operation(operations.PUT, b"%06d" % key, value, deadline=1e9)


def behind(keys: int = 20, nodes: int = 3, log_bytes: int = 0) -> Cluster:
    """Node 3 was away while the log it needs was compacted."""
    cluster = Cluster(nodes, log_bytes=log_bytes)
    cluster.elect(1)
    cluster.crash(3)
    for key in range(keys):
        cluster.submit(1, put(key, b"v%d" % key))
        cluster.exchange(*cluster.up)
    assert cluster.engine(1).log.base_index > 1
    return cluster


def same(cluster: Cluster) -> bool:
    """Whether all that are up hold the same."""
    states = []
    for number in cluster.up:
        engine = cluster.engine(number)
        found = {key: record.to_blob() for key, record in engine.records.resident.items()}
        states.append((engine.machine.applied, {**cluster.nodes[number].disk.records, **found}))
        states[-1][1].pop(b"", None)
    return all(state == states[0] for state in states)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paxoskv.raft.engine.Flow", lambda: Flow(chunk_bytes=40))


def chunks(packets: list[Packet]) -> list[int]:
    return [packet.message.number for packet in packets if isinstance(packet.message, messages.Chunk)]


def test_who_is_behind_the_log_gets_the_records() -> None:
    cluster = behind()
    cluster.restart(3)
    cluster.settle(until=lambda: same(cluster))
    assert cluster.engine(3).status()["engine"]["snapshots_taken"] == 1
    assert cluster.engine(1).status()["engine"]["snapshots_sent"] == 1


def test_it_is_sent_in_parts_of_which_few_are_on_their_way(small_chunks: None) -> None:
    cluster = behind()
    cluster.restart(3)
    while not chunks(cluster.packets):
        cluster.tick(0.05, 1)
        cluster.hand(3, 1)
        if not chunks(cluster.packets):
            cluster.hand(1, 3)
    assert chunks(cluster.packets) == [1, 2]
    cluster.settle(until=lambda: same(cluster))
    assert cluster.engine(1).status()["engine"]["chunks_sent"] > 5


def test_it_goes_on_where_it_was_when_the_follower_crashes_and_comes_back(small_chunks: None) -> None:
    cluster = behind()
    cluster.restart(3)
    cluster.settle(until=lambda: cluster.engine(3).status()["engine"]["chunks_taken"] == 5)
    cluster.crash(3)
    sent = cluster.engine(1).status()["engine"]["chunks_sent"]
    cluster.restart(3)
    cluster.settle(until=lambda: same(cluster))
    engine = cluster.engine(1).status()["engine"]
    assert engine["snapshots_sent"] == 1, "not from the beginning"
    assert engine["chunks_sent"] > sent


@pytest.mark.parametrize("lost", [1, 2, 4, 5])
def test_a_part_that_is_torn_or_lost_is_sent_again(small_chunks: None, lost: int) -> None:
    """The follower crashes with a part in a row that its disk never gets, or the part never arrives."""
    cluster = behind(10)
    cluster.restart(3)
    for _ in range(400):
        for packet in list(cluster.packets):
            if isinstance(packet.message, messages.Chunk | messages.Install) and packet.message.number == lost:
                cluster.deliver(packet)
                cluster.crash(3)
                cluster.restart(3)
                cluster.settle(until=lambda: same(cluster))
                return
            if packet in cluster.packets:
                cluster.deliver(packet)
        for number in cluster.up:
            cluster.commit(number)
            cluster.load(number)
        cluster.tick(0.01)
    pytest.fail("there are fewer parts")


def test_another_leader_sends_it_anew_when_the_first_is_gone(small_chunks: None) -> None:
    cluster = behind(nodes=5)
    cluster.restart(3)
    cluster.settle(until=lambda: cluster.engine(3).status()["engine"]["chunks_taken"] == 3)
    cluster.crash(1)
    cluster.settle(10.0, until=lambda: bool(cluster.leader()) and cluster.leader() != 1)
    cluster.run(2, put(0, b"new"))
    cluster.settle(until=lambda: same(cluster))
    assert cluster.engine(3).records.resident[b"000000"].value == b"new"


def test_a_follower_that_dies_in_the_middle_keeps_no_snapshot_from_the_others(small_chunks: None) -> None:
    cluster = Cluster(nodes=5, log_bytes=0)
    cluster.elect(1)
    cluster.crash(3)
    cluster.crash(4)
    for key in range(20):
        cluster.submit(1, put(key, b"v"))
        cluster.exchange(1, 2, 5)
    cluster.restart(3)
    cluster.settle(until=lambda: cluster.engine(3).status()["engine"]["chunks_taken"] == 2)
    cluster.crash(3)
    cluster.restart(4)
    cluster.settle(until=lambda: same(cluster))
    cluster.restart(3)
    cluster.settle(until=lambda: same(cluster))


def test_only_what_has_changed_since_is_sent() -> None:
    cluster = Cluster(log_bytes=0)
    cluster.elect(1)
    for key in range(50):
        cluster.run(1, put(key, b"v"))
    cluster.settle()
    cluster.crash(3)
    for key in range(3):
        cluster.submit(1, put(key, b"w"))
        cluster.exchange(1, 2)
    cluster.restart(3)
    cluster.settle(until=lambda: same(cluster))
    dirty = len(cluster.engine(3).records.dirty)
    assert cluster.engine(3).status()["engine"]["chunks_taken"] >= 1
    assert dirty == 50, "the others it has in its own journal"


def test_who_is_far_behind_sends_its_clients_to_the_others_at_once(small_chunks: None) -> None:
    cluster = Cluster(log_bytes=0)
    cluster.elect(1)
    cluster.crash(3)
    for _ in range(1100):
        cluster.submit(1, put(1, b"v"))
        cluster.exchange(1, 2)
    cluster.restart(3)
    # Before it has heard how far the others are they wait.
    write, read = put(2, b"w"), Operation(operations.GET, b"000001", deadline=1e9)
    cluster.submit(3, write, read)
    assert (cluster.result(write), cluster.result(read)) == (None, None)
    cluster.settle(until=lambda: None not in (cluster.result(write), cluster.result(read)))
    results = [cluster.result(write), cluster.result(read)]
    assert [result and result.status for result in results] == [18, 18], "unavailable: definite, and retried elsewhere"
    assert cluster.engine(3).status()["engine"]["refused_while_behind"] == 2
    cluster.settle(until=lambda: same(cluster))
    assert cluster.run(3, put(2, b"w")).status == operations.OK


def test_no_record_is_sent_twice_though_a_checkpoint_writes_what_was_sent_before(small_chunks: None) -> None:
    cluster = behind(20)
    cluster.step_checkpoint(1)
    cluster.step_checkpoint(1)
    cluster.restart(3)
    sent: list[bytes] = []
    seen: set[Packet] = set()
    while not cluster.engine(3).status()["engine"]["snapshots_taken"]:
        cluster.step_checkpoint(1)
        for packet in list(cluster.packets):
            if isinstance(packet.message, messages.Chunk) and packet not in seen:
                seen.add(packet)
                sent += packet.message.keys
            cluster.deliver(packet)
        for number in cluster.up:
            cluster.commit(number)
            cluster.load(number)
        cluster.tick(0.005)
    assert sorted(sent) == [b"%06d" % key for key in range(20)]


def test_deleted_keys_are_gone_for_the_follower_too() -> None:
    cluster = Cluster(log_bytes=0)
    cluster.elect(1)
    cluster.run(1, put(1, b"v"))
    cluster.settle()
    cluster.crash(3)
    cluster.submit(1, Operation(operations.DELETE, b"000001", deadline=1e9))
    cluster.exchange(1, 2)
    cluster.submit(1, put(2, b"v"))
    cluster.exchange(1, 2)
    cluster.restart(3)
    cluster.settle(until=lambda: same(cluster))
    assert cluster.run(3, Operation(operations.GET, b"000001", deadline=1e9)).value is None


def test_what_expires_is_known_to_whoever_got_it_in_a_snapshot() -> None:
    """Or else it would not be swept by a leader that never applied its entry."""
    cluster = behind()
    cluster.submit(1, Operation(operations.PUT, b"expires", b"v", deadline=1e9, expiry=10**15))
    cluster.exchange(1, 2)
    cluster.submit(1, put(1, b"v"))
    cluster.exchange(1, 2)
    cluster.restart(3)
    cluster.settle(until=lambda: same(cluster))
    assert cluster.engine(3).machine.expiry_seen
    cluster.crash(3)
    cluster.restart(3)
    assert cluster.engine(3).machine.expiry_seen


def test_the_cluster_works_all_the_while_and_the_follower_needs_no_second_snapshot(small_chunks: None) -> None:
    """What follows the snapshot's base is kept for it, though more than else is kept of the log."""
    cluster = behind(100, log_bytes=4_000)
    cluster.restart(3)
    for key in range(400):
        # One step of everything for each write.
        cluster.submit(1, put(key % 100, b"new %d" % key))
        for packet in list(cluster.packets):
            cluster.deliver(packet)
        for number in cluster.up:
            cluster.commit(number)
            cluster.load(number)
        cluster.tick(0.001)
    cluster.settle(until=lambda: same(cluster))
    assert cluster.engine(1).status()["engine"]["snapshots_sent"] == 1


def test_what_follows_the_snapshot_is_kept_until_the_follower_has_it(small_chunks: None) -> None:
    cluster = behind(60, log_bytes=8_000)
    cluster.restart(3)
    # What it is sent of the log is lost for a while, and the cluster goes on.
    for key in range(90):
        cluster.submit(1, put(key % 60, b"later"))
        cluster.packets = [
            packet
            for packet in cluster.packets
            if packet.target != 3 or not (isinstance(packet.message, messages.Append) and packet.message.entries)
        ]
        for packet in list(cluster.packets):
            cluster.deliver(packet)
        for number in cluster.up:
            cluster.commit(number)
            cluster.load(number)
        cluster.tick(0.003)
    assert cluster.engine(3).status()["engine"]["snapshots_taken"] == 1
    cluster.settle(until=lambda: same(cluster))
    assert cluster.engine(1).status()["engine"]["snapshots_sent"] == 1


def test_a_follower_that_never_gets_on_keeps_the_log_from_being_compacted_only_so_far(small_chunks: None) -> None:
    cluster = behind(40, log_bytes=4_000)
    cluster.restart(3)
    cluster.settle(until=lambda: cluster.engine(3).status()["engine"]["chunks_taken"] == 2)
    for key in range(400):
        cluster.submit(1, put(key, b"x"))
        cluster.hand(3, 1)
        cluster.exchange(1, 2)
        cluster.tick(0.001)
        # It says something, but its disk takes no part.
        cluster.say(3, 1, messages.Appended(cluster.engine(1).election.term, 0, 0))
    assert cluster.engine(1).log.bytes < 6 * 4_000
    cluster.settle(20.0, until=lambda: same(cluster))


def test_parts_as_of_an_index_that_the_follower_is_past_are_left_out() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run(1, put(1, b"new"))
    cluster.settle()
    engine = cluster.engine(2)
    old = b"\0" * 7 + b"\1" + b"\1" + b"old"
    cluster.say(1, 2, messages.Chunk(engine.election.term, 1, 1, 1, (b"000001",), (old,)))
    assert engine.records.resident[b"000001"].value == b"new"
    assert not cluster.nodes[2].disk.queued


def test_a_snapshot_since_an_index_that_was_not_reached_is_not_installed() -> None:
    """The follower has lost the end of its log in a crash since it said what it has."""
    cluster = Cluster()
    cluster.elect(1)
    engine = cluster.engine(2)
    base = messages.Base(90, engine.election.term, ())
    [answer] = cluster.say(1, 2, messages.Install(engine.election.term, 1, 1, 80, base))
    assert isinstance(answer, messages.Rejected)
    assert engine.machine.applied < 80


def test_storage_is_asked_for_one_snapshot_at_a_time() -> None:
    """Found by the simulator: of two that asked in one turn, one waited for ever, and its follower with it."""
    cluster = behind(nodes=5)
    engine = cluster.engine(1)
    assert engine.leader is not None
    senders = [Sender(engine.context, engine.machine, engine.leader.term, peer, 0) for peer in (4, 5)]
    for peer, sender in zip((4, 5), senders, strict=True):
        sender._unsaved.clear()
        engine.leader.followers[peer].sender = sender
    assert engine.leader.replicate(may_scan=True) is not None
    assert [sender.scanning for sender in senders].count(True) == 1


def test_a_record_that_leaves_memory_before_its_turn_comes_from_storage() -> None:
    """Found by the simulator: such a record was sent neither from memory nor from storage."""
    cluster = behind(4)
    engine = cluster.engine(1)
    assert engine.leader is not None
    sender = Sender(engine.context, engine.machine, engine.leader.term, 1, 0)
    key = b"%06d" % 2
    record = engine.records.resident.pop(key)
    assert sender.pump(3, may_scan=True) is not None
    sender.scanned([(key, record.to_blob())], None)
    for number in list(sender._unacknowledged):
        sender.on_stored(number)
    sender.pump(3, may_scan=True)
    sent = [message for message in engine.context.sends[3] if isinstance(message, messages.Chunk)]
    assert [key in message.keys for message in sent].count(True) == 1


def test_what_a_disk_read_before_a_snapshot_came_does_not_replace_it() -> None:
    """The record came in the snapshot, was saved and left memory, all while the disk's answer was on its way: (S5)."""
    cluster = Cluster(3, log_bytes=0)
    cluster.elect(1)
    for key in range(30):
        cluster.run(1, Operation(operations.INCR, b"k%02d" % key, 1, deadline=1e9))
    cluster.settle(0.3)
    for number in cluster.nodes:
        cluster.checkpoint(number)
    cluster.crash(3)
    cluster.restart(3)
    cluster.settle(0.5)
    engine, disk = cluster.engine(3), cluster.nodes[3].disk
    engine.records.cache_bytes = 1
    for _ in range(5):
        cluster.tick(0.05)
    cluster.settle(0.3)
    cluster.submit(1, Operation(operations.INCR, b"k00", 1, deadline=1e9))
    cluster.hand(1, 3)
    cluster.hand(1, 2)
    assert cluster.nodes[3].loads == [b"k00"]
    cluster.nodes[3].loads.clear()
    read = {b"k00": disk.records.get(b"k00")}
    for number in cluster.nodes:
        cluster.commit(number)
    cluster.hand(2, 1)
    cluster.commit(1)
    # It is cut off, while more is written than the log keeps.
    cluster.packets = [packet for packet in cluster.packets if 3 not in (packet.source, packet.target)]
    for _ in range(5):
        cluster.submit(1, Operation(operations.INCR, b"k00", 10, deadline=1e9))
        cluster.exchange(1, 2)
    for one, other in ((1, 3), (3, 1)):
        cluster.engine(one).peer_lost(other, cluster.now)
        cluster.turn(one)
        cluster.engine(one).peer_up(other, cluster.nodes[other].disk.incarnation, cluster.now)
        cluster.turn(one)
    for _ in range(60):
        for packet in cluster.packets[:]:
            if packet in cluster.packets:
                cluster.deliver(packet)
        for number in cluster.nodes:
            cluster.commit(number)
        for number in (1, 2):
            cluster.load(number)
        cluster.nodes[3].loads.clear()
        cluster.tick(0.02)
    assert engine.status()["engine"]["snapshots_taken"] == 1
    cluster.checkpoint(3)
    for _ in range(20):
        cluster.tick(0.05, 3)
    assert b"k00" not in engine.records.resident
    engine.records.cache_bytes = 1 << 28
    engine.loaded(read, cluster.now)
    cluster.turn(3)
    cluster.submit(1, Operation(operations.INCR, b"k00", 100, deadline=1e9))
    cluster.settle(0.3)
    values = {number: cluster.engine(number).records.resident[b"k00"].value for number in cluster.nodes}
    assert values == dict.fromkeys(cluster.nodes, b"152")


def test_an_end_that_comes_twice_in_one_turn_is_acknowledged_when_it_is_on_disk() -> None:
    """The second found it installed already. A crash then left a follower that no probe could bring back."""
    cluster = Cluster(3)
    cluster.elect(1)
    for key in range(5):
        cluster.run(1, put(key, b"x"))
    cluster.settle(0.2)
    engine = cluster.engine(3)
    applied, term = engine.machine.applied, engine.election.term
    end = messages.Install(term, 1, 2, applied, Base(applied + 10, term, engine.machine.base().sessions))
    engine.receive(1, [end], cluster.now)
    engine.receive(1, [end], cluster.now)
    effects = engine.take_effects()
    assert [type(message) for message in effects.journal] == [messages.Install]
    assert not [said for said in effects.sends.get(1, []) if isinstance(said, messages.Stored)]
    engine.committed(effects.sequence, cluster.now)
    stored = [said for said in engine.take_effects().sends[1] if isinstance(said, messages.Stored)]
    assert len(stored) == 2


def test_a_follower_whose_disk_hangs_keeps_no_snapshot_from_the_others() -> None:
    """It is not silent: it answers heartbeats, which take no disk."""
    cluster = Cluster(5, log_bytes=0)
    cluster.elect(1)
    cluster.crash(4)
    cluster.crash(5)
    for key in range(20):
        cluster.submit(1, put(key, b"x" * 10))
        cluster.exchange(1, 2, 3)
    cluster.restart(4)
    cluster.restart(5)
    for _ in range(300):
        for packet in cluster.packets[:]:
            if packet in cluster.packets:
                cluster.deliver(packet)
        for number in cluster.up:
            if number != 4:
                cluster.commit(number)
            cluster.load(number)
        cluster.tick(0.04)
    assert cluster.engine(5).machine.applied == cluster.engine(1).machine.applied


def test_a_part_of_a_former_snapshot_that_comes_late_is_left_out() -> None:
    """Seed 102221: as of the very index that the follower had applied, it took back what the next one had brought."""
    cluster = Cluster(3)
    cluster.elect(1)
    for key in range(5):
        cluster.run(1, put(key, b"x"))
    cluster.settle(0.2)
    engine = cluster.engine(3)
    term, applied = engine.election.term, engine.machine.applied
    key = b"%06d" % 1
    parts = []
    for number, value in ((1, b"old"), (2, b"new")):
        record = Record(key, value, applied + number << POSITION_BITS | 1)
        parts.append(messages.Chunk(term, number, 1, applied, (key,), (record.to_blob(),)))
    for part in (parts[0], parts[1], parts[0]):
        engine.receive(1, [part], cluster.now)
        engine.take_effects()
    assert engine.records.resident[key].value == b"new"
