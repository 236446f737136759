"""The blocking twin: the same methods for code without an event loop, callable from any number of threads."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

from paxoskv.client import client as asynchronous
from paxoskv.client.arguments import Data
from paxoskv.client.results import Appended, Counter, Entry, Found, Swapped
from paxoskv.core.errors import BadRequest, ClientClosed, PaxosKVError

T = TypeVar("T")
# Items of a scan that are brought over from the loop's thread at a time.
_SOME = 64


class _Call(Generic[T]):
    """What one thread waits for and the loop's thread does.

    A `concurrent.futures.Future` has a lock of its own, which the waiting thread may hold when the garbage collector
    runs a finalizer in it: should that call the client too, the loop's thread would wait for the lock, and it for the
    loop's thread.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._given_up = False
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def wait(self) -> None:
        """Block until there is an outcome."""
        self._done.acquire()

    def outcome(self) -> T:
        """What came of it, after `wait`."""
        if self._error is not None:
            raise self._error
        assert self._task is not None
        return self._task.result()

    def refuse(self) -> None:
        """There is no loop any more to begin with it."""
        if self._task is None:
            self._coroutine.close()
            self._end(ClientClosed(asynchronous.CLOSED))

    # In the loop's thread.

    def begin(self) -> None:
        if not self._given_up:
            self._task = asyncio.get_running_loop().create_task(self._coroutine)
            self._task.add_done_callback(self._finished)

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self._given_up = True
        if self._task is None:
            self._coroutine.close()
        else:
            self._task.cancel()

    def _finished(self, task: asyncio.Task[T]) -> None:
        # Cancelled is only what nobody waits for.
        self._end(None if task.cancelled() else task.exception())

    def _end(self, error: BaseException | None) -> None:
        self._error = error
        with contextlib.suppress(RuntimeError):  # Somebody has, already.
            self._done.release()


class BlockingClient:
    """`paxoskv.Client` on an event loop of its own, in a background thread.

    Any thread may call it. It does not survive a fork: the child has no such thread, and its calls raise ClientClosed.
    """

    def __init__(self, endpoints: str | Iterable[str], *, timeout: float, prefer: str | int | None) -> None:
        self._client = asynchronous.Client(endpoints, timeout=timeout, prefer=prefer)
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._ending: asyncio.Task[None] | None = None
        self._ended = False
        """No call begins any more."""
        # No lock, here and below: whoever is interrupted in the middle, by a signal or the garbage collector, and calls
        # this client from there, would wait for itself.
        self._calls: set[_Call[Any]] = set()
        self._thread = threading.Thread(target=self._serve, name="paxoskv client", daemon=True)
        self._thread.start()
        try:
            self._run(_opened(self._client))
        except BaseException:
            self.close()
            raise

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
        # What came too late for the loop to begin with it.
        for call in list(self._calls):
            call.refuse()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            self._check_thread()
        except PaxosKVError:
            coroutine.close()
            raise
        call = _Call(coroutine)
        self._calls.add(call)
        try:
            self._hand_over(self._begin, call)
            if self._loop.is_closed():
                call.refuse()  # The thread may have ended without seeing this one.
            call.wait()
        except BaseException:
            # Ctrl-C, for one: the call is given up, and the client stays usable. Whether the loop had it already, only
            # the loop's thread knows.
            self._hand_over(_Call.give_up, call)
            raise
        finally:
            self._calls.discard(call)
        return call.outcome()

    def _hand_over(self, step: Callable[[_Call[Any]], None], call: _Call[Any]) -> None:
        """Have the loop's thread do it."""
        try:
            self._loop.call_soon_threadsafe(step, call)
        except RuntimeError:
            call.refuse()  # The loop is closed.

    def _begin(self, call: _Call[Any]) -> None:
        if self._ended:
            call.refuse()
        else:
            call.begin()

    def _check_thread(self) -> None:
        if os.getpid() != self._process:
            raise ClientClosed("this client was made before the process was forked; connect another one in the child")
        if sys.is_finalizing():
            raise ClientClosed("the interpreter is ending, and this client's thread has already")
        if threading.current_thread() is self._thread:
            # A finalizer, which the garbage collector runs wherever it happens to be.
            raise BadRequest("a client cannot be called in its own thread, from a __del__; it would wait for itself")

    def close(self) -> None:
        """Close every connection and end the thread. Calls of other threads that are in flight raise what fits.

        From a `__del__` it does not wait for that. Interrupted, it goes on in the background; call it again to wait.
        """
        if os.getpid() != self._process:
            return  # The connections are the parent's, which goes on with them.
        with contextlib.suppress(RuntimeError):  # Closed already.
            self._loop.call_soon_threadsafe(self._begin_to_end)
        if threading.current_thread() is not self._thread and not sys.is_finalizing():
            self._thread.join()

    def _begin_to_end(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())

    async def _end(self) -> None:
        await self._client.close()
        # Every call hears of it, and its thread is owed what it has to say.
        while calls := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(calls)
        self._ended = True
        self._loop.stop()

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
    ) -> Generator[Found, None, None]:
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


async def _opened(client: asynchronous.Client) -> None:
    await client


def connect(endpoints: str | Iterable[str], *, timeout: float = 5.0, prefer: str | int | None = None) -> BlockingClient:
    """A blocking client of the cluster with these nodes; see `paxoskv.connect`. Use it in a ``with``, or `close` it."""
    return BlockingClient(endpoints, timeout=timeout, prefer=prefer)
