"""A load from one process or several, which Ctrl-C or SIGTERM ends early and without losing what was measured."""

import asyncio
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from types import FrameType
from typing import Any, Final

from paxoskv.core.errors import PaxosKVError
from paxoskv.load.generator import Generator
from paxoskv.load.plan import Outcome, Plan
from paxoskv.net import loops

_PROGRESS_S: Final = 0.25
_POLL_S: Final = 0.05
_START_S_MAX: Final = 60.0
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)

Show = Callable[[int], None]
"""Called when the load begins, and then about four times a second, with the number of operations measured so far."""


def run(plan: Plan, processes: int, show: Show) -> Outcome:
    """Carry out the plan, with its clients and its rate divided over so many processes.

    There are as many clients as processes, or more. SIGINT or SIGTERM ends the measurement; a second one does what it
    does by itself. Raises as `Generator.run` does.
    """
    if processes == 1:
        return _run_here(plan, show)
    if plan.load:
        loops.run(lambda: _load(plan))
    return _run_in_processes(_divide(plan, processes), show)


async def _load(plan: Plan) -> int:
    await Generator(plan).load()
    return 0


def _run_here(plan: Plan, show: Show) -> Outcome:
    found: list[Outcome] = []

    async def main() -> int:
        generator = Generator(plan)
        loop = asyncio.get_running_loop()
        showing: list[asyncio.Task[None]] = []

        def restore() -> None:
            # What Python does by itself.
            for number in _ENDING:
                loop.remove_signal_handler(number)

        def on_interrupt() -> None:
            generator.stop()
            restore()

        async def begin() -> None:
            for number in _ENDING:
                loop.add_signal_handler(number, on_interrupt)
            showing.append(loop.create_task(_show(generator, show)))
            await asyncio.sleep(0)  # It has begun to show.

        try:
            found.append(await generator.run(begin))
        finally:
            for task in showing:
                task.cancel()
            restore()
        return 0

    loops.run(main)
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


def _run_in_processes(plans: list[Plan], show: Show) -> Outcome:
    # A fresh interpreter for each: a fork would take threads and event loops along.
    context = multiprocessing.get_context("spawn")
    started = context.Barrier(len(plans))
    stop = context.Event()
    begun = context.Event()
    progress = context.Array("Q", len(plans), lock=False)
    workers = []
    merged = Outcome()
    failure: PaxosKVError | None = None
    with _stopping_on_interrupt(stop.set):
        with _undisturbed_children():
            for plan in plans:
                ours, theirs = context.Pipe(duplex=False)
                arguments = (plan, started, begun, stop, progress, theirs, os.getpid())
                worker = context.Process(target=_work, args=arguments, name=f"paxoskv bench {plan.part}", daemon=True)
                worker.start()
                theirs.close()
                workers.append((worker, ours))
        for worker, pipe in workers:
            while not pipe.poll(_PROGRESS_S):
                if begun.is_set():
                    show(sum(progress))
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
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, on_interrupt) for number in _ENDING}
    try:
        yield
    finally:
        restore()


@contextlib.contextmanager
def _undisturbed_children() -> Iterator[None]:
    """Who is started meanwhile gets neither signal while it is imported: a terminal, and `timeout`, send them to every
    process. What came for us comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(plan: Plan, started: Any, begun: Any, stop: Any, progress: Any, pipe: Pipe, parent: int) -> None:
    """One process's part. Answers its Outcome, or the error that it ended with, through the pipe."""
    results: list[Outcome | PaxosKVError] = []

    async def main() -> int:
        generator = Generator(plan)

        async def begin_together() -> None:
            # Or else the rates of times when not all were there would be added up.
            try:
                await asyncio.to_thread(started.wait, _START_S_MAX)
                begun.set()
            except threading.BrokenBarrierError:
                generator.stop()  # Another one could not start, and tells why.

        async def follow() -> None:
            while True:
                await asyncio.sleep(_POLL_S)
                progress[plan.part] = generator.outcome.histogram.total
                if os.getppid() != parent:
                    os._exit(1)  # Nobody is left to report to.
                if stop.is_set():
                    generator.stop()

        # Of SIGINT the first process tells. SIGTERM comes from it, too, when it ends before its time.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, generator.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        following = asyncio.create_task(follow())
        try:
            results.append(await generator.run(begin_together))
        finally:
            following.cancel()
        return 0

    try:
        loops.run(main)
    except PaxosKVError as error:
        results.append(error)
        started.abort()
    pipe.send(results[0])
    pipe.close()
