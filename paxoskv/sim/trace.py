"""What happened in a universe, in order: one JSON object a line, documented in docs/trace-format.md."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paxoskv.core.engine import Engine
from paxoskv.core.operations import KIND_NAMES
from paxoskv.core.text import shown, text
from paxoskv.sim.configuration import Configuration, Fault
from paxoskv.sim.mode import Mode
from paxoskv.sim.timeline import Timeline
from paxoskv.trace.events import VERSION, Events
from paxoskv.wire import framing, peer
from paxoskv.workload import key_names

if TYPE_CHECKING:
    from paxoskv.sim.universe import Call


class Trace(Events):
    """Writes events through `write`, one line at a time."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__(write, lambda: self._timeline.now)

    def follow(self, timeline: Timeline, configuration: Configuration, mode: Mode) -> None:
        """Whose time it is, and what to look at."""
        self._timeline = timeline
        self._mode = mode
        self._keys = key_names(configuration.keys)
        self._calls: dict[int, int] = {}

    def begin(
        self, timeline: Timeline, configuration: Configuration, mode: Mode, title: str = "", explanation: str = ""
    ) -> None:
        """The first line; the universe calls it."""
        self.follow(timeline, configuration, mode)
        self.event(
            "begin",
            version=VERSION,
            source="simulation",
            mode=configuration.mode,
            seed=configuration.seed,
            nodes=list(range(1, configuration.nodes + 1)),
            **({"title": title, "text": explanation} if title else {}),
        )

    def changed(self, node: int, engine: Engine[Any]) -> None:
        """After a turn: what it changed in what the engine is and holds."""
        self.state(node, None, self._mode.describe_node(engine))
        for key in self._keys:
            self.state(node, text(key), self._mode.describe_state(engine, key))

    def sent(self, identifier: int, source: int, target: int, frame: bytes) -> None:
        """A frame has left."""
        _, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
        messages = [said for message in encoded for said in self._mode.describe(self._mode.codec.decode(message))]
        self.frame(identifier, source, target, len(frame), messages)

    # Clients and faults.

    def called(self, call: "Call") -> None:
        """A client asks."""
        self._calls[id(call)] = number = len(self._calls) + 1
        kind, key, argument, condition = call.request
        self.event(
            "call",
            call=number,
            client=call.process,
            node=call.node,
            kind=KIND_NAMES[kind] if call.page is None else "scan",
            key=shown(key),
            argument=shown(argument),
            condition=shown(condition),
        )

    def completed(self, call: "Call") -> None:
        """A client has its answer, or gives up."""
        self.event(
            "return",
            call=self._calls[id(call)],
            outcome=call.outcome,
            status=call.status,
            value=shown(call.value) if call.page is None else text(b" ".join([item.key for item in call.page.items])),
            version=call.version,
        )

    def fault(self, fault: Fault, begins: bool) -> None:
        """A fault begins or ends."""
        self.event("fault" if begins else "heal", kind=fault.kind, node=fault.node, peer=fault.peer)
