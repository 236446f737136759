"""The blocking twin: the same methods for code without an event loop, callable from any number of threads."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from paxoskv.client import client as asynchronous
from paxoskv.client.arguments import Data
from paxoskv.client.results import Appended, Counter, Entry, Found, Swapped
from paxoskv.core.errors import NotReached, PaxosKVError

T = TypeVar("T")
# Items of a scan that are brought over from the loop's thread at a time.
_SOME = 64


class BlockingClient:
    """`paxoskv.Client` on an event loop of its own, in a background thread.

    Any thread may call it. It does not survive a fork: the child has no such thread, and its calls raise NotReached.
    """

    def __init__(self, endpoints: str | Iterable[str], *, timeout: float, prefer: str | int | None) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="paxoskv client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(_connected(endpoints, timeout, prefer))
        except BaseException:
            self._end(_nothing())
            raise

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        if os.getpid() != self._process:
            # Before the lock, which some thread of the parent may have held.
            call.close()
            raise NotReached("this client was made before the process was forked; connect another one in the child")
        with self._lock:
            if self._closed:
                call.close()
                raise NotReached(asynchronous.CLOSED)
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C, for one: the call is given up, and the client stays usable.
            future.cancel()
            raise

    def close(self) -> None:
        """Close every connection and end the thread. Calls of other threads that are in flight raise what fits."""
        self._end(self._client.close())

    def _end(self, closing: Coroutine[Any, Any, None]) -> None:
        if os.getpid() != self._process:
            # The connections are the parent's, which goes on with them.
            closing.close()
            return
        with self._lock:
            if self._closed:
                closing.close()
                return
            # From here on nobody can add a call that the loop would never come to.
            self._closed = True
            future = asyncio.run_coroutine_threadsafe(_after_all_calls(closing), self._loop)
        try:
            future.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> "BlockingClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: Data, *, timeout: float | None = None) -> Entry:
        """See `Client.get`."""
        return self._run(self._client.get(key, timeout=timeout))

    def put(
        self,
        key: Data,
        value: Data,
        *,
        ttl: float | None = None,
        keep_ttl: bool = False,
        if_version: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """See `Client.put`."""
        return self._run(
            self._client.put(key, value, ttl=ttl, keep_ttl=keep_ttl, if_version=if_version, timeout=timeout)
        )

    def expire(self, key: Data, ttl: float, *, timeout: float | None = None) -> bool:
        """See `Client.expire`."""
        return self._run(self._client.expire(key, ttl, timeout=timeout))

    def persist(self, key: Data, *, timeout: float | None = None) -> bool:
        """See `Client.persist`."""
        return self._run(self._client.persist(key, timeout=timeout))

    def ttl(self, key: Data, *, timeout: float | None = None) -> float | None:
        """See `Client.ttl`."""
        return self._run(self._client.ttl(key, timeout=timeout))

    def scan(
        self,
        prefix: Data = b"",
        *,
        start: Data | None = None,
        end: Data | None = None,
        keys_only: bool = False,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[Found]:
        """See `Client.scan`."""
        found = self._client.scan(prefix, start=start, end=end, keys_only=keys_only, limit=limit, timeout=timeout)
        error: BaseException | None = None
        while error is None:
            part, error = self._run(_some(found))
            yield from part
            if len(part) < _SOME:
                break
        if error is not None:
            raise error

    def delete(self, key: Data, *, if_version: int | None = None, timeout: float | None = None) -> bool:
        """See `Client.delete`."""
        return self._run(self._client.delete(key, if_version=if_version, timeout=timeout))

    def cas(self, key: Data, expected: Data | None, value: Data, *, timeout: float | None = None) -> int:
        """See `Client.cas`."""
        return self._run(self._client.cas(key, expected, value, timeout=timeout))

    def incr(self, key: Data, by: int = 1, *, timeout: float | None = None) -> Counter:
        """See `Client.incr`."""
        return self._run(self._client.incr(key, by, timeout=timeout))

    def append(self, key: Data, suffix: Data, *, timeout: float | None = None) -> Appended:
        """See `Client.append`."""
        return self._run(self._client.append(key, suffix, timeout=timeout))

    def swap(self, key: Data, value: Data, *, timeout: float | None = None) -> Swapped:
        """See `Client.swap`."""
        return self._run(self._client.swap(key, value, timeout=timeout))

    def status(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """See `Client.status`."""
        return self._run(self._client.status(timeout=timeout))


async def _after_all_calls(closing: Coroutine[Any, Any, None]) -> None:
    await closing
    # Every call hears of it, and its thread is owed what it has to say.
    if calls := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(calls)


async def _some(found: AsyncIterator[Found]) -> tuple[list[Found], PaxosKVError | None]:
    """The next items, fewer only where they end, and the error that they end with."""
    part: list[Found] = []
    try:
        async for item in found:
            part.append(item)
            if len(part) == _SOME:
                break
    except PaxosKVError as error:
        return part, error
    return part, None


async def _nothing() -> None:
    pass


async def _connected(endpoints: str | Iterable[str], timeout: float, prefer: str | int | None) -> asynchronous.Client:
    return await asynchronous.connect(endpoints, timeout=timeout, prefer=prefer)


def connect(endpoints: str | Iterable[str], *, timeout: float = 5.0, prefer: str | int | None = None) -> BlockingClient:
    """A blocking client of the cluster with these nodes; see `paxoskv.connect`. Use it in a ``with``, or `close` it."""
    return BlockingClient(endpoints, timeout=timeout, prefer=prefer)
