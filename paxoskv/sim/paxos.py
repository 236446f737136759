"""The leaderless engine in the simulator."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from paxoskv.core.engine import Effects, Engine
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import describe
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import Proposals
from paxoskv.paxos.records import Records
from paxoskv.sim.configuration import Configuration
from paxoskv.sim.mode import VALUE_BYTES_MAX, Mode
from paxoskv.wire import paxos


def mode() -> Mode:
    """A fresh mode for one universe."""
    return Mode(paxos.CODEC, _build, _Watch(), _state, None, describe.message, _describe_state, quiet=True)


def _build(
    node: int,
    incarnation: int,
    nodes: tuple[int, ...],
    rng: random.Random,
    configuration: Configuration,
    empty: bool,
) -> Engine[Any]:
    return PaxosEngine(
        node,
        incarnation,
        EveryNode(nodes, homes=configuration.homes),
        rng,
        cache_bytes=configuration.cache_bytes,
        value_bytes_max=VALUE_BYTES_MAX,
        capacity=configuration.capacity,
        empty=empty,
        sweeps=configuration.sweeps,
    )


class _Watch:
    """(A3) across nodes: a version never carries two registers. What a crash took before a disk had it and anybody else
    heard of it does not count: a key's first Accept is tried again under the same version (protocol.md section 3)."""

    def __init__(self) -> None:
        self._registers: dict[tuple[bytes, int], bytes] = {}
        self._queued: dict[int, list[tuple[int, Sequence[Any]]]] = defaultdict(list)
        """By node: (turn, messages) on their way to its disk."""

    def started(self, node: int, engine: Engine[Any]) -> None:
        self._queued[node].clear()

    def turn(self, node: int, engine: Engine[Any], effects: Effects[Any]) -> None:
        for messages in effects.sends.values():
            self._see(messages)

    def journaled(self, node: int, sequence: int, journal: Sequence[Any]) -> None:
        self._queued[node].append((sequence, journal))

    def committed(self, node: int, sequence: int) -> None:
        queued = self._queued[node]
        while queued and queued[0][0] <= sequence:
            self._see(queued.pop(0)[1])

    def _see(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if isinstance(message, Proposals):
                for key, version, encoded in zip(
                    message.accept_keys, message.accept_versions, message.accept_registers, strict=True
                ):
                    known = self._registers.setdefault((key, version), encoded)
                    assert known == encoded, f"(A3) version {version} of {key!r} carries two registers"


def _state(engine: Engine[Any], stored: bytes | None, key: bytes) -> object:
    assert isinstance(engine, PaxosEngine)
    record = engine.records.resident.get(key)
    if record is None:
        record = Records(0).admit(key, stored)
    return record.accepted, record.register


def _describe_state(engine: Engine[Any], key: bytes) -> dict[str, Any]:
    assert isinstance(engine, PaxosEngine)
    return describe.held(engine, key)
