"""The leaderless engine in the simulator."""

import random
from collections.abc import Sequence
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
        EveryNode(nodes),
        rng,
        cache_bytes=configuration.cache_bytes,
        value_bytes_max=VALUE_BYTES_MAX,
        capacity=configuration.capacity,
        empty=empty,
        sweeps=configuration.sweeps,
    )


class _Watch:
    """(A3) across nodes: a version never carries two registers."""

    def __init__(self) -> None:
        self._registers: dict[tuple[bytes, int], bytes] = {}

    def started(self, node: int, engine: Engine[Any]) -> None:
        pass

    def turn(self, node: int, engine: Engine[Any], effects: Effects[Any]) -> None:
        pass

    def journaled(self, node: int, sequence: int, journal: Sequence[Any]) -> None:
        for message in journal:
            assert isinstance(message, Proposals)
            for key, version, encoded in zip(
                message.accept_keys, message.accept_versions, message.accept_registers, strict=True
            ):
                known = self._registers.setdefault((key, version), encoded)
                assert known == encoded, f"(A3) version {version} of {key!r} carries two registers"

    def committed(self, node: int, sequence: int) -> None:
        pass


def _state(engine: Engine[Any], stored: bytes | None, key: bytes) -> object:
    assert isinstance(engine, PaxosEngine)
    record = engine.records.resident.get(key)
    if record is None:
        record = Records(0).admit(key, stored)
    return record.accepted, record.register


def _describe_state(engine: Engine[Any], key: bytes) -> dict[str, Any]:
    assert isinstance(engine, PaxosEngine)
    return describe.held(engine, key)
