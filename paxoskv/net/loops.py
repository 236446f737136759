"""The event loop: uvloop's where it can be had."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """asyncio.run on uvloop, or on asyncio's own loop where uvloop cannot be had."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def why_slower() -> str:
    """Why the running loop is not uvloop's, "" if it is."""
    try:
        import uvloop
    except ImportError as error:
        return str(error)
    return "" if isinstance(asyncio.get_running_loop(), uvloop.Loop) else "another loop was asked for"
