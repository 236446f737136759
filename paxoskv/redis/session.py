"""What a connection has said about itself, and who is connected."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from paxoskv.redis.host import Host

ON: Final = "on"
OFF: Final = "off"
SKIP_NEXT: Final = "skip next"
SKIP: Final = "skip"
# Of CLIENT LIST, what Redis knows of its buffers; clients' libraries look for the fields.
_MEMORY: Final = ("qbuf", "qbuf-free", "argv-mem", "multi-mem", "rbs", "rbp", "obl", "oll", "omem", "tot-mem")


@dataclass(slots=True, eq=False)
class Session:
    """One connection's state, as CLIENT and HELLO show and change it."""

    host: Host
    sessions: "Sessions"
    address: str
    local_address: str
    id: int = 0
    connected_at: float = 0.0
    protocol: int = 2
    name: bytes = b""
    library: dict[str, bytes] = field(default_factory=lambda: {"lib-name": b"", "lib-ver": b""})
    no_evict: bool = False
    no_touch: bool = False
    replies: str = ON
    last_command: str = "NULL"
    last_command_at: float = 0.0
    pending: Callable[[], int] = int
    """How many of its commands wait for their answers."""
    closing: bool = False
    """QUIT was answered."""

    def reset(self) -> None:
        """As when it had just connected."""
        self.protocol = 2
        self.name = b""
        self.no_touch = False
        if self.replies != SKIP:
            self.replies = ON

    def describe(self) -> str:
        """One line of CLIENT LIST."""
        now = self.host.now()
        parts = {
            "id": self.id,
            "addr": self.address,
            "laddr": self.local_address,
            "fd": -1,
            "name": self.name.decode(),
            "age": int(now - self.connected_at),
            "idle": int(now - self.last_command_at),
            "flags": "".join(("e" * self.no_evict, "T" * self.no_touch)) or "N",
            "db": 0,
            "sub": 0,
            "psub": 0,
            "ssub": 0,
            "multi": -1,
            **dict.fromkeys(_MEMORY, 0),
            "events": "r",
            "cmd": self.last_command,
            "user": "default",
            "redir": -1,
            "resp": self.protocol,
            "pending": self.pending(),
            "lib-name": self.library["lib-name"].decode(),
            "lib-ver": self.library["lib-ver"].decode(),
        }
        return " ".join(f"{name}={value}" for name, value in parts.items())


class Closable(Protocol):
    """A connection, for who wants to end it."""

    def close(self) -> None: ...


class Sessions:
    """Those who are connected through the door."""

    def __init__(self) -> None:
        self.open: dict[int, Session] = {}
        self.connections: set[Closable] = set()
        self.commands_processed = 0
        self.error_replies = 0
        self.connections_received = 0
        self._ids = itertools.count(1)

    def add(self, session: Session) -> None:
        session.id = next(self._ids)
        session.connected_at = session.last_command_at = session.host.now()
        self.open[session.id] = session
        self.connections_received += 1

    def remove(self, session: Session) -> None:
        self.open.pop(session.id, None)
