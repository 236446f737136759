"""The events of a trace, and how they are written. Who drives an engine calls these."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

VERSION: Final = 1

Fields = dict[str, Any]


class Events:
    """Writes events through `write`, one line at a time, without its end. `now` is the time of each, in seconds."""

    def __init__(self, write: Callable[[str], object], now: Callable[[], float]) -> None:
        self._write = write
        self._now = now
        self._states: dict[tuple[int, str | None], Fields] = {}

    def event(self, name: str, **fields: Any) -> None:
        """Any event."""
        self._write(json.dumps({"t": round(self._now(), 9), "e": name, **fields}, separators=(",", ":")))

    def forget(self) -> None:
        """Write every state again, when it next may have changed."""
        self._states.clear()

    @property
    def remembered(self) -> int:
        """How many states are compared with what comes."""
        return len(self._states)

    # Nodes.

    def started(self, node: int, incarnation: int) -> None:
        """A process runs."""
        self.event("start", node=node, incarnation=incarnation)

    def crashed(self, node: int) -> None:
        """A process is gone."""
        self.event("crash", node=node)
        for known in [known for known in self._states if known[0] == node]:
            del self._states[known]

    def journaled(self, node: int, sequence: int, size: int) -> None:
        """A row is on its way to the disk."""
        self.event("journal", node=node, sequence=sequence, bytes=size)

    def committed(self, node: int, sequence: int) -> None:
        """Everything up to that row is on the disk."""
        self.event("commit", node=node, sequence=sequence)

    def state(self, node: int, key: str | None, state: Fields) -> None:
        """What a node holds of a key, or is itself if `key` is None; written if it has changed."""
        if state and self._states.get((node, key)) != state:
            self._states[node, key] = state
            self.event("state", node=node, **({} if key is None else {"key": key}), **state)

    # Frames.

    def frame(self, frame: int | str, source: int, target: int, size: int, messages: Sequence[Fields]) -> None:
        """A frame has left."""
        self.event("send", frame=frame, source=source, target=target, bytes=size, messages=messages)

    def received(self, frame: int | str, source: int, target: int) -> None:
        """A frame has arrived, and was taken."""
        self.event("receive", frame=frame, source=source, target=target)

    def dropped(self, frame: int | str, source: int, target: int, reason: str) -> None:
        """A frame is lost: cut, lost, down, or stale."""
        self.event("drop", frame=frame, source=source, target=target, reason=reason)

    # What was wrong.

    def failed(self, kind: str, message: str, calls: Sequence[int] = ()) -> None:
        """The last line, when something was wrong; `calls` are those that prove it."""
        self.event("failure", kind=kind, message=message, **({"calls": list(calls)} if calls else {}))
