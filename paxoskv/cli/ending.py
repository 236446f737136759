"""SIGTERM ends long work as Ctrl-C does: with everything put back in order, and what was found so far."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM end what goes on here as Ctrl-C does: with everything put back in order."""

    def on_terminate(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_until_sigterm(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run, of which SIGTERM cancels the main task, as Ctrl-C does; a second one ends it where it stands.

    KeyboardInterrupt in the midst of a loop, which `ended_by_sigterm` would raise, is nothing that a task could put
    itself in order after.
    """
    tasks: list[asyncio.Task[Any] | None] = []

    async def outer() -> T:
        tasks.append(asyncio.current_task())
        return await main

    def on_terminate(number: int, frame: object) -> None:
        task = tasks.pop() if tasks else None
        if task is None:
            raise KeyboardInterrupt
        task.get_loop().call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGTERM, on_terminate)
    try:
        return asyncio.run(outer())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGTERM, before)
