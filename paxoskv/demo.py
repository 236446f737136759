"""The demonstration: a real cluster, a mixed load through all coordinators, one node killed in the middle of it.

What is counted is what a user would count: writes that were acknowledged and are not there afterwards. Beside that,
every call is recorded, so that the checker can judge all answers, reads included.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import paxoskv
from paxoskv.check.recorder import Call, Recorder
from paxoskv.core.errors import ConditionFailed, PaxosKVError, Unavailable
from paxoskv.server.launcher import LocalCluster

T = TypeVar("T")

_LISTS = 64


@dataclass(slots=True)
class ClientLog:
    """What one client saw."""

    coordinator: int
    last_success: float
    name: str
    """In the history. Who does not know an outcome goes on under a new one, as what is unknown may happen later."""
    longest_gap_s: float = 0.0

    def succeeded(self, now: float) -> None:
        """Note a success, and with it the gap since the one before."""
        self.longest_gap_s = max(self.longest_gap_s, now - self.last_success)
        self.last_success = now


@dataclass(slots=True)
class Ledger:
    """What all clients were told, to be compared with what is there in the end."""

    latencies_s: list[float] = field(default_factory=list)
    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    acknowledged_writes: int = 0
    last_put: dict[bytes, bytes] = field(default_factory=dict)
    """By key, which only one client writes: the last value that was acknowledged."""
    acknowledged: defaultdict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """By counter or list: a token for each write that was acknowledged."""
    unknown: defaultdict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """By any key: tokens of writes that may or may not have happened."""
    history: Recorder = field(default_factory=Recorder)


@dataclass(slots=True)
class Verdict:
    """The comparison."""

    keys: int = 0
    lost: int = 0
    applied_twice: int = 0
    sentences: list[str] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether everything is as clients were told."""
        return not (self.lost or self.applied_twice)


@dataclass(slots=True)
class Report:
    """Everything that the table shows."""

    nodes: int
    clients: int
    seconds: float
    killed: int
    restart_s: float
    longest_gap_s: float
    ledger: Ledger
    verdict: Verdict

    def percentile_ms(self, share: float) -> float:
        """A percentile of the latencies of successful operations."""
        ordered = sorted(self.ledger.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


class _Load:
    """Clients in closed loops, each through the coordinator that it prefers."""

    def __init__(self, cluster: LocalCluster, clients: int, seed: int) -> None:
        self.cluster = cluster
        self.ledger = Ledger()
        self.logs: list[ClientLog] = []
        self.stopping = False
        self._clients = clients
        self._seed = seed

    async def run(self) -> None:
        """Until `stopping`."""
        numbers = list(self.cluster.config.nodes)
        endpoints = self.cluster.endpoints
        connections = [paxoskv.connect(endpoints, prefer=endpoint, timeout=5.0) for endpoint in endpoints]
        try:
            for connection in connections:
                await connection
            async with asyncio.TaskGroup() as group:
                for index in range(self._clients):
                    log = ClientLog(numbers[index % len(numbers)], time.monotonic(), str(index))
                    self.logs.append(log)
                    group.create_task(self._client(index, connections[index % len(numbers)], log))
        finally:
            for connection in connections:
                await connection.close()

    async def _client(self, index: int, kv: paxoskv.Client, log: ClientLog) -> None:
        rng = random.Random(f"{self._seed}/{index}")
        count = 0
        while not self.stopping:
            count += 1
            name, operation = self._draw(rng, kv, index, count, log.name)
            began = time.monotonic()
            try:
                await operation()
            except ConditionFailed:
                pass
            except PaxosKVError as error:
                self.ledger.errors[error.code] += 1
                if not error.definite:
                    log.name = f"{index} after {count}"
                await asyncio.sleep(0.01)
                continue
            now = time.monotonic()
            self.ledger.latencies_s.append(now - began)
            self.ledger.operations[name] += 1
            log.succeeded(now)
        log.succeeded(time.monotonic())  # Whoever waits for a success at the end has waited so long.

    def _draw(
        self, rng: random.Random, kv: paxoskv.Client, index: int, count: int, client: str
    ) -> tuple[str, Callable[[], Awaitable[None]]]:
        ledger = self.ledger
        begin = ledger.history.call
        dice = rng.random()
        token = b"%d-%d" % (index, count)

        async def put() -> None:
            key = b"own/%d/%d" % (index, rng.randrange(20))
            with _told(begin(client=client, kind="put", key=key, value=token)) as call:
                call.returned(version=await self._write(key, token, kv.put(key, token)))
            ledger.last_put[key] = token

        async def incr() -> None:
            key = b"counter/%d" % rng.randrange(4)
            with _told(begin(client=client, kind="incr", key=key)) as call:
                counter = await self._write(key, token, kv.incr(key))
                call.returned(counter.value, version=counter.version)
            ledger.acknowledged[key].add(token)

        async def append() -> None:
            key = b"list/%d/%d" % (rng.randrange(_LISTS), count // 50)
            with _told(begin(client=client, kind="append", key=key, value=token + b" ")) as call:
                appended = await self._write(key, token, kv.append(key, token + b" "))
                call.returned(appended.length, version=appended.version)
            ledger.acknowledged[key].add(token)

        async def cas() -> None:
            key = b"shared/%d" % rng.randrange(8)
            seen = (await _read(kv, ledger.history, client, key)).value
            with _told(begin(client=client, kind="cas", key=key, value=token, expected=seen)) as call:
                call.returned(version=await self._write(key, token, kv.cas(key, seen, token)))

        async def get() -> None:
            await _read(kv, ledger.history, client, b"own/%d/%d" % (rng.randrange(self._clients), rng.randrange(20)))

        mix = ((0.4, "put", put), (0.6, "incr", incr), (0.75, "append", append), (0.85, "cas", cas), (1.0, "get", get))
        return next((name, operation) for share, name, operation in mix if dice < share)

    async def _write(self, key: bytes, token: bytes, operation: Awaitable[T]) -> T:
        ledger = self.ledger
        ledger.unknown[key].add(token)
        try:
            result = await operation
        except PaxosKVError as error:
            if error.definite:
                ledger.unknown[key].discard(token)
            raise
        ledger.unknown[key].discard(token)
        ledger.acknowledged_writes += 1
        return result


@contextlib.contextmanager
def _told(call: Call) -> Iterator[Call]:
    """A call, whose failure is recorded for what it says."""
    with call:
        try:
            yield call
        except ConditionFailed as error:
            call.refused(error.value, version=error.version, because=error.code)
            raise
        except PaxosKVError as error:
            if error.definite:
                call.failed()
            raise


async def _read(kv: paxoskv.Client, history: Recorder, client: str, key: bytes) -> paxoskv.Entry:
    with _told(history.call(client=client, kind="get", key=key)) as call:
        entry = await kv.get(key)
        call.returned(entry.value, version=entry.version)
    return entry


async def run(cluster: LocalCluster, clients: int, seconds: float, seed: int, say: Callable[[str], None]) -> Report:
    """Load a running cluster for `seconds`; kill one node a third into it, start it again after two thirds."""
    load = _Load(cluster, clients, seed)
    began = time.monotonic()
    task = asyncio.create_task(load.run())
    say(f"{clients} clients write and read through all {len(cluster.nodes)} coordinators")
    await _sleep_or_fail(task, seconds / 3)
    victim, words = await _victim(cluster)
    with load.ledger.history.fault("kill", victim, f"node {victim} killed with SIGKILL"):
        pid = cluster.nodes[victim].process.pid
        await asyncio.to_thread(cluster.kill, victim)
        say(f"{words} killed with SIGKILL (pid {pid}); the load goes on")
        await _sleep_or_fail(task, seconds / 3)
        restarted_at = time.monotonic()
        cluster.start(victim)
        await asyncio.to_thread(cluster.wait_ready, victim)
        restart_s = time.monotonic() - restarted_at
    say(f"node {victim} started again, ready after {restart_s:.2f} s")
    await _sleep_or_fail(task, seconds / 3)
    load.stopping = True
    await task
    elapsed = time.monotonic() - began
    say("load stopped; reading every key back, through every node")
    if not load.ledger.acknowledged_writes:
        raise Unavailable("no write was acknowledged, so there is nothing to be found again; see the nodes' logs")
    verdict = await compare(cluster.endpoints, load.ledger)
    gaps = [log.longest_gap_s for log in load.logs if log.coordinator != victim]
    return Report(len(cluster.nodes), clients, elapsed, victim, restart_s, max(gaps, default=0.0), load.ledger, verdict)


async def _victim(cluster: LocalCluster) -> tuple[int, str]:
    """The node whose loss costs most, and what to call it: the leader where one leads, any one where nobody does."""
    async with paxoskv.connect(cluster.endpoints) as kv:
        for node in await kv.status():
            if node.get("raft", {}).get("role") == "leader":
                return int(node["node"]), f"node {node['node']}, the leader,"
    number = sorted(cluster.nodes)[len(cluster.nodes) // 2]
    return number, f"node {number}"


async def _sleep_or_fail(task: "asyncio.Task[None]", seconds: float) -> None:
    done, _ = await asyncio.wait([task], timeout=seconds)
    if done:
        task.result()


async def compare(endpoints: list[str], ledger: Ledger) -> Verdict:
    """Read every key of the ledger through every node, and count what is missing."""
    verdict = Verdict()
    keys = [*ledger.last_put, *ledger.acknowledged]
    verdict.keys = len(keys)
    found: dict[bytes, bytes | None] = {}
    for number, endpoint in enumerate(endpoints, 1):
        async with paxoskv.connect(endpoints, prefer=endpoint, timeout=10.0) as kv:
            entries = await asyncio.gather(*[_read(kv, ledger.history, f"reader {number}", key) for key in keys])
            for key, entry in zip(keys, entries, strict=True):
                if found.setdefault(key, entry.value) != entry.value:
                    verdict.lost += 1
                    verdict.sentences.append(f"{key!r} reads differently through {endpoint}")
    for key, value in ledger.last_put.items():
        if found[key] != value and found[key] not in ledger.unknown[key]:
            verdict.lost += 1
            verdict.sentences.append(f"{key!r} holds {found[key]!r}; {value!r} was acknowledged last")
    for key, tokens in ledger.acknowledged.items():
        if key.startswith(b"counter/"):
            _compare_counter(verdict, key, int(found[key] or 0), len(tokens), len(ledger.unknown[key]))
        else:
            _compare_list(verdict, key, (found[key] or b"").split(), tokens, ledger.unknown[key])
    return verdict


def _compare_counter(verdict: Verdict, key: bytes, number: int, acknowledged: int, unknown: int) -> None:
    if number < acknowledged:
        verdict.lost += acknowledged - number
        verdict.sentences.append(f"{key!r} is {number}; {acknowledged} increments were acknowledged")
    if number > acknowledged + unknown:
        verdict.applied_twice += number - acknowledged - unknown
        verdict.sentences.append(f"{key!r} is {number}; only {acknowledged} increments were acknowledged")


def _compare_list(
    verdict: Verdict, key: bytes, there: list[bytes], acknowledged: set[bytes], unknown: set[bytes]
) -> None:
    times = Counter(there)
    for token in acknowledged:
        if not times[token]:
            verdict.lost += 1
            verdict.sentences.append(f"{key!r} lacks {token!r}, whose append was acknowledged")
    for token, count in times.items():
        if count > 1 or token not in acknowledged | unknown:
            verdict.applied_twice += 1
            verdict.sentences.append(f"{key!r} has {token!r} {count} times")
