"""The asyncio client."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Generator, Iterable
from types import TracebackType
from typing import Any, Final

from paxoskv.client import answers
from paxoskv.client.answers import Answered
from paxoskv.client.arguments import Data, bytes_of, lifetime_ms_of, seconds_of, version_of
from paxoskv.client.connection import LOST, UNSENT, Connection, favoured
from paxoskv.client.endpoints import parse_endpoints
from paxoskv.client.link import CONNECT_S, Hooks, Link, node_timeout_ms
from paxoskv.client.results import Appended, Counter, Entry, Found, Swapped
from paxoskv.core import operations
from paxoskv.core.errors import (
    BadRequest,
    ClientClosed,
    NotReached,
    OutcomeUnknown,
    PaxosKVError,
    ProtocolError,
    Unavailable,
)
from paxoskv.core.operations import Argument, Expiry
from paxoskv.core.placement import home_index
from paxoskv.core.scan import LIMIT_MAX, PAGE_KEYS_MAX, next_limit, prefix_end

CLOSED: Final = "the client is closed; make a new one with connect()"

# Between attempts at an operation that every node has refused.
_PAUSE_S_MIN: Final = 0.02
_PAUSE_S_MAX: Final = 0.5
# How long the nodes that have not answered yet are waited for when one has: twice as long as for that one, in between.
_OTHERS_S_MIN: Final = 0.01
_OTHERS_S_MAX: Final = 0.1
# A write that was refused is not tried again with less time than this left.
_ATTEMPT_S_MIN: Final = 0.2


class Client:
    """A cluster, as one object. Safe for any number of tasks of one event loop.

    Any node takes any operation. An operation goes to the node that `prefer` names, or else to the one that the key's
    hash chooses among those connected: then every client uses the same coordinator for a key as long as nothing is
    down, and the coordinator, which holds the key, needs one round trip for a write instead of two. Where there is a
    leader (Raft mode), writes go to that one.

    Errors are subclasses of `PaxosKVError`; `error.definite` says whether the operation certainly did not happen. Only
    what is definite is retried, and reads. A call that is cancelled is not taken back: what was asked for most likely
    happens.
    """

    def __init__(self, endpoints: str | Iterable[str], *, timeout: float, prefer: str | int | None) -> None:
        self._connected = asyncio.Event()
        hooks = Hooks(self._admit, self._connected.set, self._route)
        self._links = [Link(address, hooks) for address in parse_endpoints(endpoints)]
        self._timeout = seconds_of(timeout)
        self._preferred = _choose(self._links, prefer)
        # In an order that does not depend on the order in which this client was told of them.
        self._ring = sorted(self._links, key=lambda link: (link.host, link.port))
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop that it began in, and where its connections are."""
        self._rng = random.Random()
        self._conflict = ""
        self._favoured: Link | None = None
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
            await self._connect_first()
            self._check_open()
        except BaseException:
            await self.close()  # Nobody else will close what was never opened.
            raise
        return self

    async def _connect_first(self) -> None:
        """Wait for a node. Raises NotReached."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._timeout):
                await self._connected.wait()
        except TimeoutError:
            raise self._not_reached(self._timeout) from None
        if self._preferred is not None and not self._preferred.usable:
            # Its own first attempt deserves a moment before operations go elsewhere.
            await self._preferred.first_attempt(min(CONNECT_S, self._timeout))
        # So do the others': keys begin at their homes then, and another cluster's nodes are found out before any write.
        patience = min(max(_OTHERS_S_MIN, 2 * (loop.time() - began)), _OTHERS_S_MAX, self._timeout)
        await asyncio.gather(*[link.first_attempt(patience) for link in self._links])

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
        # All at once and now, so that whoever is cancelled here leaves nothing behind.
        for link in self._links:
            link.stop()
        for link in self._links:
            await link.stopped()

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
        condition = version_of(if_version)
        return (
            await self._call(
                operations.PUT, key, bytes_of(value, "value"), condition, timeout, expiry, lifetime_ms_of(ttl)
            )
        )[2]

    async def expire(self, key: Data, ttl: float, *, timeout: float | None = None) -> bool:
        """Have the key cease to exist after so many seconds; whether it was there. It gets a new version."""
        lifetime_ms = lifetime_ms_of(ttl)
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
    ) -> AsyncGenerator[Found, None]:
        """The keys that begin with `prefix`, or those from `start` on and before `end`, in the order of their bytes;
        the first `limit` of them, if that is given.

        Pages are fetched as they are needed, so that memory does not grow with the number of keys; `timeout` is for
        each. Each key is as it was at some moment meanwhile, linearizable; one that exists all the while is there.
        """
        if prefix and (start is not None or end is not None):
            raise BadRequest("give a prefix, or start and end, not both")
        if type(keys_only) is not bool:
            raise BadRequest(f"keys_only is True or False, not {keys_only!r}")
        if limit is not None and (type(limit) is not int or not 1 <= limit <= LIMIT_MAX):
            raise BadRequest(f"the limit of a scan is a whole number from 1 to {LIMIT_MAX:,}, not {limit!r}")
        first = bytes_of(prefix if start is None else start, "bound")
        last = prefix_end(first) if start is None and end is None else None if end is None else bytes_of(end, "bound")
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
        seconds = self._timeout if timeout is None else seconds_of(timeout)
        deadline = loop.time() + seconds
        avoid: set[Link] = set()
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
            patience = _patience(left)
            connection = link.connection
            try:
                async with asyncio.timeout(patience):
                    timeout_ms = node_timeout_ms(patience)
                    status, reason, items, following = await connection.scan(
                        start, end, cursor, keys_only, timeout_ms, limit
                    )
            except TimeoutError:
                link.suspect(connection)
                error = Unavailable(f"{link.address}: no answer in time; the scan can be begun again")
            except (NotReached, ProtocolError) as failure:
                error = Unavailable(f"{failure}; the scan can be begun again")
            else:
                if status == operations.OK:
                    return items, following
                error = answers.error_of(status, reason, 0, link.address)
                if not error.retryable:
                    raise error
            avoid.add(link)

    async def delete(self, key: Data, *, if_version: int | None = None, timeout: float | None = None) -> bool:
        """Remove the key; whether it was there. Raises ConditionFailed as `put` does."""
        status, *_ = await self._call(operations.DELETE, key, None, version_of(if_version), timeout)
        return status == operations.OK

    async def cas(self, key: Data, expected: Data | None, value: Data, *, timeout: float | None = None) -> int:
        """Set the value if it is `expected` now (None: if the key is absent); the new version.

        Raises ConditionFailed, with the current value and version, if it is not.
        """
        condition = None if expected is None else bytes_of(expected, "expected value")
        return (await self._call(operations.CAS, key, bytes_of(value, "value"), condition, timeout))[2]

    async def incr(self, key: Data, by: int = 1, *, timeout: float | None = None) -> Counter:
        """Add to the signed 64-bit decimal number that the value is (an absent key counts as 0).

        Raises NotAnInteger and IntegerOverflow, which change nothing.
        """
        _, value, version, *_ = await self._call(operations.INCR, key, by, None, timeout)
        assert type(value) is int
        return Counter(value, version)

    async def append(self, key: Data, suffix: Data, *, timeout: float | None = None) -> Appended:
        """Add bytes at the end of the value (an absent key counts as empty). Raises ValueTooLarge."""
        _, value, version, *_ = await self._call(operations.APPEND, key, bytes_of(suffix, "suffix"), None, timeout)
        assert type(value) is int
        return Appended(value, version)

    async def swap(self, key: Data, value: Data, *, timeout: float | None = None) -> Swapped:
        """Set the value, and answer the one that it replaced."""
        _, old, version, *_ = await self._call(operations.SWAP, key, bytes_of(value, "value"), None, timeout)
        assert not isinstance(old, int)
        return Swapped(old, version)

    async def status(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """One dictionary for each node, in the order of the endpoints; ``{"address", "up": False, "error"}`` for those
        that do not answer."""
        self._start()  # An answer does not need anybody to be up, so neither does asking.
        if self._closing.is_set():
            raise ClientClosed(CLOSED)
        seconds = self._timeout if timeout is None else seconds_of(timeout)
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
        key = bytes_of(key, "key")
        if not operations.is_well_formed(
            kind, argument, condition, expiry if lifetime_ms is None else operations.EXPIRY_MAX
        ):
            # A node would close the connection, to the harm of other calls.
            raise BadRequest(answers.MALFORMED[kind])
        loop = self._start()
        seconds = self._timeout if timeout is None else seconds_of(timeout)
        deadline = loop.time() + seconds
        avoid: set[Link] = set()
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
            left = deadline - loop.time()
            if left <= 0:
                raise error or Unavailable(f"not sent within {seconds:g} s, so it did not happen")
            if not link.has_room:
                try:
                    await link.wait_for_room(_patience(left))
                except Unavailable as failure:
                    error = failure
                    avoid.add(link)
                continue
            if error is not None and kind != operations.GET and left < min(_ATTEMPT_S_MIN, seconds / 4):
                # An attempt that has no time left would turn what did not happen into what may have happened.
                raise error
            # A read can be asked of another node when one does not answer; a write that was sent cannot.
            patience = _patience(left) if kind == operations.GET else left
            answer = await link.exchange(kind, key, argument, condition, patience, expiry, lifetime_ms)
            status, value, version = answer[:3]
            if 0 <= status < operations.CONDITION_FAILED:
                if type(value) not in answers.TYPES[kind] or type(version) is not int:
                    raise OutcomeUnknown(f"{link.address} answered a {operations.KIND_NAMES[kind]} with nonsense")
                return answer
            if status == UNSENT:
                error = Unavailable(f"{link.address}: {answers.text_of(value)}; it was not sent")
            elif status == LOST:
                if kind != operations.GET:
                    raise answers.unknown_outcome(kind, link.address, answers.text_of(value))
                what = f"no node answered this read within {seconds:g} s"
                error = Unavailable(f"{what}; asked last was {link.address}: {answers.text_of(value)}")
            else:
                error = answers.error_of(status, value, version, link.address)
                if not error.definite and kind == operations.GET:
                    error = Unavailable(str(error))
                if not error.retryable:
                    raise error
            avoid.add(link)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ClientClosed(CLOSED)
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
        former = self._favoured
        self._favoured = next((link for link in self._links if link.address == address), None)
        if former is not None and former is not self._favoured:
            former.wake_all()  # What waits there for room goes where writes go now.

    def _pick(self, key: bytes, avoid: set[Link], kind: int) -> Link | None:
        preferred = self._preferred
        if preferred is None and kind != operations.GET:
            preferred = self._favoured
        if preferred is not None and preferred.usable and preferred not in avoid:
            return preferred
        ring = self._ring
        start = home_index(key, len(ring))
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

    def _admit(self, link: Link, connection: Connection) -> bool:
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


def _patience(seconds: float) -> float:
    """How much of the time that is left one node gets, where another one can be asked after it."""
    return max(seconds / 3, min(seconds, 0.25))


def _choose(links: list[Link], prefer: str | int | None) -> Link | None:
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


def connect(endpoints: str | Iterable[str], *, timeout: float = 5.0, prefer: str | int | None = None) -> Client:
    """A client of the cluster with these nodes, ``"host:port,host:port"`` or an iterable of them.

    Use it as ``async with connect(...) as kv`` or ``kv = await connect(...)`` with ``await kv.close()``. `timeout`, in
    seconds, is for connecting and for every call that has none of its own. `prefer` is the endpoint, or its index,
    that gets all operations while it can be reached. Raises NotReached when no node answers, and BadRequest
    for what is no endpoint and for nodes of different clusters.
    """
    return Client(endpoints, timeout=timeout, prefer=prefer)
