"""The log engine in the simulator."""

import random
from typing import Any

from paxoskv.core.engine import Engine
from paxoskv.raft import describe, records
from paxoskv.raft.context import Flow, Timing
from paxoskv.raft.engine import RaftEngine
from paxoskv.sim.configuration import Configuration
from paxoskv.sim.mode import VALUE_BYTES_MAX, Mode
from paxoskv.sim.properties import Properties
from paxoskv.wire import raft


def mode() -> Mode:
    """A fresh mode for one universe."""
    return Mode(
        raft.CODEC,
        _build,
        Properties(),
        _state,
        _leads,
        describe.message,
        _describe_state,
        quiet=False,
        describe_node=_describe_node,
    )


def _build(
    node: int,
    incarnation: int,
    nodes: tuple[int, ...],
    rng: random.Random,
    configuration: Configuration,
    empty: bool,
) -> Engine[Any]:
    default = Timing()
    scale = configuration.election_s / default.election_s
    return RaftEngine(
        node,
        incarnation,
        nodes,
        rng,
        timing=Timing(
            heartbeat_s=default.heartbeat_s * scale,
            election_s=configuration.election_s,
            resend_s=default.resend_s * scale,
            disk_patience_s=default.disk_patience_s * scale,
            clock_drift=default.clock_drift,
        ),
        flow=Flow(
            append_bytes=configuration.append_bytes,
            window_messages=configuration.window_messages,
            chunk_bytes=configuration.append_bytes,
        ),
        cache_bytes=configuration.cache_bytes,
        value_bytes_max=VALUE_BYTES_MAX,
        capacity=configuration.capacity,
        lease_reads=configuration.lease_reads,
        log_bytes=configuration.log_bytes,
        empty=empty,
        sweeps=configuration.sweeps,
    )


def _state(engine: Engine[Any], stored: bytes | None, key: bytes) -> object:
    assert isinstance(engine, RaftEngine)
    record = engine.records.resident.get(key)
    if record is not None:
        found: tuple[object, ...] = (record.value, record.version, record.expires_at)
    else:
        found = (None, 0, 0) if stored is None else records.parse(stored)
    # All of them have applied all of the log, too, and know who has asked for what.
    machine = engine.machine
    return found, engine.election.term, engine.log.last_index, machine.applied, tuple(sorted(machine.sessions.items()))


def _leads(engine: Engine[Any]) -> bool:
    assert isinstance(engine, RaftEngine)
    return engine.leader is not None


def _describe_state(engine: Engine[Any], key: bytes) -> dict[str, Any]:
    assert isinstance(engine, RaftEngine)
    return describe.record(engine, key)


def _describe_node(engine: Engine[Any]) -> dict[str, Any]:
    assert isinstance(engine, RaftEngine)
    return describe.node(engine)
