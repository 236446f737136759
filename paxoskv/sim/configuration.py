"""What a universe is like: drawn from its seed, or a smaller relative of what was drawn.

Every part of a universe has a generator of its own, seeded by the seed and the part's name, so that a smaller
configuration of the same seed changes as little as possible elsewhere.
"""

import random
from dataclasses import dataclass, replace
from typing import Final

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


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong `delay_s` after the universe's operation number `operation` was issued.

    It lasts `lasts_s`: until a restart, a resumption, a healed link, a disk that works again. `peer` is the other end
    of a link, where it has one; `amount` what the kind makes of it, from 0 to 1.
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
    """Probability of a delay twenty times as long."""
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
    think_s: float
    timeout_s_min: float
    timeout_s_max: float
    wire: Wire
    commit_s_min: float
    commit_s_max: float
    turn_s: float
    """Longest time between an arrival and the turn that handles it."""
    cache_bytes: int
    journal_bytes: int
    """A checkpoint begins past this."""
    drift: float
    """Relative error of the nodes' clocks."""
    faults: tuple[Fault, ...]


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
        think_s=rng.choice((0.0, 0.0005, 0.005)),
        timeout_s_min=rng.choice((0.02, 0.3)),
        timeout_s_max=rng.choice((0.5, 2.0)),
        wire=Wire(
            delay_s_min=delay * 0.5,
            delay_s_max=delay * rng.choice((1.1, 2, 10)),
            straggle=rng.choice((0.0, 0.0, 0.01, 0.05)),
            loss=0.0 if calm else rng.choice((0.0, 0.0, 0.01, 0.05)),
            duplicate=0.0 if calm else rng.choice((0.0, 0.02, 0.15)),
            in_order=calm or rng.random() < 0.4,
        ),
        commit_s_min=commit * 0.5,
        commit_s_max=commit * rng.choice((1.1, 2, 10)),
        turn_s=rng.choice((0.0, 0.00005, 0.0005)),
        cache_bytes=rng.choice((1 << 28, 1 << 28, 1500, 4000)),
        journal_bytes=rng.choice((1 << 25, 20_000, 2_000)),
        drift=rng.choice((0.0, 0.0001, 0.05)),
        faults=(),
    )
    if faults:
        configuration = replace(configuration, faults=_draw_faults(seed, configuration))
    return configuration


def _draw_faults(seed: int, configuration: Configuration) -> tuple[Fault, ...]:
    rng = random.Random(f"{seed} faults")
    kinds = list(_FAULT_WEIGHTS)
    weights = list(_FAULT_WEIGHTS.values())
    # A universe has a taste: a few kinds of fault, so that the same trouble meets itself.
    taste = rng.choices(kinds, weights, k=rng.choice((1, 2, 3, 6)))
    found = []
    for _ in range(rng.choice((0, 2, 5, 10, 20))):
        node = rng.randint(1, configuration.nodes)
        peer = rng.choice([other for other in range(1, configuration.nodes + 1) if other != node] or [node])
        found.append(
            Fault(
                kind=rng.choice(taste),
                operation=rng.randrange(max(1, configuration.operations)),
                delay_s=rng.uniform(0, 0.003),
                lasts_s=rng.choice((0.001, 0.005, 0.03, 0.2)) * rng.uniform(0.5, 2),
                node=node,
                peer=peer,
                amount=rng.random(),
            )
        )
    return tuple(sorted(found, key=lambda fault: (fault.operation, fault.delay_s)))
