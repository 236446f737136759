"""What the door needs of the node that it belongs to."""

from collections.abc import Sequence
from typing import Any, Protocol

from paxoskv.core.operations import Operation
from paxoskv.core.scan import ScanOperation


class Host(Protocol):
    """A node, as the door sees it."""

    @property
    def id(self) -> int:
        """Its number in the cluster."""

    @property
    def key_bytes_max(self) -> int:
        """The longest key."""

    @property
    def value_bytes_max(self) -> int:
        """The longest value."""

    @property
    def clients_max(self) -> int:
        """How many connections the node takes."""

    @property
    def stopping(self) -> bool:
        """It takes no more operations."""

    def now(self) -> float:
        """Seconds, never decreasing."""

    def wall_ms(self) -> int:
        """What its clock shows, in milliseconds since the epoch."""

    def submit(self, operations: Sequence[Operation]) -> None:
        """Take operations whose `reply` is (connection, what it waits with); `connection.completed` is called with that
        for each."""

    def scan(self, operation: ScanOperation) -> None:
        """Take a scan, as `submit` takes operations."""

    def status(self) -> dict[str, Any]:
        """What `paxoskv status` shows."""
