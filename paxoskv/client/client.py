"""The asyncio client."""

import asyncio
import collections
import contextlib
import random
import re
import zlib
from collections.abc import AsyncIterator, Generator, Iterable
from types import TracebackType
from typing import Any, Final, NoReturn

from paxoskv.client.connection import LOST, UNSENT, Connection, favoured
from paxoskv.client.results import Appended, Counter, Entry, Found, Swapped
from paxoskv.core import errors, operations
from paxoskv.core.errors import BadRequest, NotReached, OutcomeUnknown, PaxosKVError, ProtocolError, Unavailable
from paxoskv.core.operations import Argument, Expiry
from paxoskv.core.scan import PAGE_KEYS_MAX, prefix_end
from paxoskv.wire import client as wire

Data = bytes | str
Answered = tuple[int, Argument, int] | tuple[int, Argument, int, int, int]
"""Status, value, version, and of a key that expires when, and in how many milliseconds."""

TTL_S_MAX: Final = 1000 * 365 * 86_400
CLOSED: Final = "the client is closed; make a new one with connect()"

_CONNECT_S: Final = 2.0
_BACKOFF_S_MIN: Final = 0.05
_BACKOFF_S_MAX: Final = 2.0
# Between attempts at an operation that every node has refused.
_PAUSE_S_MIN: Final = 0.02
_PAUSE_S_MAX: Final = 0.5
# A node that let a call expire, and then says nothing for so long, gets a new connection: the old one may lead to a
# machine that lost its power, of which TCP would never hear.
_SILENCE_S_MAX: Final = 10.0
_TIMEOUT_S_MAX: Final = wire.TIMEOUT_MS_MAX / 1000
# Operations in flight on one connection past which callers wait.
_IN_FLIGHT_MAX: Final = 8192
# The node gives up so much earlier than the caller, so that its answer, which knows more, comes in time.
_MARGIN_S: Final = 0.05
# A write that was refused is not tried again with less time than this left.
_ATTEMPT_S_MIN: Final = 0.2


class Client:
    """A cluster, as one object. Safe for any number of tasks of one event loop.

    Any node takes any operation. An operation goes to the node that `prefer` names, or else to the one that the key's
    hash chooses among those connected: then every client uses the same coordinator for a key as long as nothing is
    down, and the coordinator, which holds the key, needs one round trip for a write instead of two. Where there is a
    leader (Raft mode), writes go to that one.

    Errors are subclasses of `PaxosKVError`; `error.definite` says whether the operation certainly did not happen. Only
    what is definite is retried, and reads.
    """

    def __init__(self, endpoints: str | Iterable[str], *, timeout: float, prefer: str | int | None) -> None:
        self._links = [_Link(self, address) for address in parse_endpoints(endpoints)]
        self._timeout = _seconds(timeout)
        self._preferred = _choose(self._links, prefer)
        # In an order that does not depend on the order in which this client was told of them.
        self._ring = sorted(self._links, key=lambda link: (link.host, link.port))
        self._connected = asyncio.Event()
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop that it began in, and where its connections are."""
        self._rng = random.Random()
        self._conflict = ""
        self._favoured: _Link | None = None
        """The node that takes writes with the least detour, if one does and is among the endpoints."""

    # Life.

    def _start(self) -> asyncio.AbstractEventLoop:
        """Connect, the first time; the running loop. Raises BadRequest in any other loop than that of the first."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            if not self._closing.is_set():
                for link in self._links:
                    link.start()
        elif self._loop is not loop:
            # Neither its connections nor its events work from here, though some of them seem to.
            raise BadRequest(
                "this client belongs to the event loop in which it was first used; connect another one in this loop"
            )
        return loop

    async def _open(self) -> "Client":
        self._start()
        try:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._connected.wait()
            except TimeoutError:
                raise self._not_reached(self._timeout) from None
            if self._preferred is not None and not self._preferred.usable:
                # Its own first attempt deserves a moment before operations go elsewhere.
                await self._preferred.first_attempt(min(_CONNECT_S, self._timeout))
            self._check_open()
        except BaseException:
            await self.close()  # Nobody else will close what was never opened.
            raise
        return self

    def __await__(self) -> Generator[Any, None, "Client"]:
        return self._open().__await__()

    async def __aenter__(self) -> "Client":
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Calls in flight raise what fits: OutcomeUnknown for a write that was sent."""
        if self._loop is not None:
            self._start()
        self._closing.set()
        self._connected.set()  # Whoever waits for a connection shall see that there will be none.
        for link in self._links:
            await link.stop()

    # Operations.

    async def get(self, key: Data, *, timeout: float | None = None) -> Entry:
        """The key's value and version, linearizable."""
        _, value, version, *_ = await self._call(operations.GET, key, None, None, timeout)
        assert not isinstance(value, int)
        return Entry(value, version)

    async def put(
        self,
        key: Data,
        value: Data,
        *,
        ttl: float | None = None,
        keep_ttl: bool = False,
        if_version: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Set the value; the new version. With `if_version` only if the key has that version (0: is absent).

        With `ttl` the key ceases to exist after so many seconds, from when a node takes the operation; without, a
        former time to live is forgotten, unless `keep_ttl` says that it stays. Raises ConditionFailed, with the current
        value and version, if the key has another version.
        """
        if keep_ttl and ttl is not None:
            raise BadRequest("give ttl or keep_ttl, not both")
        expiry = operations.KEEP if keep_ttl else None
        condition = _version(if_version)
        return (
            await self._call(operations.PUT, key, _bytes(value, "value"), condition, timeout, expiry, _lifetime_ms(ttl))
        )[2]

    async def expire(self, key: Data, ttl: float, *, timeout: float | None = None) -> bool:
        """Have the key cease to exist after so many seconds; whether it was there. It gets a new version."""
        lifetime_ms = _lifetime_ms(ttl)
        status, *_ = await self._call(operations.EXPIRE, key, None, None, timeout, None, lifetime_ms)
        return status == operations.OK

    async def persist(self, key: Data, *, timeout: float | None = None) -> bool:
        """Have the key live until it is deleted; whether it was there. It gets a new version."""
        status, *_ = await self._call(operations.EXPIRE, key, None, None, timeout, operations.NEVER)
        return status == operations.OK

    async def ttl(self, key: Data, *, timeout: float | None = None) -> float | None:
        """Seconds until the key ceases to exist, by the clock of the node that answers; None if it does not, or is
        absent, which `get` tells apart."""
        answer = await self._call(operations.GET, key, None, None, timeout)
        return answer[4] / 1000 if len(answer) == 5 else None

    async def scan(
        self,
        prefix: Data = b"",
        *,
        start: Data | None = None,
        end: Data | None = None,
        keys_only: bool = False,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Found]:
        """The keys that begin with `prefix`, or those from `start` on and before `end`, in the order of their bytes;
        the first `limit` of them, if that is given.

        Pages are fetched as they are needed, so that memory does not grow with the number of keys; `timeout` is for
        each. Each key is as it was at some moment meanwhile, linearizable; one that exists all the while is there.
        """
        if prefix and (start is not None or end is not None):
            raise BadRequest("give a prefix, or start and end, not both")
        if limit is not None and limit < 1:
            raise BadRequest(f"the limit of a scan is 1 or above, not {limit}")
        first = _bytes(prefix if start is None else start, "bound")
        last = prefix_end(first) if start is None and end is None else None if end is None else _bytes(end, "bound")
        cursor: bytes | None = None
        left = limit
        wanted = None if limit is None else min(limit, PAGE_KEYS_MAX)
        while True:
            items, cursor = await self._page(first, last, cursor, keys_only, wanted, timeout)
            for key, value, version, _ in items[:left]:
                yield Found(key, value, version)
            if cursor is None:
                return
            if left is not None and wanted is not None:
                left -= len(items)
                if left <= 0:
                    return
                wanted = next_limit(wanted, len(items), left)

    async def _page(
        self,
        start: bytes,
        end: bytes | None,
        cursor: bytes | None,
        keys_only: bool,
        limit: int | None,
        timeout: float | None,
    ) -> tuple[Any, bytes | None]:
        loop = self._start()
        seconds = self._timeout if timeout is None else _seconds(timeout)
        deadline = loop.time() + seconds
        avoid: set[_Link] = set()
        error: PaxosKVError | None = None
        while True:
            self._check_open()
            left = deadline - loop.time()
            if left <= 0:
                raise error or Unavailable(f"no node answered the scan within {seconds:g} s")
            link = self._pick(cursor or start, avoid, operations.GET)
            if link is None or link.connection is None:
                if avoid:
                    avoid.clear()
                    await self._pause(_PAUSE_S_MIN)
                else:
                    await self._wait_for_link(deadline, seconds, error)
                continue
            link.check_bounds(start, end)
            patience = max(left / 3, min(left, 0.25))
            try:
                async with asyncio.timeout(patience):
                    timeout_ms = max(1, int((patience - min(_MARGIN_S, patience / 10)) * 1000))
                    status, reason, items, following = await link.connection.scan(
                        start, end, cursor, keys_only, timeout_ms, limit
                    )
            except (TimeoutError, NotReached, ProtocolError) as failure:
                error = Unavailable(f"{link.address}: {failure or 'no answer in time'}; the scan can be begun again")
            else:
                if status == operations.OK:
                    return items, following
                error = _error(status, reason, 0, link.address)
                if not error.retryable:
                    raise error
            avoid.add(link)

    async def delete(self, key: Data, *, if_version: int | None = None, timeout: float | None = None) -> bool:
        """Remove the key; whether it was there. Raises ConditionFailed as `put` does."""
        status, *_ = await self._call(operations.DELETE, key, None, _version(if_version), timeout)
        return status == operations.OK

    async def cas(self, key: Data, expected: Data | None, value: Data, *, timeout: float | None = None) -> int:
        """Set the value if it is `expected` now (None: if the key is absent); the new version.

        Raises ConditionFailed, with the current value and version, if it is not.
        """
        condition = None if expected is None else _bytes(expected, "expected value")
        return (await self._call(operations.CAS, key, _bytes(value, "value"), condition, timeout))[2]

    async def incr(self, key: Data, by: int = 1, *, timeout: float | None = None) -> Counter:
        """Add to the signed 64-bit decimal number that the value is (an absent key counts as 0).

        Raises NotAnInteger and IntegerOverflow, which change nothing.
        """
        _, value, version, *_ = await self._call(operations.INCR, key, by, None, timeout)
        assert type(value) is int
        return Counter(value, version)

    async def append(self, key: Data, suffix: Data, *, timeout: float | None = None) -> Appended:
        """Add bytes at the end of the value (an absent key counts as empty). Raises ValueTooLarge."""
        _, value, version, *_ = await self._call(operations.APPEND, key, _bytes(suffix, "suffix"), None, timeout)
        assert type(value) is int
        return Appended(value, version)

    async def swap(self, key: Data, value: Data, *, timeout: float | None = None) -> Swapped:
        """Set the value, and answer the one that it replaced."""
        _, old, version, *_ = await self._call(operations.SWAP, key, _bytes(value, "value"), None, timeout)
        assert not isinstance(old, int)
        return Swapped(old, version)

    async def status(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """One dictionary for each node, in the order of the endpoints; ``{"address", "up": False, "error"}`` for those
        that do not answer."""
        self._start()  # An answer does not need anybody to be up, so neither does asking.
        seconds = self._timeout if timeout is None else _seconds(timeout)
        return await asyncio.gather(*[link.status(seconds) for link in self._links])

    # How.

    async def _call(
        self,
        kind: int,
        key: Data,
        argument: Argument,
        condition: Argument,
        timeout: float | None,
        expiry: Expiry = None,
        lifetime_ms: int | None = None,
    ) -> Answered:
        key = _bytes(key, "key")
        if not operations.is_well_formed(
            kind, argument, condition, expiry if lifetime_ms is None else operations.EXPIRY_MAX
        ):
            # A node would close the connection, to the harm of other calls.
            raise BadRequest(_MALFORMED[kind])
        loop = self._start()
        seconds = self._timeout if timeout is None else _seconds(timeout)
        deadline = loop.time() + seconds
        avoid: set[_Link] = set()
        pause = _PAUSE_S_MIN
        error: PaxosKVError | None = None
        while True:
            self._check_open()
            link = self._pick(key, avoid, kind)
            if link is None:
                if avoid and error is not None:
                    # Everybody has refused. Let the cause pass, then begin again.
                    avoid.clear()
                    if loop.time() + pause >= deadline:
                        raise error
                    await self._pause(pause)
                    pause = min(pause * 2, _PAUSE_S_MAX)
                    continue
                await self._wait_for_link(deadline, seconds, error)
                continue
            link.check(key, argument, condition)
            if not link.has_room:
                await link.wait_for_room(deadline)
                continue
            left = deadline - loop.time()
            if left <= 0:
                raise error or Unavailable(f"not sent within {seconds:g} s, so it did not happen")
            if error is not None and kind != operations.GET and left < min(_ATTEMPT_S_MIN, seconds / 4):
                # An attempt that has no time left would turn what did not happen into what may have happened.
                raise error
            # A read can be asked of another node when one does not answer; a write that was sent cannot.
            patience = max(left / 3, min(left, 0.25)) if kind == operations.GET else left
            answer = await link.exchange(kind, key, argument, condition, patience, expiry, lifetime_ms)
            status, value, version = answer[:3]
            if 0 <= status < operations.CONDITION_FAILED:
                if type(value) not in _ANSWERED[kind] or type(version) is not int:
                    raise OutcomeUnknown(f"{link.address} answered a {operations.KIND_NAMES[kind]} with nonsense")
                return answer
            if status == UNSENT:
                error = Unavailable(f"{link.address}: {_text(value)}; it was not sent")
            elif status == LOST:
                if kind != operations.GET:
                    _raise_outcome_unknown(kind, link.address, _text(value))
                error = Unavailable(f"{link.address}: {_text(value)}; no node answered this read in time")
            else:
                error = _error(status, value, version, link.address)
                if not error.definite and kind == operations.GET:
                    error = Unavailable(str(error))
                if not error.retryable:
                    raise error
            avoid.add(link)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise NotReached(CLOSED)
        if self._conflict:
            raise BadRequest(self._conflict)

    async def _pause(self, seconds: float) -> None:
        """Sleep for up to so long; not past the client's end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rng.uniform(0.5, 1.0) * seconds):
                await self._closing.wait()

    def _route(self) -> None:
        """Some node has said something else about where writes are best sent, or says nothing any more."""
        address = favoured([link.connection for link in self._links])
        self._favoured = next((link for link in self._links if link.address == address), None)

    def _pick(self, key: bytes, avoid: "set[_Link]", kind: int) -> "_Link | None":
        preferred = self._preferred
        if preferred is None and kind != operations.GET:
            preferred = self._favoured
        if preferred is not None and preferred.usable and preferred not in avoid:
            return preferred
        ring = self._ring
        start = home(key, len(ring))
        fallback = None
        for index in range(start, start + len(ring)):
            link = ring[index % len(ring)]
            if link in avoid or link.connection is None:
                continue
            if link.usable:
                return link
            fallback = fallback or link
        return fallback

    async def _wait_for_link(self, deadline: float, seconds: float, error: PaxosKVError | None) -> None:
        self._connected.clear()
        if any(link.connection is not None for link in self._links):
            self._connected.set()
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._connected.wait()
        except TimeoutError:
            raise (error or self._not_reached(seconds)) from None

    def _admit(self, link: "_Link", connection: Connection) -> bool:
        """Whether this connection leads to the same cluster as the others."""
        assert connection.hello is not None
        cluster = connection.hello.cluster
        for other in self._links:
            if other.connection is not None and other.connection.hello is not None:
                known = other.connection.hello.cluster
                if known != cluster:
                    link.reason = (
                        f"{link.address} belongs to cluster {cluster!r} and {other.address} to cluster {known!r}"
                    )
                    if not link.admitted:
                        # Which of them is meant is nothing to guess, nor to leave to who answers first. A node that
                        # did belong here and is another one now, on the other hand, is just not asked.
                        self._conflict = f"{link.reason}; give the endpoints of one cluster, and connect again"
                    return False
        link.admitted = True
        return True

    def _not_reached(self, seconds: float) -> NotReached:
        reasons = "; ".join(link.reason or f"{link.address}: no answer" for link in self._links)
        return NotReached(f"no node could be reached within {seconds:g} s: {reasons}")


class _Link:
    """One node of the cluster: its connection while there is one, and the task that makes a new one when not."""

    def __init__(self, client: Client, address: str) -> None:
        self.host, self.port = split_endpoint(address)
        self.address = address
        self.connection: Connection | None = None
        self.reason = ""
        self.admitted = False
        """It has been a node of this cluster before."""
        self._client = client
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
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name=f"paxoskv {self.address}")

    async def stop(self) -> None:
        self._attempted.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])  # And not `await`, which would hide that we are cancelled ourselves.
        if self.connection is not None:
            self._lost.clear()
            self.connection.close()
            await self._lost.wait()

    async def first_attempt(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._attempted.wait()

    async def _keep_connected(self) -> None:
        backoff = _BACKOFF_S_MIN
        while True:
            try:
                connection = await Connection.open(self.host, self.port, _CONNECT_S, self._on_lost)
            except NotReached as error:
                self.reason = str(error)
            else:
                # It may have been lost before we came to hear of it.
                if not connection.closed and not self._client._admit(self, connection):
                    connection.close(self.reason)
                elif not connection.closed:
                    self.connection = connection
                    connection.on_room = self._wake
                    connection.on_route = self._client._route
                    self._client._route()
                    self._lost.clear()
                    self._attempted.set()
                    self._client._connected.set()
                    began = asyncio.get_running_loop().time()
                    await self._lost.wait()
                    if asyncio.get_running_loop().time() - began > _BACKOFF_S_MAX:
                        backoff = _BACKOFF_S_MIN
            self._attempted.set()
            await asyncio.sleep(backoff * self._client._rng.uniform(0.5, 1.0))
            backoff = min(backoff * 2, _BACKOFF_S_MAX)

    def _on_lost(self, connection: Connection, reason: str) -> None:
        if self.connection is connection or self.connection is None:
            self.connection = None
            self._client._route()
            self.reason = f"{self.address}: {reason}"
            self._lost.set()
            if self._verdict is not None:
                self._verdict.cancel()
                self._verdict = None
            while self._waiting:
                self._wake()

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

    async def wait_for_room(self, deadline: float) -> None:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        timer = asyncio.get_running_loop().call_at(deadline, _resolve, future, False)
        try:
            room = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._wake()  # In place of this one, which has no use for it any more.
            raise
        finally:
            timer.cancel()
        if not room:
            raise Unavailable(
                f"{self.address}: too many calls of this client wait for this node, so this one was never sent"
            )

    def _wake(self) -> None:
        """Let one call go on that waits for room, the first that still does."""
        waiting = self._waiting
        while waiting:
            future = waiting.popleft()
            if not future.done():
                future.set_result(True)
                return

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
                self._suspect(connection)
                future.set_result((LOST, b"no answer within %.3g s" % seconds, 0))

        timeout_ms = max(1, int((seconds - min(_MARGIN_S, seconds / 10)) * 1000))
        identifier = connection.submit(kind, key, argument, condition, timeout_ms, answered, expiry, lifetime_ms)
        timer = loop.call_later(seconds, expired)
        if self._waiting and self.has_room:
            self._wake()
        try:
            return await future
        finally:
            timer.cancel()
            connection.forget(identifier)
            if self._waiting:
                self._wake()

    def _suspect(self, connection: Connection) -> None:
        """Use another node until this one says something, and see to it that it has a reason to."""
        if connection.closed or connection.suspect:
            return
        connection.suspect = True
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
                self._suspect(connection)

    async def status(self, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                if self.connection is None:
                    await self.first_attempt(min(seconds, _CONNECT_S))
                if self.connection is None:
                    return {"address": self.address, "up": False, "error": self.reason or "no answer"}
                return {**await self.connection.status(), "address": self.address, "up": True}
        except (TimeoutError, PaxosKVError) as error:
            return {"address": self.address, "up": False, "error": str(error) or f"no answer within {seconds:g} s"}


def connect(endpoints: str | Iterable[str], *, timeout: float = 5.0, prefer: str | int | None = None) -> Client:
    """A client of the cluster with these nodes, ``"host:port,host:port"`` or an iterable of them.

    Use it as ``async with connect(...) as kv`` or ``kv = await connect(...)`` with ``await kv.close()``. `timeout`, in
    seconds, is for connecting and for every call that has none of its own. `prefer` is the endpoint, or its index,
    that gets all operations while it can be reached. Raises NotReached when no node answers, and BadRequest
    for what is no endpoint and for nodes of different clusters.
    """
    return Client(endpoints, timeout=timeout, prefer=prefer)


_ENDPOINT: Final = re.compile(r"(?:[^\s\[\]\0]+|\[[0-9A-Fa-f:.%\w]+\]):([0-9]{1,5})")


def parse_endpoints(endpoints: str | Iterable[str]) -> list[str]:
    """The addresses. Raises BadRequest with what is wrong."""
    given: object = endpoints
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise BadRequest(f"endpoints are a str of host:port,host:port or an iterable of such, not {given!r}")
    texts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    found = []
    for text in texts:
        if not isinstance(text, str):
            raise BadRequest(f"an endpoint is a str such as '127.0.0.1:7401', not {text!r}")
        address = text.strip()
        if (match := _ENDPOINT.fullmatch(address)) is None or not 0 < int(match[1]) < 65536:
            raise BadRequest(f"{text!r} is no endpoint; it must be host:port, such as 127.0.0.1:7401")
        if address not in found:
            found.append(address)
    if not found:
        raise BadRequest("there must be at least one endpoint, such as 127.0.0.1:7401")
    return found


def split_endpoint(address: str) -> tuple[str, int]:
    """Host and port of an address that `parse_endpoints` has checked; clients order nodes by them."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def next_limit(limit: int, found: int, left: int) -> int:
    """Of how many keys a scan's next page is made that wants `left` more, after one of `limit` that had `found`.

    Deleted keys that are not yet forgotten count. Where there were some, twice as many are asked for as before, or else
    a scan that wants one key would look at one deleted key in each round trip.
    """
    return min(left if found == limit else max(left, 2 * limit), PAGE_KEYS_MAX)


def home(key: bytes, nodes: int) -> int:
    """Which of so many nodes, in the order of `split_endpoint`, a key goes to as long as nothing is down."""
    return zlib.crc32(key) % nodes


def _choose(links: list[_Link], prefer: str | int | None) -> _Link | None:
    if prefer is None:
        return None
    if not isinstance(prefer, str):
        if type(prefer) is not int:
            raise BadRequest(f"prefer is one of the endpoints or its index, not {prefer!r}")
        if not 0 <= prefer < len(links):
            raise BadRequest(f"prefer is {prefer}; there are {len(links)} endpoints, counted from 0")
        return links[prefer]
    for link in links:
        if link.address == prefer.strip():
            return link
    known = ", ".join(link.address for link in links)
    raise BadRequest(f"prefer is {prefer!r}, which is none of the endpoints; those are {known}")


def _resolve(future: asyncio.Future[bool], result: bool) -> None:
    if not future.done():
        future.set_result(result)


def _seconds(timeout: float) -> float:
    # Negated, so that NaN is refused too.
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise BadRequest(f"a timeout is a number of seconds above 0, not {timeout!r}")
    return min(timeout, _TIMEOUT_S_MAX)


def _bytes(data: Data, what: str) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError:
            raise BadRequest(f"the {what} is a str that UTF-8 cannot encode; give bytes") from None
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise BadRequest(f"a {what} is bytes or str, not {type(data).__name__}")


def _lifetime_ms(ttl: float | None) -> int | None:
    # Negated, so that NaN is refused too.
    if ttl is not None and (not isinstance(ttl, int | float) or not 0 < ttl <= TTL_S_MAX):
        raise BadRequest(
            f"a time to live is a number of seconds above 0 and up to {TTL_S_MAX:,}, a thousand years, not {ttl!r}"
        )
    return None if ttl is None else max(1, round(ttl * 1000))


def _version(if_version: int | None) -> int | None:
    if if_version is None or (type(if_version) is int and 0 <= if_version <= operations.VERSION_MAX):
        return if_version
    raise BadRequest(f"if_version is a version that an answer named, or 0 for an absent key, not {if_version!r}")


def _text(value: Argument) -> str:
    return value.decode(errors="replace") if type(value) is bytes else str(value)


def _raise_outcome_unknown(kind: int, address: str, reason: str) -> NoReturn:
    name = operations.KIND_NAMES[kind]
    raise OutcomeUnknown(
        f"{address}: {reason}, after the {name} was sent; it may or may not have happened, or happen yet"
    )


_NOTHING: Final = type(None)
# What an answer's value may be, by kind.
_ANSWERED: Final = {
    operations.GET: (bytes, _NOTHING),
    operations.PUT: (_NOTHING,),
    operations.DELETE: (_NOTHING,),
    operations.CAS: (_NOTHING,),
    operations.INCR: (int,),
    operations.APPEND: (int,),
    operations.SWAP: (bytes, _NOTHING),
    operations.EXPIRE: (_NOTHING,),
}
_MALFORMED: Final = {
    operations.INCR: "incr adds a signed 64-bit integer",
}
_FAILURES: Final = {
    operations.CONDITION_FAILED: "the condition does not hold",
    operations.NOT_AN_INTEGER: "the value is no signed 64-bit decimal number",
    operations.INTEGER_OVERFLOW: "the number would leave the signed 64-bit range",
    operations.VALUE_TOO_LARGE: "the value would become longer than the cluster allows",
    operations.NOT_A_NUMBER: "the value is no number that a long double can hold",
    operations.NUMBER_OVERFLOW: "the number would become infinite",
}


def _error(status: int, value: Argument, version: int, address: str) -> PaxosKVError:
    kind = errors.BY_STATUS.get(status)
    if kind is None or type(version) is not int:
        return OutcomeUnknown(f"{address} answered with status {status}, which this client does not know")
    if issubclass(kind, errors.ConditionFailed):
        current = value if type(value) is bytes else None
        now = f"has version {version}" if version else "is absent"
        return kind(f"{_FAILURES[status]}; the key {now} and was not changed", current, version)
    return kind(f"{address}: {_text(value)}")
