"""What happened in a universe, in order: one JSON object a line, documented in docs/trace-format.md."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paxoskv.core.engine import Engine
from paxoskv.core.operations import KIND_NAMES
from paxoskv.sim.configuration import Configuration, Fault
from paxoskv.sim.mode import Mode
from paxoskv.sim.timeline import Timeline
from paxoskv.wire import framing, peer

if TYPE_CHECKING:
    from paxoskv.sim.universe import Call

VERSION = 1


class Trace:
    """Writes events through `write`, one line at a time."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._states: dict[tuple[int, bytes], dict[str, Any]] = {}

    def begin(self, timeline: Timeline, configuration: Configuration, mode: Mode) -> None:
        """The first line; the universe calls it."""
        self._timeline = timeline
        self._mode = mode
        self._keys = [b"%c" % (97 + index) for index in range(configuration.keys)]
        self._calls: dict[int, int] = {}
        self._event(
            "begin",
            version=VERSION,
            source="simulation",
            mode=configuration.mode,
            seed=configuration.seed,
            nodes=list(range(1, configuration.nodes + 1)),
        )

    def _event(self, event: str, **fields: Any) -> None:
        self._write(json.dumps({"t": round(self._timeline.now, 9), "e": event, **fields}, separators=(",", ":")))

    # Nodes.

    def started(self, node: int, incarnation: int) -> None:
        """A process runs."""
        self._event("start", node=node, incarnation=incarnation)

    def crashed(self, node: int) -> None:
        """A process is gone."""
        self._event("crash", node=node)
        for known in [known for known in self._states if known[0] == node]:
            del self._states[known]

    def journaled(self, node: int, sequence: int, size: int) -> None:
        """A row is on its way to the disk."""
        self._event("journal", node=node, sequence=sequence, bytes=size)

    def committed(self, node: int, sequence: int) -> None:
        """Everything up to that row is on the disk."""
        self._event("commit", node=node, sequence=sequence)

    def changed(self, node: int, engine: Engine[Any]) -> None:
        """After a turn: what it changed in what the engine holds."""
        for key in self._keys:
            state = self._mode.describe_state(engine, key)
            if state and self._states.get((node, key)) != state:
                self._states[node, key] = state
                self._event("state", node=node, key=_show(key), **state)

    # Frames.

    def sent(self, identifier: int, source: int, target: int, frame: bytes) -> None:
        """A frame has left."""
        _, encoded = peer.parse_frame(framing.unpack(frame[framing.LENGTH_BYTES :]))
        messages = [said for message in encoded for said in self._mode.describe(self._mode.codec.decode(message))]
        self._event("send", frame=identifier, source=source, target=target, bytes=len(frame), messages=messages)

    def received(self, identifier: int, source: int, target: int) -> None:
        """A frame has arrived, and was taken."""
        self._event("receive", frame=identifier, source=source, target=target)

    def dropped(self, identifier: int, source: int, target: int, reason: str) -> None:
        """A frame is lost: cut, lost, down, or stale."""
        self._event("drop", frame=identifier, source=source, target=target, reason=reason)

    # Clients and faults.

    def called(self, call: "Call") -> None:
        """A client asks."""
        self._calls[id(call)] = number = len(self._calls) + 1
        kind, key, argument, condition = call.request
        self._event(
            "call",
            call=number,
            client=call.process,
            node=call.node,
            kind=KIND_NAMES[kind],
            key=_show(key),
            argument=_show(argument),
            condition=_show(condition),
        )

    def completed(self, call: "Call") -> None:
        """A client has its answer, or gives up."""
        self._event(
            "return",
            call=self._calls[id(call)],
            outcome=call.outcome,
            status=call.status,
            value=_show(call.value),
            version=call.version,
        )

    def fault(self, fault: Fault, begins: bool) -> None:
        """A fault begins or ends."""
        self._event("fault" if begins else "heal", kind=fault.kind, node=fault.node, peer=fault.peer)

    def failed(self, kind: str, message: str) -> None:
        """The last line, when something was wrong."""
        self._event("failure", kind=kind, message=message)


def _show(value: bytes | int | None) -> str | int | None:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
