"""What clients can make an engine hold and send: however much they ask for, no more than fits."""

import random
from typing import Any

import pytest
from harness.cluster import Cluster

from paxoskv.core import operations
from paxoskv.core.limits import Capacity
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import Fetch, Fetches, Message, Proposals, Refusal, Refused, RelayAnswers, Relays
from paxoskv.paxos.register import Register, encode
from paxoskv.paxos.relays import cut, fitting, is_too_much
from paxoskv.wire import paxos

KEY = b"k"
MEGABYTE = 1 << 20
# What a node takes in one frame with the usual limit on values.
FRAME_BYTES_MAX = 3 * MEGABYTE


def sizes(messages: list[Message], kind: type) -> list[int]:
    return [len(paxos.CODEC.encode(message)) for message in messages if type(message) is kind]


def test_a_chain_has_few_steps_under_way_and_what_waits_goes_with_the_next() -> None:
    """Each holds the whole value: without a majority, they would come to gigabytes."""
    cluster = Cluster()
    cluster.run(1, Operation(operations.PUT, KEY, b"v" * 1000))
    appends = [Operation(operations.APPEND, KEY, b"x") for _ in range(60)]
    for append in appends:
        cluster.submit(1, append)
    chain = cluster.engine(1).proposer.chains[KEY]
    assert len(chain.flights) == 8
    assert len(chain.waiting) == 52
    cluster.settle()
    assert [cluster.result(append).value for append in appends] == list(range(1001, 1061))  # type: ignore[union-attr]
    assert KEY not in cluster.engine(1).proposer.chains


def test_what_waits_behind_a_full_chain_goes_on_when_one_of_its_steps_is_chosen() -> None:
    cluster = Cluster()
    cluster.run(1, Operation(operations.PUT, KEY, b""))
    appends = [Operation(operations.APPEND, KEY, b"x") for _ in range(10)]
    for append in appends:
        cluster.submit(1, append)
    assert len(cluster.of(1, 2, Proposals)) == 8
    # Node 2 has the first, and so has a majority of disks.
    cluster.commit(1)
    cluster.deliver(cluster.of(1, 2, Proposals)[0])
    cluster.commit(2)
    cluster.deliver(cluster.of(2, 1)[0])
    assert cluster.result(appends[0]) is not None
    assert not cluster.engine(1).proposer.chains[KEY].waiting
    cluster.settle()
    assert all(cluster.result(append) is not None for append in appends)


def test_a_turn_proposes_only_so_much_and_the_next_goes_on_at_once() -> None:
    """All its votes are one row of the journal; of a gigabyte SQLite would have refused it, which ended the node."""
    cluster = Cluster()
    keys = [b"%d" % number for number in range(40)]
    for key in keys:
        cluster.run(1, Operation(operations.PUT, key, b"v" * (MEGABYTE - 10)))
    appends = [Operation(operations.APPEND, key, b"x") for key in keys]
    cluster.submit(1, *appends)
    [(_, row)] = cluster.nodes[1].disk.queued
    assert 32 * MEGABYTE < sum(map(len, row)) < 35 * MEGABYTE
    assert cluster.engine(1).deadline() == cluster.now
    cluster.settle()
    assert {cluster.result(append).value for append in appends} == {MEGABYTE - 9}  # type: ignore[union-attr]
    assert all(sum(map(len, row)) < 35 * MEGABYTE for row in cluster.nodes[1].disk.rows)


def test_a_turns_relays_and_answers_to_them_are_cut_so_that_each_fits_a_frame() -> None:
    cluster = Cluster()
    engine = cluster.engine(1)
    mail = engine.proposer._mail
    value = b"v" * MEGABYTE
    for number in range(1, 5):
        put = Operation(operations.PUT, b"%d" % number, value)
        mail.relay(2, number, put.key, ballots.make_ballot(1, 2), [put])
        mail.answer(3, number, 0, [Result(operations.OK, value, 1, 0)] * 2)
    sends = engine.take_effects().sends
    relays, answers = sizes(sends[2], Relays), sizes(sends[3], RelayAnswers)
    assert max(relays + answers) < FRAME_BYTES_MAX
    assert sum(relays) > 4 * MEGABYTE
    assert sum(answers) > 8 * MEGABYTE


def test_a_relay_takes_nothing_new_along_where_what_is_in_doubt_fills_it() -> None:
    value = b"v" * MEGABYTE
    cas = Operation(operations.CAS, KEY, value, value)
    put = Operation(operations.PUT, KEY, value)
    small = Operation(operations.PUT, KEY, b"v")
    assert fitting([cas], [put]) == 0
    assert fitting([], [cas, put]) == 1
    assert fitting([small], [small, small, put]) == 2
    assert not is_too_much([cas], MEGABYTE)
    assert is_too_much([cas, put], MEGABYTE)


def test_two_nodes_whose_clients_put_large_values_on_one_key_both_get_through() -> None:
    """What is in doubt is relayed as long as a frame holds it. Taking the key back each time starved one of them."""
    cluster = Cluster(seed=1)
    value = b"v" * 150_000
    cluster.run(1, Operation(operations.PUT, KEY, value))
    under_way: dict[int, list[Operation]] = {1: [], 2: []}
    done = {1: 0, 2: 0}
    for _ in range(150):
        cluster.now += 0.001
        for number in cluster.nodes:
            deadline = cluster.engine(number).deadline()
            if deadline is not None and deadline <= cluster.now:
                cluster.engine(number).tick(cluster.now)
                cluster.turn(number)
        for packet in cluster.packets[:]:
            cluster.deliver(packet)
        for number in cluster.nodes:
            while cluster.commit(number):
                pass
        for number, puts in under_way.items():
            results = {put: cluster.result(put) for put in puts}
            done[number] += sum(result is not None and result.status == operations.OK for result in results.values())
            under_way[number] = [put for put, result in results.items() if result is None]
            new = [
                Operation(operations.PUT, KEY, value, deadline=cluster.now + 0.5)
                for _ in range(2 - len(under_way[number]))
            ]
            under_way[number] += new
            cluster.submit(number, *new)
        cluster.answers = cluster.answers[-8:]
    assert min(done.values()) > 10, done


def test_votes_that_are_made_again_are_bounded_too() -> None:
    """A disk that was stalled gets what is open in portions, and not as one row."""
    cluster = Cluster()
    keys = [b"%d" % number for number in range(60)]
    for key in keys:
        cluster.run(1, Operation(operations.PUT, key, b"v" * (MEGABYTE - 10)))
    engine = cluster.engine(1)
    engine.proposer.voting = False
    puts = [Operation(operations.PUT, key, b"w" * (MEGABYTE - 10)) for key in keys]
    for put in puts:
        engine.submit([put], cluster.now)
        engine.proposer.advance()
        engine.proposer.end_turn()
    engine.take_effects()
    cluster.tick(10.0, 1)
    [(_, row)] = cluster.nodes[1].disk.queued
    assert sum(map(len, row)) < 35 * MEGABYTE


def test_more_in_doubt_than_a_relay_carries_is_not_relayed_but_the_key_taken() -> None:
    cluster = Cluster()
    cluster.run(1, Operation(operations.PUT, KEY, b"v"))
    puts = [Operation(operations.PUT, KEY, b"%d" % number + b"v" * (MEGABYTE - 1)) for number in range(8)]
    for put in puts:
        cluster.submit(1, put)
    other = Operation(operations.PUT, KEY, b"other's")
    cluster.submit(2, other)
    for packet in cluster.of(2, 1, Proposals) + cluster.of(2, 3, Proposals):
        cluster.deliver(packet)
    while cluster.packets or any(node.disk.queued for node in cluster.nodes.values()):
        assert all(len(packet.frame) < FRAME_BYTES_MAX for packet in cluster.packets)
        if cluster.packets:
            cluster.deliver(cluster.packets[0])
        for number in cluster.nodes:
            cluster.commit(number)
    cluster.settle()
    assert cluster.engine(1).proposer.counters["preemptions"]
    assert all(cluster.result(put) is not None for put in [*puts, other])


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [([], [[]]), ([9], [[9]]), ([9 << 20, 1], [[9 << 20], [1]]), ([100_000] * 3, [[100_000] * 2, [100_000]])],
)
def test_messages_carry_as_much_as_fits_and_one_at_least(sizes: list[int], parts: list[list[int]]) -> None:
    assert [list(part) for part in cut(sizes, lambda size: size)] == parts


def test_fetches_of_many_long_keys_are_cut() -> None:
    cluster = Cluster()
    engine = cluster.engine(1)
    engine.reader._fetch_items[2] = [Fetch(number, b"%04d" % number + b"k" * 1020) for number in range(3200)]
    sent = sizes(engine.take_effects().sends[2], Fetches)
    assert max(sent) < FRAME_BYTES_MAX
    assert sum(sent) > 3200 * 1024


def accept(number: int, key: bytes, value: bytes) -> Proposals:
    said = Register()
    said.value = value
    version = ballots.make_ballot(1, 2) << ballots.STEP_BITS | number
    return Proposals(number, (), (), (), (key,), (version,), (encode(said),))


def alone(**more: Any) -> PaxosEngine:
    """Node 1 of three, which has heard of node 2."""
    engine = PaxosEngine(1, 1, EveryNode((1, 2, 3)), random.Random(0), **more)
    engine.recover([])
    engine.take_effects()
    engine.peer_up(2, 1, 1.0)
    return engine


def test_what_waits_for_one_record_fits_a_row_of_the_journal() -> None:
    """All of it is voted on when the record comes. Of a gigabyte SQLite would have refused the row."""
    engine = alone()
    for number in range(1, 101):
        engine.receive(2, [accept(number, b"cold", b"v" * MEGABYTE)], 1.0)
        engine.take_effects()
    assert engine.counters["parked_dropped"] > 60
    engine.loaded({b"cold": None}, 2.0)
    journal = engine.take_effects().journal
    assert 20 < len(journal) < 34
    engine.receive(2, [accept(101, b"another", b"v")], 3.0)
    assert engine.counters["ignored_while_disk_hangs"] == 0, "it just fits what may be on its way to the disk"
    engine.loaded({b"another": None}, 4.0)
    assert engine.take_effects().journal


@pytest.mark.parametrize("kind", ["accept", "prepare"])
def test_what_is_on_its_way_to_a_disk_that_hangs_counts_with_all_that_it_costs(kind: str) -> None:
    """Small values of new keys, or promises: their records cost many times what their registers do."""
    engine = alone(empty=True)
    count = 0
    while not engine.muted:
        keys = tuple([b"%08d" % (count + number) for number in range(100)])
        if kind == "accept":
            versions = (ballots.make_ballot(1, 2) << ballots.STEP_BITS | 1,) * 100
            message = Proposals(count, (), (), (), keys, versions, (encode(Register()),) * 100)
        else:
            message = Proposals(count, keys, (ballots.make_ballot(1, 2),) * 100, (0,) * 100, (), (), ())
        engine.receive(2, [message], 1.0)
        engine.take_effects()
        count += 100
    assert 20_000 < count < 100_000


def test_a_key_whose_rounds_are_used_up_fails_and_nothing_else_does() -> None:
    """A node had proposed beyond what anybody decodes: peers hung up, and its own journal could not be replayed."""
    cluster = Cluster(watched=False)
    operation = Operation(operations.PUT, KEY, b"v", deadline=cluster.now + 1)
    cluster.submit(1, operation)
    [prepare] = cluster.of(1, 2, Proposals)
    last = ballots.make_ballot(ballots.ROUND_MAX, 2)
    said = cluster.engine(1)
    said.receive(2, [Refused(prepare.message.number, (Refusal(KEY, last, False),))], cluster.now)
    cluster.turn(1)
    cluster.settle(3)
    result = cluster.result(operation)
    assert result is not None
    assert result.status >= operations.ERROR_STATUS_MIN
    assert cluster.run(1, Operation(operations.PUT, b"other", b"v")).status == operations.OK


def test_a_disk_that_does_not_read_is_asked_for_no_more_than_so_many_records() -> None:
    """A node whose disk hangs goes on through the others for as long as it takes, with ever more keys."""
    engine = alone(capacity=Capacity(loads=10))
    loads: list[bytes] = []
    for number in range(100):
        now = 1.0 + number
        operation = Operation(operations.GET, b"%d" % number, deadline=now + 0.5)
        engine.submit([operation], now)
        engine.receive(2, [accept(number + 1, b"other %d" % number, b"v")], now)
        loads += engine.take_effects().loads
        engine.tick(now + 0.9)
        loads += engine.take_effects().loads
    assert len(loads) == 10
    engine.tick(150.0)
    engine.take_effects()
    assert engine.context.in_flight == 0
    engine.loaded(dict.fromkeys(loads), 200.0)
    engine.submit([Operation(operations.GET, b"99", deadline=300.0)], 200.0)
    assert engine.take_effects().loads == [b"99"]


def test_what_was_replayed_is_no_backlog() -> None:
    engine = PaxosEngine(1, 2, EveryNode((1, 2, 3)), random.Random(0), empty=True)
    for number in range(1, 41):
        engine.recover([accept(number, b"k", b"v" * MEGABYTE)])
    engine.take_effects()
    engine.peer_up(2, 1, 1.0)
    for number in (100, 101):
        engine.receive(2, [accept(number, b"k", b"v")], 1.0)
        assert engine.take_effects().journal


def test_keys_once_found_expired_are_forgotten_though_reads_never_cease() -> None:
    cluster = Cluster()
    engine = cluster.engine(1)
    for number in range(20):
        cluster.run(1, Operation(operations.PUT, b"%d" % number, b"v", expiry=1000 * number + 1000))
        engine.wall(1000 * number + 1000)
        read = Operation(operations.GET, b"%d" % number)
        cluster.submit(1, read)
        while cluster.result(read) is None:
            # There always is another one under way, so no moment at which nothing is.
            cluster.submit(1, Operation(operations.GET, b"other"))
            cluster.deliver(cluster.packets[0])
            for node in cluster.nodes:
                cluster.commit(node)
        cluster.tick(10.0)
    assert len(engine.reader._expired) < 3
