"""What distinguishes one explored state from another, and nothing else: the same bytes for states that behave the same.

Here is what holds for any engine; `sim.paxos_canonical` and `sim.raft_canonical` know what each engine's parts mean.
"""

import hashlib
import itertools
import marshal
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable
from types import MethodType
from typing import Any, Final

_ATOMS: Final = frozenset((int, bytes, bool, float, str, type(None)))

# So many nodes are exchanged at the most, in six ways.
_FREE_MAX: Final = 3

Naming = tuple[int, ...]
"""By node, what it is called; 0, which is nobody, is called 0. Index it with a node."""


def namings(nodes: int, fixed: Collection[int] = ()) -> tuple[Naming, ...]:
    """The ways to exchange nodes 1 to `nodes` but those that are `fixed` for one another. The first changes nothing.

    Not all of them where there are many: each costs as much as telling two states apart.
    """
    free = [number for number in range(1, nodes + 1) if number not in fixed][:_FREE_MAX]
    found = []
    for called in itertools.permutations(free):
        names = list(range(nodes + 1))
        for number, name in zip(free, called, strict=True):
            names[number] = name
        found.append(tuple(names))
    return tuple(found)


class Walk(ABC):
    """From an engine through everything that it holds, each object once. Nodes go by the names that they are given."""

    def __init__(self, names: Naming) -> None:
        self.names = names
        self._met: dict[int, int] = {}

    @abstractmethod
    def attributes(self, kind: type, value: Any) -> Iterable[Any]:
        """What there is to say of an object, in an order that does not depend on the past."""

    @abstractmethod
    def mapping(self, value: dict[Any, Any]) -> Any:
        """What there is to say of a dictionary."""

    def by_node(self, value: dict[int, Any]) -> Any:
        """A dictionary whose keys are nodes."""
        names = self.names
        return tuple([(names[node], self.of(value[node])) for node in sorted(value, key=names.__getitem__)])

    def nodes(self, value: Iterable[int]) -> Any:
        """A set of nodes."""
        return tuple(sorted([self.names[node] for node in value]))

    def bits(self, value: int) -> Any:
        """A set of nodes, a bit for each."""
        return self.nodes([node for node in range(len(self.names)) if value >> node & 1])

    def of(self, value: Any) -> Any:
        """What there is to say of anything, as `digest` takes it."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is dict:
            return self.mapping(value)
        if isinstance(value, tuple | list | deque):
            return tuple([self.of(item) for item in value])
        if isinstance(value, set | frozenset):
            return tuple(sorted(value))
        if kind is MethodType:
            return None
        met = self._met.get(id(value))
        if met is not None:
            return b"again", met
        self._met[id(value)] = len(self._met)
        return (kind.__name__, *self.attributes(kind, value))


def attribute_names(kind: type, value: Any, ignored: frozenset[str]) -> list[str]:
    """The attributes of a class of which `value` is one, but for some; sorted."""
    names = {name for parent in kind.__mro__ for name in getattr(parent, "__slots__", ())}
    return sorted((names or set(value.__dict__)) - ignored)


def history(events: Iterable[tuple[int, Any]]) -> tuple[Any, ...]:
    """Calls between two returns have no order among them, nor have returns between two calls."""
    runs: list[list[Any]] = []
    last: bool | None = None
    for number, result in events:
        if (result is None) != last:
            last = result is None
            runs.append([])
        runs[-1].append((number, *(() if result is None else result)))
    return tuple([tuple(sorted(run, key=lambda event: event[0])) for run in runs])


def digest(found: Any) -> bytes:
    """Of tuples and atoms."""
    return hashlib.blake2b(marshal.dumps(found, 2), digest_size=16).digest()
