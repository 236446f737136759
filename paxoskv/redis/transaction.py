"""Transactions, which are refused as a whole.

Most clients send MULTI, the commands and EXEC at once. Refusing MULTI and EXEC alone would carry out what stands
between, and tell a client that nothing was done. So the refusal of MULTI is held back for a moment: what comes before
the client can know of it belongs to the transaction, and is refused, too. A client that waits for the answer sends
nothing meanwhile, and finds its connection as it was before.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from paxoskv.redis import replies
from paxoskv.redis.commands.table import Call

_QUIET_S: Final = 0.2
_ABORTED: Final = replies.error("EXECABORT Transaction discarded because of previous errors.")
_NOT_CARRIED_OUT: Final = replies.error("ERR not carried out: it is part of a transaction, which is refused as a whole")


class RefusedTransaction:
    """From MULTI to EXEC or DISCARD, or until nothing has come for a while."""

    def __init__(self, multi: Call, refusal: bytes, over: Callable[[], None]) -> None:
        """`over` is called when it ends by itself."""
        self._multi = multi
        self._refusal = refusal
        self._over = over
        self._timer: asyncio.TimerHandle | None = None
        self.extend()

    def extend(self) -> None:
        """Something has arrived."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_QUIET_S, self._over)

    def release(self) -> None:
        """Answer MULTI, since what comes behind it has to be answered."""
        self._multi.reply = self._refusal

    def end(self) -> None:
        """It is over."""
        self.release()
        if self._timer is not None:
            self._timer.cancel()

    def answer(self, command: Sequence[bytes]) -> tuple[bytes | None, bool]:
        """The reply to a command within it, None if it is none of its own; and whether it is over."""
        name = command[0].lower()
        if name == b"exec":
            return _ABORTED, True
        if name == b"discard":
            return replies.OK, True
        if name in (b"reset", b"quit"):
            return None, True
        return _NOT_CARRIED_OUT, False
