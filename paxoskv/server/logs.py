"""One line for each event that a person may need: time, level, and name=value pairs, the node and the event first.

2026-11-24T10:00:00.123Z info node=2 event="peer connected" peer=3 incarnation=1
"""

import json
import logging
import sys
import time
from typing import Any

# Of one value: whatever somebody sent, a line stays one that can be read.
_CHARACTERS_MAX = 1000
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class NodeLog:
    """The log of one node, on standard error."""

    def __init__(self, node: int, level: str) -> None:
        self._logger = logging.getLogger(f"paxoskv.node{node}")
        self._logger.setLevel(LEVELS[level])
        self._logger.propagate = False
        if not self._logger.handlers:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(_LineFormatter(node))
            self._logger.addHandler(handler)

    def debug(self, event: str, **fields: Any) -> None:
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: Any) -> None:
        self._logger.error(event, extra={"fields": fields})


class _LineFormatter(logging.Formatter):
    def __init__(self, node: int) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {"node": self._node, "event": record.getMessage(), **getattr(record, "fields", {})}
        pairs = [f"{name}={_value(value)}" for name, value in fields.items()]
        return " ".join([f"{moment}.{int(record.msecs):03d}Z", record.levelname.lower(), *pairs])


def _value(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if len(text) > _CHARACTERS_MAX:
        text = text[:_CHARACTERS_MAX] + "..."
    # JSON quoting keeps every event on its one line, whatever a peer or a client sent.
    return text if text and all(c.isalnum() or c in "-_.:/[]@+" for c in text) else json.dumps(text)
