"""The engines that a node can run, by the mode in cluster.toml."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from paxoskv.core.engine import Engine
from paxoskv.core.limits import Capacity
from paxoskv.core.placement import EveryNode
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.raft.engine import RaftEngine
from paxoskv.server.config import ClusterConfig, Options
from paxoskv.storage.contract import Storage
from paxoskv.wire import paxos, peer, raft


@dataclass(frozen=True, slots=True)
class Mode:
    """One engine, and its messages as bytes."""

    codec: peer.Codec[Any]
    build: Callable[[ClusterConfig, int, Options, Storage], Engine[Any]]


def _paxos(config: ClusterConfig, number: int, options: Options, storage: Storage) -> Engine[Any]:
    return PaxosEngine(
        number,
        storage.incarnation,
        EveryNode(tuple(config.nodes)),
        random.Random(),
        cache_bytes=options.cache_bytes,
        value_bytes_max=config.limits.value_bytes_max,
        capacity=Capacity(operations=options.operations_max),
        empty=storage.record_count == 0,
        sweeps=True,
    )


def _raft(config: ClusterConfig, number: int, options: Options, storage: Storage) -> Engine[Any]:
    return RaftEngine(
        number,
        storage.incarnation,
        tuple(config.nodes),
        random.Random(),
        cache_bytes=options.cache_bytes,
        value_bytes_max=config.limits.value_bytes_max,
        capacity=Capacity(operations=options.operations_max),
        lease_reads=options.lease_reads,
        empty=storage.record_count == 0,
        sweeps=True,
    )


MODES: Final[Mapping[str, Mode]] = {"paxos": Mode(paxos.CODEC, _paxos), "raft": Mode(raft.CODEC, _raft)}
