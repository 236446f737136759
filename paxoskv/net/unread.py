"""How long a client is put up with that asks and does not read what it is told; whatever it speaks."""

import asyncio
from collections.abc import Callable


class Unread:
    """Looks after what one connection has written, while its transport says that too much of it lies here."""

    def __init__(self, transport: asyncio.WriteTransport, patience_s: float, give_up: Callable[[], None]) -> None:
        """`give_up` is called when the client has taken nothing for so long."""
        self.written_bytes = 0
        """To be counted before each write, which may be what begins the watch."""
        self._transport = transport
        self._patience_s = patience_s
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """From now on the client has to take something every so often."""
        taken_bytes = self._taken_bytes()
        self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._judge, taken_bytes)

    def rest(self) -> None:
        """It has caught up, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judge(self, taken_bytes: int) -> None:
        # A slow client goes on for ever: what counts is that it takes something.
        if self._taken_bytes() == taken_bytes:
            self._timer = None
            self._give_up()
        else:
            self.watch()

    def _taken_bytes(self) -> int:
        return self.written_bytes - self._transport.get_write_buffer_size()
