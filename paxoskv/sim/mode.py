"""What the simulator has to know of an engine beyond its contract: how to build, to watch and to show one."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paxoskv.core.engine import Effects, Engine
from paxoskv.sim.configuration import Configuration
from paxoskv.wire import peer

VALUE_BYTES_MAX = 1 << 20

Build = Callable[[int, int, tuple[int, ...], random.Random, Configuration, bool], Engine[Any]]
"""(node, incarnation, all nodes, generator, configuration, whether storage has no records)."""


class Watch(Protocol):
    """Sees what all nodes do, and asserts what no single one can: raises AssertionError."""

    def started(self, node: int, engine: Engine[Any]) -> None:
        """A process has recovered from its disk."""

    def turn(self, node: int, engine: Engine[Any], effects: Effects[Any]) -> None:
        """A turn has ended, and nothing of what it decided was done yet."""

    def journaled(self, node: int, sequence: int, journal: Sequence[Any]) -> None:
        """A row is on its way to the disk."""

    def committed(self, node: int, sequence: int) -> None:
        """Every row up to that one is on the disk."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One engine, for the length of one universe."""

    codec: peer.Codec[Any]
    build: Build
    watch: Watch
    state: Callable[[Engine[Any], bytes | None, bytes], object]
    """(engine, record on its disk, key): what a replica has of the key; equal when replicas have converged."""
    leads: Callable[[Engine[Any]], bool] | None
    """Whether a node leads; None where nobody does. Without a leader no request gets anywhere, so clients wait for one
    at the start, and faults look for it."""
    describe: Callable[[Any], list[dict[str, Any]]]
    """What a message says, for a trace."""
    describe_state: Callable[[Engine[Any], bytes], dict[str, Any]]
    """What an engine holds of a key, for a trace."""
    quiet: bool
    """An engine that has nothing to do wants no tick. Not so where a leader's heartbeats never end."""
    describe_node: Callable[[Engine[Any]], dict[str, Any]] = lambda engine: {}
    """What an engine is itself, whatever the key, for a trace."""
