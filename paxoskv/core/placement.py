"""Which nodes vote on a key, and how many of them make a quorum."""

from typing import NamedTuple, Protocol


class ReplicaSet(NamedTuple):
    """The voters of some keys, ascending, and the size of every quorum among them."""

    nodes: tuple[int, ...]
    quorum: int


class Placement(Protocol):
    """Says for every key who votes on it. Equal answers are the same object, so they group by identity."""

    def replicas(self, key: bytes) -> ReplicaSet: ...


class EveryNode:
    """All nodes vote on every key; a majority is a quorum."""

    def __init__(self, nodes: tuple[int, ...]) -> None:
        self._all = ReplicaSet(tuple(sorted(nodes)), len(nodes) // 2 + 1)

    def replicas(self, key: bytes) -> ReplicaSet:
        return self._all
