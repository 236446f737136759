"""What goes wrong during a verification, and when: drawn from a seed."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from paxoskv.client.connection import Connection
from paxoskv.core.errors import ConfigurationError, NotReached, ProtocolError
from paxoskv.server.launcher import LocalCluster
from paxoskv.verify.proxy import Links

KILL: Final = "kill"
PAUSE: Final = "pause"
PARTITION: Final = "partition"
SLOW_LINK: Final = "slow-link"
DISK_STALL: Final = "disk-stall"
CLOCK: Final = "clock"
FAULTS: Final = (KILL, PAUSE, PARTITION, SLOW_LINK, DISK_STALL, CLOCK)
# Those that need nothing but a client connection, so that a cluster which somebody else started can have them.
WITHOUT_PROCESSES: Final = (DISK_STALL, CLOCK)

_PAUSE_S: Final = (0.2, 1.2)
_LASTS_S: Final = (0.3, 2.5)
# Probability that the next fault begins while the last one still lasts.
_OVERLAP: Final = 0.35
# Probabilities that a stall of a disk is one of all disks, and that it ends with the death of its node.
_POWER_FAILS: Final = 0.3
_DIES_STALLED: Final = 0.4
_FAULT_REQUEST_S: Final = 2.0
_UNDO_ATTEMPTS: Final = 50


@dataclass(slots=True)
class Incident:
    """A fault that happened. Times are those of the history's clock."""

    kind: str
    text: str
    nodes: tuple[int, ...]
    """Whom it befell: clients of other nodes should hardly notice."""
    start: float
    finish: float | None = None


Undo = Callable[[], Awaitable[None]]


class Nemesis:
    """Breaks a cluster and mends it again."""

    def __init__(
        self,
        kinds: Sequence[str],
        seed: int,
        endpoints: dict[int, str],
        cluster: LocalCluster | None,
        links: Links | None,
        say: Callable[[str], None],
    ) -> None:
        self.incidents: list[Incident] = []
        self.unmended: list[str] = []
        """What could not be put right again, in sentences: nodes that do not come back, most of all."""
        self._kinds = list(kinds)
        self._rng = random.Random(f"{seed} nemesis")
        self._endpoints = endpoints
        self._cluster = cluster
        self._links = links or {}
        self._say = say
        self._lasting: dict[asyncio.Task[None], None] = {}
        self._down: set[int] = set()
        self._begin: dict[str, Callable[[Incident], Awaitable[Undo]]] = {
            KILL: self._kill,
            PAUSE: self._pause,
            PARTITION: self._partition,
            SLOW_LINK: self._slow_link,
            DISK_STALL: self._disk_stall,
            CLOCK: self._clock,
        }

    async def ask_leave(self) -> None:
        """Raise ConfigurationError if a node of somebody's cluster does not take the faults that only it can make: they
        would not happen, and the test of them would be passed."""
        if not self._kinds:
            return
        for number in self._endpoints:
            try:
                await self._inject(number, "disk-stall", False)  # So it is already.
            except ProtocolError as error:
                raise ConfigurationError(f"{error}; start all nodes with it, or give --faults none") from None
            except (NotReached, TimeoutError):
                continue  # It is down, and may come back.

    async def run(self, until: float) -> None:
        """Break things until that moment, then wait until everything is mended."""
        rng = self._rng
        try:
            while self._kinds and time.monotonic() < until:
                await asyncio.sleep(min(rng.uniform(*_PAUSE_S), max(0.0, until - time.monotonic())))
                lasts_s = min(rng.uniform(*_LASTS_S), until - time.monotonic())
                if lasts_s <= 0:
                    break
                task = asyncio.create_task(self._strike(rng.choice(self._kinds), lasts_s))
                self._lasting[task] = None
                task.add_done_callback(self._ended)
                if rng.random() >= _OVERLAP:
                    await asyncio.wait({task})
        finally:
            if self._lasting:
                await asyncio.wait(set(self._lasting))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._lasting.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A fault that was not made, or not undone, is no test passed.
            self.unmended.append(f"the nemesis itself failed: {error!r}")

    async def _strike(self, kind: str, lasts_s: float) -> None:
        incident = Incident(kind, "", (), time.monotonic())
        try:
            undo = await self._begin[kind](incident)
        except (NotReached, ProtocolError, TimeoutError):
            return  # Its node is down or cut off by another fault just now.
        self.incidents.append(incident)
        self._say(incident.text)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            try:
                await undo()
            except ConfigurationError as error:
                self.unmended.append(f"after {incident.text}: {error}")
                self._say(self.unmended[-1])
            incident.finish = time.monotonic()

    def _node(self) -> int:
        return self._rng.choice(list(self._endpoints))

    async def _kill(self, incident: Incident) -> Undo:
        cluster = self._cluster
        assert cluster is not None
        number = self._node()
        if number in self._down:
            raise NotReached(f"node {number} is down already")
        self._down.add(number)
        incident.text, incident.nodes = f"kill node {number}", (number,)
        await asyncio.to_thread(cluster.kill, number)

        async def undo() -> None:
            cluster.start(number)
            await asyncio.to_thread(cluster.wait_ready, number)
            self._down.discard(number)

        return undo

    async def _pause(self, incident: Incident) -> Undo:
        cluster = self._cluster
        assert cluster is not None
        number = self._node()
        if number in self._down:
            raise NotReached(f"node {number} is down already")
        self._down.add(number)
        incident.text, incident.nodes = f"pause node {number}", (number,)
        cluster.signal(number, signal.SIGSTOP)

        async def undo() -> None:
            cluster.signal(number, signal.SIGCONT)
            self._down.discard(number)

        return undo

    async def _partition(self, incident: Incident) -> Undo:
        rng = self._rng
        number = self._node()
        others = [other for other in self._endpoints if other != number]
        if not others:
            raise NotReached("a cluster of one node has no links")
        way = rng.choice(("both", "both", "out", "in", "link"))
        links = {
            "both": [pair for other in others for pair in ((number, other), (other, number))],
            "out": [(number, other) for other in others],
            "in": [(other, number) for other in others],
            "link": [(number, rng.choice(others))],
        }[way]
        # Some cuts are noticed, since connections break; through others nothing comes, and nobody is told.
        silent = rng.random() < 0.5
        words = {
            "both": f"partition: node {number} alone",
            "out": f"partition: nobody hears node {number}",
            "in": f"partition: node {number} hears nobody",
            "link": f"partition: node {links[0][1]} does not hear node {number}",
        }
        incident.text = words[way] + (", silently" if silent else "")
        incident.nodes = (number,)
        for pair in links:
            self._links[pair].stall() if silent else self._links[pair].cut()

        async def undo() -> None:
            for pair in links:
                self._links[pair].flow() if silent else self._links[pair].mend()

        return undo

    async def _slow_link(self, incident: Incident) -> Undo:
        rng = self._rng
        if not self._links:
            raise NotReached("a cluster of one node has no links")
        pair = rng.choice(list(self._links))
        lossy = rng.random() < 0.5
        share, seconds = rng.choice((0.02, 0.2)), rng.choice((0.005, 0.03, 0.2))
        what = f"breaks at {share:.0%} of the chunks" if lossy else f"{seconds * 1000:.0f} ms slower"
        incident.text = f"link from node {pair[0]} to node {pair[1]} {what}"
        incident.nodes = pair
        link = self._links[pair]
        link.lose(share) if lossy else link.delay(seconds)

        async def undo() -> None:
            link.lose(-share) if lossy else link.delay(-seconds)

        return undo

    async def _disk_stall(self, incident: Incident) -> Undo:
        rng = self._rng
        may_die = KILL in self._kinds and self._cluster is not None
        # What was acknowledged and is on no disk shows when those die who claimed it: all at once, as if power failed.
        numbers = sorted(self._endpoints) if may_die and rng.random() < _POWER_FAILS else [self._node()]
        dies = len(numbers) > 1 or (may_die and rng.random() < _DIES_STALLED)
        if self._down.intersection(numbers):
            raise NotReached(f"of nodes {numbers} some are down already")
        whose = "all disks stall" if len(numbers) > 1 else f"disk of node {numbers[0]} stalls"
        incident.text = whose + (", then power fails" if len(numbers) > 1 else ", then it is killed" if dies else "")
        incident.nodes = tuple(numbers)
        for number in numbers:
            await self._inject(number, "disk-stall", True)

        async def undo() -> None:
            if dies:
                await self._restart([number for number in numbers if number not in self._down])
            for number in numbers:
                # It may be down or paused just now. (A new process begins with a disk that works.)
                for _ in range(_UNDO_ATTEMPTS):
                    with contextlib.suppress(NotReached, ProtocolError, TimeoutError):
                        await self._inject(number, "disk-stall", False)
                        break
                    await asyncio.sleep(_FAULT_REQUEST_S / 10)
                else:
                    raise ConfigurationError(f"node {number} could not be told that its disk works again; see its log")

        return undo

    async def _restart(self, numbers: list[int]) -> None:
        """Kill nodes all at once, and start them again."""
        cluster = self._cluster
        assert cluster is not None
        self._down.update(numbers)
        for number in numbers:
            cluster.kill(number)
        for number in numbers:
            cluster.start(number)
        for number in numbers:
            await asyncio.to_thread(cluster.wait_ready, number)
        self._down.difference_update(numbers)

    async def _clock(self, incident: Incident) -> Undo:
        number = self._node()
        seconds = self._rng.choice((0.05, 1.0, 60.0, 3600.0))
        incident.text, incident.nodes = f"clock of node {number} jumps by {seconds:g} s", (number,)
        await self._inject(number, "clock-jump", seconds)

        async def undo() -> None:
            """It stays where it is: nothing may depend on it."""

        return undo

    async def _inject(self, number: int, name: str, argument: bool | float) -> None:
        host, _, port = self._endpoints[number].rpartition(":")
        async with asyncio.timeout(_FAULT_REQUEST_S):
            connection = await Connection.open(
                host.removeprefix("[").removesuffix("]"), int(port), _FAULT_REQUEST_S, lambda *_: None
            )
            try:
                await connection.inject_fault(name, argument)
            finally:
                connection.close()
