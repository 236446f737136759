"""A network in virtual time: it delays, loses, duplicates and reorders frames, and comes apart."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paxoskv.sim.configuration import Wire
from paxoskv.sim.timeline import Timeline


@dataclass(slots=True)
class _Link:
    """One direction between two nodes."""

    cuts: int = 0
    """How many faults hold it cut."""
    slow_s: float = 0.0
    loss: float = 0.0
    last_arrival: float = 0.0


class Observer(Protocol):
    """Who is told of what frames go through, for a trace."""

    def sent(self, identifier: int, source: int, target: int, frame: bytes) -> None: ...
    def dropped(self, identifier: int, source: int, target: int, reason: str) -> None: ...


class Network:
    """Every direction between two nodes is a link of its own, so it can be cut one way."""

    def __init__(
        self,
        timeline: Timeline,
        rng: random.Random,
        wire: Wire,
        deliver: Callable[[int, int, int, bytes], None],
        observer: Observer | None = None,
    ) -> None:
        """`deliver` is called with frame's number, source, target and bytes when it arrives."""
        self.frames = 0
        self.lost = 0
        self.duplicated = 0
        self._timeline = timeline
        self._rng = rng
        self._wire = wire
        self._deliver = deliver
        self._observer = observer
        self._links: dict[tuple[int, int], _Link] = {}
        self._healed = False

    def link(self, source: int, target: int) -> _Link:
        """The link in that direction."""
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = _Link()
        return link

    def send(self, source: int, target: int, frame: bytes) -> None:
        """Take a frame, and deliver it once, never, or twice."""
        self.frames += 1
        identifier = self.frames
        link = self.link(source, target)
        if self._observer is not None:
            self._observer.sent(identifier, source, target, frame)
        rng = self._rng
        loss = 0.0 if self._healed else self._wire.loss + link.loss
        if link.cuts or (loss and rng.random() < loss):
            self.lost += 1
            if self._observer is not None:
                self._observer.dropped(identifier, source, target, "cut" if link.cuts else "lost")
            return
        self._carry(link, identifier, source, target, frame)
        if not self._healed and self._wire.duplicate and rng.random() < self._wire.duplicate:
            self.duplicated += 1
            self._carry(link, identifier, source, target, frame)

    def _carry(self, link: _Link, identifier: int, source: int, target: int, frame: bytes) -> None:
        wire = self._wire
        rng = self._rng
        shortest = wire.delay_s_min
        delay = shortest + (wire.delay_s_max - shortest) * rng.random() + link.slow_s
        if not self._healed and wire.straggle and rng.random() < wire.straggle:
            delay *= wire.straggle_times
        if wire.in_order:
            now = self._timeline.now
            link.last_arrival = max(link.last_arrival, now + delay)
            delay = link.last_arrival - now
        self._timeline.after(delay, self._deliver, identifier, source, target, frame)

    def heal(self) -> None:
        """From now on every frame arrives, once, and none is late."""
        self._healed = True
        assert not any(link.cuts for link in self._links.values()), "every fault has ended"
        for link in self._links.values():
            # Connections are made anew: what comes now does not queue behind what is late.
            link.last_arrival = 0.0
