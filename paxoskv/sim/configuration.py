"""What a universe is like: drawn from its seed, or a smaller relative of what was drawn.

Every part of a universe has a generator of its own, seeded by the seed and the part's name, so that a smaller
configuration of the same seed changes as little as possible elsewhere.
"""

import random
from dataclasses import dataclass, replace
from typing import Final

from paxoskv.core.limits import Capacity
from paxoskv.workload import MIXES

OPERATIONS_DEFAULT: Final = 300

CRASH: Final = "crash"
CRASH_IN_TURN: Final = "crash-in-turn"
PAUSE: Final = "pause"
PARTITION: Final = "partition"
CUT_ONE_WAY: Final = "cut-one-way"
FLAP: Final = "flap"
SLOW_LINK: Final = "slow-link"
LOSSY_LINK: Final = "lossy-link"
DISK_STALL: Final = "disk-stall"
DISK_FULL: Final = "disk-full"
DISK_FAILURE: Final = "disk-failure"
CLOCK_JUMP: Final = "clock-jump"
TRANSFER: Final = "transfer"

LEADER: Final = 0
"""In place of a node's number: whoever leads when the fault strikes."""
AT_ELECTION: Final = -1
"""In place of an operation's: when somebody is elected next. Each election takes one such fault, in their order."""

# How often each is drawn. Crashes between the effects of one turn, and quick restarts, are what finds the most.
_FAULT_WEIGHTS: Final = {
    CRASH: 4,
    CRASH_IN_TURN: 8,
    PAUSE: 3,
    PARTITION: 4,
    CUT_ONE_WAY: 4,
    FLAP: 2,
    SLOW_LINK: 3,
    LOSSY_LINK: 4,
    DISK_STALL: 4,
    DISK_FULL: 1,
    DISK_FAILURE: 2,
    CLOCK_JUMP: 1,
}
_RAFT_FAULT_WEIGHTS: Final = {**_FAULT_WEIGHTS, TRANSFER: 3}


def fault_kinds(mode: str) -> tuple[str, ...]:
    """What can go wrong in a mode's universes."""
    return tuple(_RAFT_FAULT_WEIGHTS if mode == "raft" else _FAULT_WEIGHTS)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong `delay_s` after the universe's operation number `operation` was issued.

    It lasts `lasts_s`: until a restart, a resumption, a healed link, a disk that works again. `peer` is the other end
    of a link, where it has one; `amount` what the kind makes of it, from 0 to 1. `node` may be LEADER, `operation`
    AT_ELECTION.
    """

    kind: str
    operation: int
    delay_s: float
    lasts_s: float
    node: int
    peer: int
    amount: float


@dataclass(frozen=True, slots=True)
class Wire:
    """How the network treats frames when nothing is wrong with it."""

    delay_s_min: float
    delay_s_max: float
    straggle: float
    """Probability of a delay that is `straggle_times` as long."""
    straggle_times: float
    loss: float
    duplicate: float
    in_order: bool


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that distinguishes one universe from another."""

    seed: int
    mode: str
    nodes: int
    operations: int
    clients: int
    keys: int
    workload: str
    reads: float
    """Share of plain reads in the workload."""
    hot: float
    """Probability that an operation goes to the first key whatever else is drawn."""
    sticky: float
    """Probability that a client stays with its node for the next operation."""
    expiring: float
    """Share of the puts whose values expire."""
    sweeps: bool
    """Nodes look for what has expired and nobody reads."""
    think_s: float
    timeout_s_min: float
    timeout_s_max: float
    wire: Wire
    commit_s_min: float
    commit_s_max: float
    turn_s: float
    """Longest time between an arrival and the turn that handles it."""
    homes: bool
    """Keys have homes, which begin them without asking."""
    cache_bytes: int
    journal_bytes: int
    """A checkpoint begins past this."""
    scanners: int
    """Further clients, that scan all keys, over and over; a page is one of the operations."""
    page_bytes: int
    """Of a page of a scan."""
    in_flight: int
    """Operations that a node takes at a time."""
    backlog_bytes: int
    """Of rows that wait for a node's disk; past it the node takes no more from others."""
    parked_messages: int
    """Of peers, that wait for a node's disk to read."""
    repairs: int
    """Keys of each peer that a node remembers to be behind."""
    unapplied_bytes: int
    """Raft: of entries that are committed and wait for records."""
    lag: int
    """Raft: entries that a node may be behind before it refuses its clients."""
    drift: float
    """Relative error of the nodes' clocks."""
    election_s: float
    """Raft: how long a follower waits for a leader; the other times are in proportion."""
    log_bytes: int
    """Raft: what is kept in memory of the log; a follower that lacks more gets a snapshot."""
    append_bytes: int
    """Raft: of entries in one message, and of records in one part of a snapshot."""
    window_messages: int
    """Raft: on their way to one follower."""
    lease_reads: bool
    """Raft: a leader that was heard by a majority lately reads by itself."""
    faults: tuple[Fault, ...]

    @property
    def capacity(self) -> Capacity:
        """Of every node's engine."""
        return Capacity(
            operations=self.in_flight,
            backlog_bytes=self.backlog_bytes,
            parked_messages=self.parked_messages,
            repairs=self.repairs,
            unapplied_bytes=self.unapplied_bytes,
            lag=self.lag,
            page_bytes=self.page_bytes,
        )


def draw(
    seed: int,
    mode: str = "paxos",
    nodes: int | None = None,
    operations: int = OPERATIONS_DEFAULT,
    faults: bool = True,
) -> Configuration:
    """The universe of a seed. `nodes` and `operations` overrule what would be drawn for them."""
    rng = random.Random(f"{seed} configuration")
    drawn = rng.choice((3, 3, 3, 3, 3, 5, 5, 1, 2, 4))
    count = nodes or drawn
    calm = rng.random() < 0.3
    delay = rng.choice((0.00005, 0.0002, 0.001, 0.005))
    commit = rng.choice((0.00005, 0.0003, 0.002, 0.01))
    configuration = Configuration(
        seed=seed,
        mode=mode,
        nodes=count,
        operations=operations,
        clients=rng.choice((2, 3, 4, 6, 8, 12, 24)),
        keys=rng.choice((1, 1, 2, 2, 3, 5, 12)),
        workload=rng.choice(list(MIXES)),
        reads=rng.choice((0.1, 0.2, 0.4, 0.7)),
        hot=rng.choice((0.0, 0.3, 0.8)),
        sticky=rng.choice((0.0, 0.5, 0.9, 1.0)),
        expiring=0.0,
        sweeps=False,
        think_s=rng.choice((0.0, 0.0005, 0.005)),
        timeout_s_min=rng.choice((0.02, 0.3)),
        timeout_s_max=rng.choice((0.5, 2.0)),
        wire=Wire(
            delay_s_min=delay * 0.5,
            delay_s_max=delay * rng.choice((1.1, 2, 10)),
            straggle=rng.choice((0.0, 0.0, 0.01, 0.05)),
            straggle_times=20.0,
            loss=0.0 if calm else rng.choice((0.0, 0.0, 0.01, 0.05)),
            duplicate=0.0 if calm else rng.choice((0.0, 0.02, 0.15)),
            in_order=calm or rng.random() < 0.4,
        ),
        commit_s_min=commit * 0.5,
        commit_s_max=commit * rng.choice((1.1, 2, 10)),
        turn_s=rng.choice((0.0, 0.00005, 0.0005)),
        homes=False,
        **{
            "cache_bytes": rng.choice((1 << 28, 1 << 28, 1500, 4000)),
            "journal_bytes": rng.choice((1 << 25, 20_000, 2_000)),
            **_draw_capacity(seed, mode),
        },
        drift=rng.choice((0.0, 0.0001, 0.05)),
        election_s=0.0,
        log_bytes=0,
        append_bytes=0,
        window_messages=0,
        lease_reads=False,
        faults=(),
    )
    if configuration.workload == "register":
        # Of what it is made of only puts can set an expiry, and nothing keeps one: so it is known of every version.
        expiry = random.Random(f"{seed} expiry")
        expiring = expiry.choice((0.0, 0.3, 1.0))
        configuration = replace(configuration, expiring=expiring, sweeps=bool(expiring) and expiry.random() < 0.5)
    if mode == "raft":
        configuration = _draw_raft(seed, configuration)
    else:
        # A key is begun once: where there are many, that goes on all the time. Where none has a home, all have to be
        # asked for.
        begun = random.Random(f"{seed} homes")
        if begun.random() < 0.5:
            configuration = replace(configuration, homes=True, keys=begun.choice((configuration.keys, 12, 40)))
    if faults:
        configuration = replace(configuration, faults=_draw_faults(seed, configuration))
    return configuration


def _draw_capacity(seed: int, mode: str) -> dict[str, int]:
    """Room for everything in most universes, and for next to nothing in some."""
    rng = random.Random(f"{seed} capacity")
    usual = Capacity()
    found = {
        "scanners": rng.choice((0, 0, 0, 1, 2)),
        "page_bytes": rng.choice((usual.page_bytes, 200, 1)),
        "in_flight": rng.choice((*[usual.operations] * 7, 4)),
        # The leaderless engine counts what a change of a key costs beside its value, too.
        "backlog_bytes": rng.choice((*[usual.backlog_bytes] * 5, 1000 if mode == "raft" else 8000)),
        "parked_messages": rng.choice((*[usual.parked_messages] * 5, 1)),
        "repairs": rng.choice((*[usual.repairs] * 5, 1)),
        "unapplied_bytes": rng.choice((*[usual.unapplied_bytes] * 5, 100)),
        "lag": rng.choice((*[usual.lag] * 5, 3)),
    }
    if found["scanners"] and rng.random() < 0.5:
        # What is in memory, and what on the disk, changes while a page is made of both.
        found |= {"cache_bytes": 1500, "journal_bytes": 2_000}
    return found


def _draw_raft(seed: int, configuration: Configuration) -> Configuration:
    """What only a log cluster has."""
    rng = random.Random(f"{seed} raft")
    # An election takes two round trips and two commits. Who waits less for one never sees its end.
    wire = configuration.wire
    slowest = 2 * wire.delay_s_max + 2 * configuration.commit_s_max + 4 * configuration.turn_s
    election_s = max(rng.choice((0.01, 0.05, 0.4)), 2 * slowest)
    return replace(
        configuration,
        # Some clients think long enough for elections to pass between their operations, and some give up meanwhile.
        think_s=max(configuration.think_s, election_s * rng.choice((0.0, 0.0, 0.02, 0.1, 0.3))),
        timeout_s_min=min(configuration.timeout_s_min, election_s * rng.choice((0.3, 1.0, 10.0))),
        timeout_s_max=min(configuration.timeout_s_max, election_s * rng.choice((0.6, 2.0, 10.0, 100.0))),
        # Some messages are later than an election; none is so for ever.
        wire=replace(wire, straggle_times=rng.choice((20.0, 20.0, min(200.0, 1 / wire.delay_s_max)))),
        election_s=election_s,
        log_bytes=rng.choice((1 << 25, 2_000, 300, 50)),
        append_bytes=rng.choice((1 << 19, 1 << 19, 200, 1)),
        window_messages=rng.choice((128, 128, 1, 3)),
        # Leases stand on clocks that run at about the same speed.
        lease_reads=rng.random() < 0.2 and configuration.drift < 0.05,
    )


def _draw_faults(seed: int, configuration: Configuration) -> tuple[Fault, ...]:
    rng = random.Random(f"{seed} faults")
    by_weight = dict(_RAFT_FAULT_WEIGHTS if configuration.mode == "raft" else _FAULT_WEIGHTS)
    if configuration.lease_reads:
        del by_weight[CLOCK_JUMP]
    kinds = list(by_weight)
    weights = list(by_weight.values())
    if configuration.mode == "raft" and rng.random() < 0.3:
        return _draw_falling_leaders(rng, configuration)
    restarts = random.Random(f"{seed} restarts")
    if configuration.mode == "paxos" and configuration.nodes > 2 and restarts.random() < 0.08:
        return _draw_restarts(restarts, configuration)
    # A universe has a taste: a few kinds of fault, so that the same trouble meets itself.
    taste = rng.choices(kinds, weights, k=rng.choice((1, 2, 3, 6)))
    found = []
    for _ in range(rng.choice((0, 2, 5, 10, 20))):
        node = rng.randint(1, configuration.nodes)
        peer = rng.choice([other for other in range(1, configuration.nodes + 1) if other != node] or [node])
        fault = Fault(
            kind=rng.choice(taste),
            operation=rng.randrange(max(1, configuration.operations)),
            delay_s=rng.uniform(0, 0.003),
            lasts_s=rng.choice((0.001, 0.005, 0.03, 0.2)) * rng.uniform(0.5, 2),
            node=node,
            peer=peer,
            amount=rng.random(),
        )
        found.append(_with_an_eye_to_elections(rng, configuration, fault) if configuration.mode == "raft" else fault)
    return tuple(sorted(found, key=lambda fault: (fault.operation, fault.delay_s)))


def _with_an_eye_to_elections(rng: random.Random, configuration: Configuration, fault: Fault) -> Fault:
    """The same, but often of the leader, and often while the next one is being elected."""
    if rng.random() < 0.4:
        fault = replace(fault, node=LEADER)
    if rng.random() < 0.5:
        fault = replace(fault, delay_s=rng.uniform(0, 2 * configuration.election_s))
    if rng.random() < 0.3:
        fault = replace(fault, lasts_s=configuration.election_s * rng.choice((0.5, 1, 2, 4)))
    return fault


def _draw_falling_leaders(rng: random.Random, configuration: Configuration) -> tuple[Fault, ...]:
    """One leader after the other is gone soon after it was elected, and former ones come back.

    That is how entries of several terms come to lie on few disks each: the dissertation's figures 3.6 and 3.7.
    """
    kinds = rng.choice(
        ((CRASH_IN_TURN, CRASH), (CRASH_IN_TURN, CRASH), (CRASH_IN_TURN, PARTITION), (CRASH, PARTITION, CUT_ONE_WAY))
    )
    wire = configuration.wire
    soon_s = 4 * (wire.delay_s_max + configuration.commit_s_max)

    def fall(operation: int, delay_s: float) -> Fault:
        return Fault(
            kind=rng.choice(kinds),
            operation=operation,
            delay_s=delay_s,
            lasts_s=configuration.election_s * rng.choice((0.2, 0.6, 1.5, 3.0)) * rng.uniform(0.5, 2),
            node=LEADER,
            peer=rng.randint(1, configuration.nodes),
            amount=rng.random(),
        )

    first = sorted(rng.randrange(max(1, configuration.operations)) for _ in range(4))
    found = [fall(operation, 0.0) for operation in first]
    # At once: in the very turn in which it is elected, so that what opens its term may lie on its own disk alone.
    delays_s = (0.0, 0.0, soon_s / 2, soon_s, soon_s, 4 * configuration.election_s)
    found += [fall(AT_ELECTION, rng.uniform(0, rng.choice(delays_s))) for _ in range(rng.choice((6, 12, 24)))]
    return tuple(found)


def _draw_restarts(rng: random.Random, configuration: Configuration) -> tuple[Fault, ...]:
    """A node starts twice while another one's disk stalls, and is hardly heard of after that.

    Each incarnation numbers its batches from 1 on. So what the stalled disk holds back of the first one would do for
    the second, which asks for something else under the same number (B9).
    """
    wire = configuration.wire
    unit_s = 2 * (wire.delay_s_max + configuration.commit_s_max + configuration.turn_s)
    found = []
    for _ in range(rng.choice((3, 6, 12))):
        operation = rng.randrange(max(1, configuration.operations))
        node, stalled = rng.sample(range(1, configuration.nodes + 1), 2)
        again_s = unit_s * rng.uniform(1, 8)
        unheard_s = again_s + unit_s * rng.uniform(0.5, 4)
        stall_s = unheard_s + unit_s * rng.uniform(0.5, 6)
        first = Fault(CRASH, operation, 0.0, unit_s * rng.uniform(0.1, 0.5), node, stalled, amount=1.0)
        found += [
            first,
            replace(first, kind=DISK_STALL, node=stalled, lasts_s=stall_s),
            replace(first, delay_s=again_s, lasts_s=unit_s * rng.uniform(0.1, 0.5)),
            replace(
                first,
                kind=PARTITION,
                delay_s=stall_s + unit_s * rng.uniform(0.5, 3),
                lasts_s=unit_s * rng.uniform(3, 20),
            ),
        ]
        for other in range(1, configuration.nodes + 1):
            if other != node:
                lasts_s = stall_s - unheard_s + unit_s * rng.uniform(1, 4)
                found.append(replace(first, kind=LOSSY_LINK, delay_s=unheard_s, lasts_s=lasts_s, peer=other))
    return tuple(sorted(found, key=lambda fault: (fault.operation, fault.delay_s)))
