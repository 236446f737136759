"""A load from one process or several, which Ctrl-C ends early and without losing what was measured."""

import asyncio
import contextlib
import dataclasses
import multiprocessing
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from multiprocessing.connection import Connection as Pipe
from types import FrameType
from typing import Any, Final

from paxoskv.core.errors import PaxosKVError
from paxoskv.load.generator import Generator
from paxoskv.load.plan import Outcome, Plan

_PROGRESS_S: Final = 0.25
_POLL_S: Final = 0.05
_START_S_MAX: Final = 60.0

Show = Callable[[int], None]
"""Called when the load begins, and then about four times a second, with the number of operations measured so far."""
RunLoop = Callable[[Callable[[], Coroutine[Any, Any, int]]], int]
"""Runs a coroutine on an event loop of its own, as `paxoskv.server.run.run_with_best_loop` does."""


def run(plan: Plan, processes: int, run_loop: RunLoop, show: Show) -> Outcome:
    """Carry out the plan, with its clients and its rate divided over so many processes.

    There are as many clients as processes, or more. SIGINT ends the measurement; a second one raises
    KeyboardInterrupt. Raises as `Generator.run` does.
    """
    if processes == 1:
        return _run_here(plan, run_loop, show)
    if plan.load:
        run_loop(lambda: _load(plan))
    return _run_in_processes(_divide(plan, processes), run_loop, show)


async def _load(plan: Plan) -> int:
    await Generator(plan).load()
    return 0


def _run_here(plan: Plan, run_loop: RunLoop, show: Show) -> Outcome:
    found: list[Outcome] = []

    async def main() -> int:
        generator = Generator(plan)
        loop = asyncio.get_running_loop()
        showing: list[asyncio.Task[None]] = []

        def on_interrupt() -> None:
            generator.stop()
            loop.remove_signal_handler(signal.SIGINT)  # And with it comes Python's own, for the second one.

        async def begin() -> None:
            loop.add_signal_handler(signal.SIGINT, on_interrupt)
            showing.append(loop.create_task(_show(generator, show)))
            await asyncio.sleep(0)  # It has begun to show.

        try:
            found.append(await generator.run(begin))
        finally:
            for task in showing:
                task.cancel()
            loop.remove_signal_handler(signal.SIGINT)
        return 0

    run_loop(main)
    return found[0]


async def _show(generator: Generator, show: Show) -> None:
    while True:
        show(generator.outcome.histogram.total)
        await asyncio.sleep(_PROGRESS_S)


def _divide(plan: Plan, processes: int) -> list[Plan]:
    return [
        dataclasses.replace(
            plan,
            clients=plan.clients // processes + (part < plan.clients % processes),
            rate=plan.rate / processes,
            seed=plan.seed * 1000 + part,
            load=False,
            part=part,
            parts=processes,
        )
        for part in range(processes)
    ]


def _run_in_processes(plans: list[Plan], run_loop: RunLoop, show: Show) -> Outcome:
    # A fresh interpreter for each: a fork would take threads and event loops along.
    context = multiprocessing.get_context("spawn")
    started = context.Barrier(len(plans))
    stop = context.Event()
    progress = context.Array("Q", len(plans), lock=False)
    workers = []
    for plan in plans:
        ours, theirs = context.Pipe(duplex=False)
        arguments = (plan, run_loop, started, stop, progress, theirs)
        worker = context.Process(target=_work, args=arguments, name=f"paxoskv bench {plan.part}", daemon=True)
        worker.start()
        theirs.close()
        workers.append((worker, ours))
    merged = Outcome()
    failure: PaxosKVError | None = None
    with _stopping_on_interrupt(stop.set):
        for worker, pipe in workers:
            while not pipe.poll(_PROGRESS_S):
                if operations := sum(progress):
                    show(operations)
            try:
                result = pipe.recv()
            except EOFError:
                worker.join()
                raise RuntimeError(f"{worker.name} ended with exit code {worker.exitcode}") from None
            if isinstance(result, PaxosKVError):
                failure = failure or result
            else:
                merged.merge(result)
            worker.join()
    if failure is not None:
        raise failure
    return merged


@contextlib.contextmanager
def _stopping_on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(plan: Plan, run_loop: RunLoop, started: Any, stop: Any, progress: Any, pipe: Pipe) -> None:
    """One process's part. Answers its Outcome, or the error that it ended with, through the pipe."""
    # A terminal sends it to every process; the first one tells us what is to be done about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    results: list[Outcome | PaxosKVError] = []

    async def main() -> int:
        generator = Generator(plan)

        async def begin_together() -> None:
            # Or else the rates of times when not all were there would be added up.
            try:
                await asyncio.to_thread(started.wait, _START_S_MAX)
            except threading.BrokenBarrierError:
                generator.stop()  # Another one could not start, and tells why.

        async def follow() -> None:
            while True:
                await asyncio.sleep(_POLL_S)
                progress[plan.part] = generator.outcome.histogram.total
                if stop.is_set():
                    generator.stop()

        following = asyncio.create_task(follow())
        try:
            results.append(await generator.run(begin_together))
        finally:
            following.cancel()
        return 0

    try:
        run_loop(main)
    except PaxosKVError as error:
        results.append(error)
        started.abort()
    pipe.send(results[0])
    pipe.close()
