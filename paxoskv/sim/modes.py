"""What the simulator has to know of an engine beyond its contract: how to build and to watch one."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paxoskv.core.engine import Engine
from paxoskv.core.placement import EveryNode
from paxoskv.paxos import describe
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import Proposals
from paxoskv.paxos.records import Records
from paxoskv.sim.configuration import Configuration
from paxoskv.wire import paxos, peer

VALUE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Mode:
    """One engine, for the length of one universe."""

    codec: peer.Codec[Any]
    build: Callable[[int, int, tuple[int, ...], random.Random, Configuration, bool], Engine[Any]]
    """(node, incarnation, all nodes, generator, configuration, whether storage has no records)."""
    observe: Callable[[int, Sequence[Any]], None]
    """Sees what each node journals, and asserts what no single node can."""
    state: Callable[[Engine[Any], bytes | None, bytes], object]
    """(engine, record on its disk, key): what a replica has of the key; equal when replicas have converged."""
    describe: Callable[[Any], list[dict[str, Any]]]
    """What a message says, for a trace."""
    describe_state: Callable[[Engine[Any], bytes], dict[str, Any]]
    """What an engine holds of a key, for a trace."""
    quiet: bool
    """An engine that has nothing to do wants no tick. Not so where a leader's heartbeats never end."""
    describe_node: Callable[[Engine[Any]], dict[str, Any]] = lambda engine: {}
    """What an engine is itself, whatever the key, for a trace."""


def _paxos() -> Mode:
    registers: dict[tuple[bytes, int], bytes] = {}

    def build(
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
            empty=empty,
        )

    def observe(node: int, journal: Sequence[Any]) -> None:
        for message in journal:
            assert isinstance(message, Proposals)
            for key, version, encoded in zip(
                message.accept_keys, message.accept_versions, message.accept_registers, strict=True
            ):
                known = registers.setdefault((key, version), encoded)
                assert known == encoded, f"(A3) version {version} of {key!r} carries two registers"

    return Mode(paxos.CODEC, build, observe, _paxos_state, describe.message, _describe_paxos_state, quiet=True)


def _paxos_state(engine: Engine[Any], stored: bytes | None, key: bytes) -> object:
    assert isinstance(engine, PaxosEngine)
    record = engine.records.resident.get(key)
    if record is None:
        record = Records(0).admit(key, stored)
    return record.accepted, record.register


def _describe_paxos_state(engine: Engine[Any], key: bytes) -> dict[str, Any]:
    assert isinstance(engine, PaxosEngine)
    record = engine.records.resident.get(key)
    return {} if record is None else describe.record(record)


_MODES: Mapping[str, Callable[[], Mode]] = {"paxos": _paxos}
NAMES = tuple(_MODES)


def mode_of(name: str) -> Mode:
    """A fresh mode for one universe."""
    return _MODES[name]()
