"""One node of the cluster, as a client sees it."""

import asyncio
import collections
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from paxoskv.client.answers import Answered
from paxoskv.client.connection import LOST, Connection
from paxoskv.core.address import Address
from paxoskv.core.errors import BadRequest, NotReached, PaxosKVError, Unavailable
from paxoskv.core.operations import Argument, Expiry

CONNECT_S: Final = 2.0
_BACKOFF_S_MIN: Final = 0.05
_BACKOFF_S_MAX: Final = 0.5
# A node that let a call expire, and then says nothing for so long, gets a new connection: the old one may lead to a
# machine that lost its power, of which TCP would never hear.
_SILENCE_S_MAX: Final = 10.0
# Operations in flight on one connection past which callers wait.
_IN_FLIGHT_MAX: Final = 8192
# The node gives up so much earlier than the caller, so that its answer, which knows more, comes in time.
_MARGIN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a client hears of its links."""

    admit: Callable[["Link", Connection], bool]
    """Whether a new connection leads to the cluster of the others."""
    connected: Callable[[], None]
    """There is a link with a connection."""
    route: Callable[[], None]
    """A node has said something else about where writes are best sent, or says nothing any more."""


class Link:
    """One node of the cluster: its connection while there is one, and the task that makes a new one when not."""

    def __init__(self, address: Address, hooks: Hooks) -> None:
        self.host, self.port = address
        self.address = str(address)
        self.connection: Connection | None = None
        self.reason = ""
        self.admitted = False
        """It has been a node of this cluster before."""
        self._hooks = hooks
        self._rng = random.Random()
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._attempted = asyncio.Event()
        self._waiting: collections.deque[asyncio.Future[bool]] = collections.deque()
        self._suspected_at = 0.0
        self._verdict: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Connected, and not known to be hanging."""
        return self.connection is not None and not self.connection.suspect

    @property
    def has_room(self) -> bool:
        """Whether another operation may be sent now."""
        connection = self.connection
        assert connection is not None
        return connection.writable and len(connection.in_flight) < _IN_FLIGHT_MAX

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name=f"paxoskv {self.address}")

    def stop(self) -> None:
        """Connect no more, and close the connection; `stopped` waits until that is done."""
        self._attempted.set()
        if self._task is not None:
            self._task.cancel()
        if self.connection is not None:
            self._lost.clear()
            self.connection.close()

    async def stopped(self) -> None:
        """Wait until nothing is left of the connection, after `stop`."""
        if self._task is not None:
            await asyncio.wait([self._task])  # And not `await`, which would hide that we are cancelled ourselves.
        if self.connection is not None:
            await self._lost.wait()

    async def first_attempt(self, seconds: float) -> None:
        """Wait so long for the first attempt to connect to come to something."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._attempted.wait()

    async def _keep_connected(self) -> None:
        backoff = _BACKOFF_S_MIN
        while True:
            try:
                connection = await Connection.open(self.host, self.port, CONNECT_S, self._on_lost)
            except NotReached as error:
                self.reason = str(error)
            except Exception as error:
                # Names cannot be looked up any more while the interpreter ends, for one. This task is the only one
                # that would ever try again, so it does not end.
                self.reason = f"{self.address}: {type(error).__name__}: {error}"
            else:
                # It may have been lost before we came to hear of it.
                if not connection.closed and not self._hooks.admit(self, connection):
                    connection.close(self.reason)
                elif not connection.closed:
                    self.connection = connection
                    connection.on_room = self._wake
                    connection.on_leaving = self.wake_all
                    connection.on_route = self._hooks.route
                    self._hooks.route()
                    self._lost.clear()
                    self._attempted.set()
                    self._hooks.connected()
                    began = asyncio.get_running_loop().time()
                    await self._lost.wait()
                    if asyncio.get_running_loop().time() - began > _BACKOFF_S_MAX:
                        backoff = _BACKOFF_S_MIN
            self._attempted.set()
            await asyncio.sleep(backoff * self._rng.uniform(0.5, 1.0))
            backoff = min(backoff * 2, _BACKOFF_S_MAX)

    def _on_lost(self, connection: Connection, reason: str) -> None:
        if self.connection is connection or self.connection is None:
            self.connection = None
            self._hooks.route()
            self.reason = self._named(reason)
            self._lost.set()
            if self._verdict is not None:
                self._verdict.cancel()
                self._verdict = None
            self.wake_all()

    def check(self, key: bytes, argument: Argument, condition: Argument) -> None:
        """Refuse here what the node would refuse."""
        assert self.connection is not None
        hello = self.connection.hello
        assert hello is not None
        if not 0 < len(key) <= hello.key_bytes_max:
            raise BadRequest(f"a key has 1 to {hello.key_bytes_max} bytes, this one {len(key)}")
        for data in (argument, condition):
            if type(data) is bytes and len(data) > hello.value_bytes_max:
                raise BadRequest(f"a value has at most {hello.value_bytes_max} bytes, this one {len(data)}")

    def check_bounds(self, start: bytes, end: bytes | None) -> None:
        """The same for a scan: no key lies beyond what has one byte more than a key may have."""
        assert self.connection is not None
        hello = self.connection.hello
        assert hello is not None
        if max(len(start), len(end or b"")) > hello.key_bytes_max + 1:
            raise BadRequest(f"a bound of a scan has at most {hello.key_bytes_max + 1} bytes")

    async def wait_for_room(self, seconds: float) -> None:
        """Wait until another operation may be sent here, or may be better sent elsewhere.

        Raises Unavailable when neither comes to pass within so many seconds; others had better not wait here, then.
        """
        loop = asyncio.get_running_loop()
        connection = self.connection
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(future)
        timer = loop.call_later(seconds, _resolve, future, False)
        try:
            woken = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._pass_on()  # It was woken, and has no use for it.
            raise
        finally:
            timer.cancel()
        if not woken:
            if connection is not None:
                self.suspect(connection)
            raise Unavailable(
                f"{self.address}: too many calls of this client wait for this node, so this one was never sent"
            )
        self._pass_on()

    def wake_all(self) -> None:
        """Have every call that waits for room here look around again."""
        waiting, self._waiting = self._waiting, collections.deque()
        for future in waiting:
            _resolve(future, True)

    def _wake(self) -> None:
        """Let one call go on that waits for room, the first that still does."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(True)
                return

    def _pass_on(self) -> None:
        """Wake the next one, if there is room for it, too: whoever was woken may go elsewhere, and end nothing here."""
        connection = self.connection
        if connection is not None and connection.writable and len(connection.in_flight) + 1 < _IN_FLIGHT_MAX:
            self._wake()

    async def exchange(
        self,
        kind: int,
        key: bytes,
        argument: Argument,
        condition: Argument,
        seconds: float,
        expiry: Expiry = None,
        lifetime_ms: int | None = None,
    ) -> Answered:
        """Send one operation, and wait so long for its answer; LOST as status when none came."""
        connection = self.connection
        assert connection is not None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answered] = loop.create_future()

        def answered(status: int, value: Argument, version: int, *expiry: int) -> None:
            if not future.done():
                left = (expiry[0], expiry[1]) if expiry else ()
                future.set_result((status, value, version, *left))

        def expired() -> None:
            if not future.done():
                self.suspect(connection)
                future.set_result((LOST, b"no answer within %.3g s" % seconds, 0))

        timeout_ms = node_timeout_ms(seconds)
        identifier = connection.submit(kind, key, argument, condition, timeout_ms, answered, expiry, lifetime_ms)
        timer = loop.call_later(seconds, expired)
        try:
            return await future
        finally:
            timer.cancel()
            connection.forget(identifier)
            if self._waiting:
                self._wake()

    def suspect(self, connection: Connection) -> None:
        """Use another node until this one says something, and see to it that it has a reason to."""
        if connection.closed or connection.suspect:
            return
        connection.suspect = True
        self.wake_all()
        loop = asyncio.get_running_loop()
        self._suspected_at = loop.time()
        if self._verdict is None:  # Else it was asked a moment ago. A node that is late needs no more work.
            connection.probe()
            self._verdict = loop.call_later(_SILENCE_S_MAX, self._judge, connection)

    def _judge(self, connection: Connection) -> None:
        self._verdict = None
        if connection.suspect:
            silent = asyncio.get_running_loop().time() - self._suspected_at
            if silent >= _SILENCE_S_MAX * 0.99:
                connection.close(f"it has said nothing for {silent:.3g} s")
            else:
                connection.suspect = False
                self.suspect(connection)

    async def status(self, seconds: float) -> dict[str, Any]:
        """What the node says of itself, or that it does not answer."""
        try:
            async with asyncio.timeout(seconds):
                if self.connection is None:
                    await self.first_attempt(min(seconds, CONNECT_S))
                if self.connection is None:
                    return self._down(self.reason or "no answer")
                return {**await self.connection.status(), "address": self.address, "up": True}
        except (TimeoutError, PaxosKVError) as error:
            return self._down(str(error) or f"no answer within {seconds:g} s")

    def _down(self, reason: str) -> dict[str, Any]:
        return {"address": self.address, "up": False, "error": self._named(reason)}

    def _named(self, reason: str) -> str:
        """The reason with the node's address, once."""
        return reason if reason.startswith(self.address) else f"{self.address}: {reason}"


def node_timeout_ms(seconds: float) -> int:
    """The node's own timeout, for a caller that waits so long."""
    return max(1, int((seconds - min(_MARGIN_S, seconds / 10)) * 1000))


def _resolve(future: asyncio.Future[bool], result: bool) -> None:
    if not future.done():
        future.set_result(result)
