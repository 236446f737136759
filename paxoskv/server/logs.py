"""One line for each event that a person may need: time, level, and name=value pairs, the node and the event first.

2026-11-24T10:00:00.123Z info node=2 event="peer connected" peer=3 incarnation=1

A thread of its own writes them. Whoever should read the other end of standard error may not, and a file may lie on a
disk that hangs, the node's own for one: the node goes on, and what comes on top of some lines meanwhile is counted and
dropped.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from typing import Any, Final

# Of one value: whatever somebody sent, a line stays one that can be read.
_CHARACTERS_MAX = 1000
_LINES_MAX: Final = 1000
LEVELS: Final = ("debug", "info", "warning", "error")


class NodeLog:
    """The log of one node, on standard error."""

    def __init__(self, node: int, level: str) -> None:
        self._node = node
        self._told = LEVELS[LEVELS.index(level) :]
        self._descriptor = sys.stderr.fileno()
        self._lines: queue.Queue[str] = queue.Queue(_LINES_MAX)
        # Counted by those who log, and by the thread: neither changes the other's.
        self._lost = 0
        self._lost_told = 0
        threading.Thread(target=self._write, name=f"paxoskv log {node}", daemon=True).start()

    def debug(self, event: str, **fields: Any) -> None:
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._say("error", event, fields)

    def traceback(self, error: BaseException | None) -> None:
        """How it came to that, in lines as Python prints them."""
        if error is not None:
            self._put("".join(traceback.format_exception(error)).rstrip())

    def flush(self, timeout_s: float = 1.0) -> bool:
        """Wait until everything is written, but no longer than that; whether it is."""
        lines = self._lines
        with lines.all_tasks_done:
            return lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, timeout_s)

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if level in self._told:
            self._put(self._line(level, event, fields))

    def _put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def _line(self, level: str, event: str, fields: dict[str, Any]) -> str:
        seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        pairs = [f"{name}={_value(value)}" for name, value in {"node": self._node, "event": event, **fields}.items()]
        return " ".join([f"{moment}.{milliseconds:03d}Z", level, *pairs])

    # In the thread.

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            # Nobody is left to be told that nobody listens.
            with contextlib.suppress(OSError):
                self._put_out(line)
                lost = self._lost - self._lost_told
                if lost:
                    self._lost_told += lost
                    self._put_out(self._line("warning", "nobody took the lines of this log", {"lines_lost": lost}))
            self._lines.task_done()

    def _put_out(self, line: str) -> None:
        # Not the text stream, whose lock a write that hangs would hold.
        rest = f"{line}\n".encode()
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


def _value(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if len(text) > _CHARACTERS_MAX:
        text = text[:_CHARACTERS_MAX] + "..."
    # JSON quoting keeps every event on its one line, whatever a peer or a client sent.
    return text if text and all(c.isalnum() or c in "-_.:/[]@+" for c in text) else json.dumps(text)
