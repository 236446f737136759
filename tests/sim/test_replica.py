"""The driver of one engine, in virtual time."""

import random
from dataclasses import replace
from typing import Any

from paxoskv.core.engine import Effects
from paxoskv.paxos.messages import Message
from paxoskv.sim.configuration import draw
from paxoskv.sim.modes import mode_of
from paxoskv.sim.network import Network
from paxoskv.sim.replica import Replica
from paxoskv.sim.timeline import Timeline

_TICKS = 10_000


class _Sleeper:
    """An engine that wants a tick at one moment after another, and takes none before."""

    wants_checkpoint = False

    def __init__(self) -> None:
        self._rng = random.Random("deadlines")
        self._wanted = 0.0
        self.ticks = 0

    def recover(self, journal: Any) -> list[bytes]:
        return []

    def wall(self, milliseconds: int) -> None:
        pass

    def tick(self, now: float) -> None:
        if now >= self._wanted:
            self.ticks += 1
            self._wanted = now + self._rng.uniform(0, 2)

    def deadline(self) -> float:
        return self._wanted

    def take_effects(self) -> Effects[Message]:
        return Effects()


def test_a_tick_is_not_for_ever_too_early_by_a_rounding_error() -> None:
    """Virtual time stood still then, and the universe did not end."""
    configuration = replace(draw(0, "raft", 3), turn_s=0.0, drift=1e-4)
    engine: Any = _Sleeper()
    mode = replace(mode_of("paxos"), build=lambda *_: engine)
    timeline = Timeline()
    rng = random.Random("clock")
    network = Network(timeline, rng, configuration.wire, lambda *_: None)
    replica = Replica(1, configuration, mode, timeline, network, rng, None)
    replica.start()
    # Two steps for a tick: its time has come, and the turn. Four, where that was a little too early.
    timeline.run(float("inf"), lambda: engine.ticks >= _TICKS or timeline.steps > 4 * _TICKS)
    assert engine.ticks == _TICKS
