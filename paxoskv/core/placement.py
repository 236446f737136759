"""Which nodes vote on a key, how many of them make a quorum, and whose the key is at first."""

import zlib
from typing import NamedTuple, Protocol


class ReplicaSet(NamedTuple):
    """The voters of some keys, ascending, and the size of every quorum among them."""

    nodes: tuple[int, ...]
    quorum: int


class Placement(Protocol):
    """Says for every key who votes on it. Equal answers are the same object, so they group by identity."""

    def replicas(self, key: bytes) -> ReplicaSet: ...

    def home(self, key: bytes) -> int:
        """The one voter that may propose for the key at its initial ballot, without asking; 0 for none.

        All safety stands on it: the same at every node, and for ever (protocol.md section 3).
        """
        ...


def home_index(key: bytes, nodes: int) -> int:
    """Which of so many nodes, in their order, is a key's home. Clients go there as long as nothing is down."""
    return zlib.crc32(key) % nodes


class EveryNode:
    """All nodes vote on every key; a majority is a quorum. Without `homes`, every key has to be asked for."""

    def __init__(self, nodes: tuple[int, ...], *, homes: bool = True) -> None:
        self._homes = homes
        self._all = ReplicaSet(tuple(sorted(nodes)), len(nodes) // 2 + 1)

    def replicas(self, key: bytes) -> ReplicaSet:
        return self._all

    def home(self, key: bytes) -> int:
        nodes = self._all.nodes
        return nodes[home_index(key, len(nodes))] if self._homes else 0
