"""The asyncio client."""

import asyncio
import contextlib
import random
import zlib
from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Any, Final, NoReturn

from paxoskv.client.connection import LOST, Connection
from paxoskv.client.results import Appended, Counter, Entry, Swapped
from paxoskv.core import errors, operations
from paxoskv.core.errors import BadRequest, NotReached, OutcomeUnknown, PaxosKVError, Unavailable
from paxoskv.core.operations import Argument

Data = bytes | str

_CONNECT_S: Final = 2.0
_BACKOFF_S_MIN: Final = 0.05
_BACKOFF_S_MAX: Final = 2.0
# Operations in flight on one connection past which callers wait.
_IN_FLIGHT_MAX: Final = 8192
# The node gives up so much earlier than the caller, so that its answer, which knows more, comes in time.
_MARGIN_S: Final = 0.05


class Client:
    """A cluster, as one object. Safe for any number of tasks of one event loop.

    Any node takes any operation. An operation goes to the node that `prefer` names, or else to the one that the key's
    hash chooses among those connected: then every client uses the same coordinator for a key as long as nothing is
    down, and the coordinator, which holds the key, needs one round trip for a write instead of two.

    Errors are subclasses of `PaxosKVError`; `error.definite` says whether the operation certainly did not happen. Only
    what is definite is retried, and reads.
    """

    def __init__(self, endpoints: str | Iterable[str], *, timeout: float, prefer: str | int | None) -> None:
        self._links = [_Link(self, address) for address in parse_endpoints(endpoints)]
        self._timeout = timeout
        self._preferred = _choose(self._links, prefer)
        # In an order that does not depend on the order in which this client was told of them.
        self._ring = sorted(self._links, key=lambda link: (link.host, link.port))
        self._connected = asyncio.Event()
        self._closed = False
        self._started = False

    # Life.

    async def _open(self) -> "Client":
        if not self._started:
            self._started = True
            for link in self._links:
                link.start()
        try:
            async with asyncio.timeout(self._timeout):
                await self._connected.wait()
        except TimeoutError:
            reasons = "; ".join(link.reason or f"{link.address}: no answer" for link in self._links)
            await self.close()
            raise NotReached(f"no node could be reached within {self._timeout:g} s: {reasons}") from None
        if self._preferred is not None and not self._preferred.usable:
            # Its own first attempt deserves a moment before operations go elsewhere.
            await self._preferred.first_attempt(_CONNECT_S)
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
        self._closed = True
        for link in self._links:
            await link.stop()

    # Operations.

    async def get(self, key: Data, *, timeout: float | None = None) -> Entry:
        """The key's value and version, linearizable."""
        _, value, version = await self._call(operations.GET, key, None, None, timeout)
        assert not isinstance(value, int)
        return Entry(value, version)

    async def put(self, key: Data, value: Data, *, if_version: int | None = None, timeout: float | None = None) -> int:
        """Set the value; the new version. With `if_version` only if the key has that version (0: is absent).

        Raises ConditionFailed, with the current value and version, if it has not.
        """
        return (await self._call(operations.PUT, key, _bytes(value, "value"), if_version, timeout))[2]

    async def delete(self, key: Data, *, if_version: int | None = None, timeout: float | None = None) -> bool:
        """Remove the key; whether it was there. Raises ConditionFailed as `put` does."""
        status, _, _ = await self._call(operations.DELETE, key, None, if_version, timeout)
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
        if not operations.INTEGER_MIN <= by <= operations.INTEGER_MAX:
            raise BadRequest(f"incr adds a signed 64-bit number, not {by}")
        _, value, version = await self._call(operations.INCR, key, by, None, timeout)
        assert type(value) is int
        return Counter(value, version)

    async def append(self, key: Data, suffix: Data, *, timeout: float | None = None) -> Appended:
        """Add bytes at the end of the value (an absent key counts as empty). Raises ValueTooLarge."""
        _, value, version = await self._call(operations.APPEND, key, _bytes(suffix, "suffix"), None, timeout)
        assert type(value) is int
        return Appended(value, version)

    async def swap(self, key: Data, value: Data, *, timeout: float | None = None) -> Swapped:
        """Set the value, and answer the one that it replaced."""
        _, old, version = await self._call(operations.SWAP, key, _bytes(value, "value"), None, timeout)
        assert not isinstance(old, int)
        return Swapped(old, version)

    async def status(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """One dictionary for each node, in the order of the endpoints; ``{"address", "up": False, "error"}`` for those
        that do not answer."""
        return await asyncio.gather(*[link.status(timeout or self._timeout) for link in self._links])

    # How.

    async def _call(
        self, kind: int, key: Data, argument: Argument, condition: Argument, timeout: float | None
    ) -> tuple[int, Argument, int]:
        if self._closed:
            raise NotReached("the client is closed; make a new one with connect()")
        key = _bytes(key, "key")
        loop = asyncio.get_running_loop()
        seconds = self._timeout if timeout is None else timeout
        deadline = loop.time() + seconds
        avoid: set[_Link] = set()
        error: PaxosKVError | None = None
        while True:
            link = self._pick(key, avoid)
            if link is None:
                if avoid and error is not None:
                    # Everybody has refused. Let the cause pass, then begin again.
                    avoid.clear()
                    if loop.time() + _BACKOFF_S_MIN >= deadline:
                        raise error
                    await asyncio.sleep(random.uniform(0.2, 1.0) * _BACKOFF_S_MIN)
                    continue
                await self._wait_for_link(deadline, seconds, error)
                continue
            connection = link.connection
            assert connection is not None
            link.check(key, argument, condition)
            if len(connection.in_flight) >= _IN_FLIGHT_MAX:
                await link.wait_for_room(deadline)
                continue
            left = deadline - loop.time()
            if left <= 0:
                raise error or Unavailable(f"not sent within {seconds:g} s, so it did not happen")
            # A read can be asked of another node when one does not answer; a write that was sent cannot.
            patience = max(left / 3, min(left, 0.25)) if kind == operations.GET else left
            status, value, version = await link.exchange(kind, key, argument, condition, patience)
            if status < 0:
                if kind == operations.GET and loop.time() < deadline:
                    avoid.add(link)
                    error = Unavailable(f"{link.address}: {_text(value)}")
                    continue
                _raise_unanswered(kind, link.address, _text(value))
            if status < operations.CONDITION_FAILED:
                return status, value, version
            error = _error(status, value, version, link.address)
            if not error.retryable:
                raise error
            avoid.add(link)

    def _pick(self, key: bytes, avoid: "set[_Link]") -> "_Link | None":
        preferred = self._preferred
        if preferred is not None and preferred.usable and preferred not in avoid:
            return preferred
        ring = self._ring
        start = zlib.crc32(key) % len(ring)
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
            if error is not None:
                raise error from None
            reasons = "; ".join(link.reason or link.address for link in self._links)
            raise NotReached(f"no node could be reached within {seconds:g} s: {reasons}") from None


class _Link:
    """One node of the cluster: its connection while there is one, and the task that makes a new one when not."""

    def __init__(self, client: Client, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.host = host.removeprefix("[").removesuffix("]")
        self.port = int(port)
        self.address = address
        self.connection: Connection | None = None
        self.reason = ""
        self._client = client
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._attempted = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def usable(self) -> bool:
        """Connected, and not known to be hanging."""
        return self.connection is not None and not self.connection.suspect

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name=f"paxoskv {self.address}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
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
                self.connection = await Connection.open(self.host, self.port, _CONNECT_S, self._on_lost)
            except NotReached as error:
                self.reason = str(error)
            else:
                backoff = _BACKOFF_S_MIN
                self._lost.clear()
                self._attempted.set()
                self._client._connected.set()
                await self._lost.wait()
            self._attempted.set()
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, _BACKOFF_S_MAX)

    def _on_lost(self, connection: Connection, reason: str) -> None:
        if self.connection is connection or self.connection is None:
            self.connection = None
            self.reason = f"{self.address}: {reason}"
            self._lost.set()
            self._room.set()

    def check(self, key: bytes, argument: Argument, condition: Argument) -> None:
        """Refuse here what the node would refuse, or close the connection for, to the harm of other calls."""
        assert self.connection is not None
        hello = self.connection.hello
        assert hello is not None
        if not 0 < len(key) <= hello.key_bytes_max:
            raise BadRequest(f"a key has 1 to {hello.key_bytes_max} bytes, this one {len(key)}")
        for data in (argument, condition):
            if type(data) is bytes and len(data) > hello.value_bytes_max:
                raise BadRequest(f"a value has at most {hello.value_bytes_max} bytes, this one {len(data)}")

    async def wait_for_room(self, deadline: float) -> None:
        self._room.clear()
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.wait()
        except TimeoutError:
            raise Unavailable(
                f"{self.address}: too many calls of this client are in flight, so this one was never sent"
            ) from None

    async def exchange(
        self, kind: int, key: bytes, argument: Argument, condition: Argument, seconds: float
    ) -> tuple[int, Argument, int]:
        """Send one operation, and wait so long for its answer; LOST as status when none came."""
        connection = self.connection
        assert connection is not None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[int, Argument, int]] = loop.create_future()

        def answered(status: int, value: Argument, version: int) -> None:
            if not future.done():
                future.set_result((status, value, version))
            if len(connection.in_flight) < _IN_FLIGHT_MAX:
                self._room.set()

        def expired() -> None:
            if not future.done():
                connection.suspect = True
                future.set_result((LOST, b"no answer within %.3g s" % seconds, 0))

        timeout_ms = max(1, int((seconds - min(_MARGIN_S, seconds / 10)) * 1000))
        identifier = connection.submit(kind, key, argument, condition, timeout_ms, answered)
        timer = loop.call_later(seconds, expired)
        try:
            return await future
        finally:
            timer.cancel()
            connection.forget(identifier)

    async def status(self, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                if self.connection is None:
                    await self.first_attempt(min(seconds, _CONNECT_S))
                if self.connection is None:
                    return {"address": self.address, "up": False, "error": self.reason}
                return {"address": self.address, "up": True, **await self.connection.status()}
        except (TimeoutError, PaxosKVError) as error:
            return {"address": self.address, "up": False, "error": str(error) or f"no answer within {seconds:g} s"}


def connect(endpoints: str | Iterable[str], *, timeout: float = 5.0, prefer: str | int | None = None) -> Client:
    """A client of the cluster with these nodes, ``"host:port,host:port"`` or an iterable of them.

    Use it as ``async with connect(...) as kv`` or ``kv = await connect(...)`` with ``await kv.close()``. `timeout`, in
    seconds, is for connecting and for every call that has none of its own. `prefer` is the endpoint, or its index,
    that gets all operations while it can be reached. Raises NotReached when no node answers.
    """
    return Client(endpoints, timeout=timeout, prefer=prefer)


def parse_endpoints(endpoints: str | Iterable[str]) -> list[str]:
    """The addresses. Raises BadRequest with what is wrong."""
    texts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    found = []
    for text in texts:
        address = text.strip()
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise BadRequest(f"{text!r} is no endpoint; it must be host:port, such as 127.0.0.1:7401")
        if address not in found:
            found.append(address)
    return found


def _choose(links: list[_Link], prefer: str | int | None) -> _Link | None:
    if prefer is None:
        return None
    if isinstance(prefer, int):
        if not 0 <= prefer < len(links):
            raise BadRequest(f"prefer is {prefer}; there are {len(links)} endpoints, counted from 0")
        return links[prefer]
    for link in links:
        if link.address == prefer:
            return link
    raise BadRequest(f"prefer is {prefer!r}, which is none of the endpoints")


def _bytes(data: Data, what: str) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise BadRequest(f"a {what} is bytes or str, not {type(data).__name__}")


def _text(value: Argument) -> str:
    return value.decode(errors="replace") if type(value) is bytes else str(value)


def _raise_unanswered(kind: int, address: str, reason: str) -> NoReturn:
    name = operations.KIND_NAMES[kind]
    if kind == operations.GET:
        raise Unavailable(f"{address}: {reason}; no node answered this read in time")
    raise OutcomeUnknown(
        f"{address}: {reason}, after the {name} was sent; it may or may not have happened: read the key, and decide"
    )


_FAILURES: Final = {
    operations.CONDITION_FAILED: "the key is not as demanded",
    operations.NOT_AN_INTEGER: "the value is no signed 64-bit decimal number",
    operations.INTEGER_OVERFLOW: "the number would leave the signed 64-bit range",
    operations.VALUE_TOO_LARGE: "the value would become longer than the cluster allows",
}


def _error(status: int, value: Argument, version: int, address: str) -> PaxosKVError:
    kind = errors.BY_STATUS.get(status)
    if kind is None:
        return OutcomeUnknown(f"{address} answered with status {status}, which this client does not know")
    if issubclass(kind, errors.ConditionFailed):
        current = value if type(value) is bytes else None
        now = f"it has version {version}" if version else "it is absent"
        return kind(f"{_FAILURES[status]}: {now}; nothing was changed", current, version)
    return kind(f"{address}: {_text(value)}")
