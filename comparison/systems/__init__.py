"""The systems that are compared, one file each."""

from typing import Final

from comparison.systems.contract import System
from comparison.systems.etcd import Etcd
from comparison.systems.gryadka import Gryadka
from comparison.systems.paxoskv import CompiledLeaderless, CompiledRaft, Leaderless, Raft
from comparison.systems.pysyncobj import PySyncObj
from comparison.systems.redis import Redis
from comparison.systems.zookeeper import ZooKeeper

ALL: Final[dict[str, type[System]]] = {
    kind.name: kind
    for kind in (Leaderless, CompiledLeaderless, Raft, CompiledRaft, Etcd, ZooKeeper, Gryadka, PySyncObj, Redis)
}
