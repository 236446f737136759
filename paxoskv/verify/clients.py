"""Clients that ask for operations drawn from a seed, and write down when they asked and what they were told."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Final

import paxoskv
from paxoskv.check.history import History, Operation
from paxoskv.core import operations
from paxoskv.core.errors import ConditionFailed, PaxosKVError
from paxoskv.workload import Request, Workload

_TIMEOUTS_S: Final = (0.3, 2.0)
_THINK_S: Final = 0.01
_PAUSE_AFTER_ERROR_S: Final = 0.02
_LOOK_TIMEOUT_S: Final = 5.0
_FINAL_TIMEOUT_S: Final = 20.0


@dataclass(slots=True)
class ClientLog:
    """One client: the node that it prefers, and when it was answered."""

    node: int
    successes: list[float] = field(default_factory=list)


class CallRecorder:
    """The history, on one clock: seconds since the recorder was made."""

    def __init__(self) -> None:
        self.history = History()
        self.began = time.monotonic()
        self._clients = 0

    def now(self) -> float:
        """The history's time."""
        return time.monotonic() - self.began

    def new_client(self) -> int:
        """A number nobody has had. A client that does not know an outcome goes on under a new one."""
        self._clients += 1
        return self._clients

    async def call(self, kv: paxoskv.Client, client: int, request: Request, timeout: float) -> Operation:
        """Make one call; what was recorded of it."""
        outcome, result, version = "unknown", None, None
        start, finish = self.now(), None
        try:
            result, version = await _perform(kv, request, timeout)
            outcome, finish = "ok", self.now()
        except ConditionFailed as error:
            outcome, finish = error.code, self.now()
            result, version = error.value, error.version
        except PaxosKVError as error:
            if error.definite:
                outcome, finish = "failed", self.now()
        except asyncio.CancelledError:
            self._add(client, request, start, None, "unknown", None, None)
            raise
        return self._add(client, request, start, finish, outcome, result, version)

    def _add(
        self,
        client: int,
        request: Request,
        start: float,
        finish: float | None,
        outcome: str,
        result: bytes | int | bool | None,
        version: int | None,
    ) -> Operation:
        kind, key, argument, condition = request
        operation = Operation(
            len(self.history) + 1,
            client,
            operations.KIND_NAMES[kind],
            key,
            start,
            finish,
            outcome,
            argument,
            condition,
            result,
            version,
        )
        self.history.add(operation)
        return operation


def _seen(operation: Operation) -> tuple[bytes | None, int] | None:
    """Value and version of the key as far as an answer tells them."""
    if operation.version is None or isinstance(operation.result, bool):
        return None
    if operation.outcome == "ok" and operation.kind in ("put", "cas", "swap"):
        assert isinstance(operation.argument, bytes)
        return operation.argument, operation.version
    if operation.outcome == "ok" and operation.kind == "incr":
        return b"%d" % int(operation.result or 0), operation.version
    if operation.kind == "append" or isinstance(operation.result, int):
        return None
    return operation.result, operation.version


async def _perform(
    kv: paxoskv.Client, request: Request, timeout: float
) -> tuple[bytes | int | bool | None, int | None]:
    kind, key, argument, condition = request
    if kind == operations.GET:
        entry = await kv.get(key, timeout=timeout)
        return entry.value, entry.version
    if kind == operations.PUT:
        assert isinstance(argument, bytes)
        assert condition is None or isinstance(condition, int)
        return None, await kv.put(key, argument, if_version=condition, timeout=timeout)
    if kind == operations.DELETE:
        assert condition is None or isinstance(condition, int)
        return await kv.delete(key, if_version=condition, timeout=timeout), 0
    if kind == operations.CAS:
        assert isinstance(argument, bytes)
        assert condition is None or isinstance(condition, bytes)
        return None, await kv.cas(key, condition, argument, timeout=timeout)
    if kind == operations.INCR:
        assert isinstance(argument, int)
        counter = await kv.incr(key, argument, timeout=timeout)
        return counter.value, counter.version
    assert isinstance(argument, bytes)
    if kind == operations.APPEND:
        appended = await kv.append(key, argument, timeout=timeout)
        return appended.length, appended.version
    swapped = await kv.swap(key, argument, timeout=timeout)
    return swapped.old, swapped.version


class Clients:
    """Closed loops through all coordinators."""

    def __init__(
        self,
        endpoints: dict[int, str],
        count: int,
        keys: int,
        seed: int,
        recorder: CallRecorder,
        workload: str,
        prefix: bytes = b"",
    ) -> None:
        self.logs: list[ClientLog] = []
        self.recorder = recorder
        rng = random.Random(f"{seed} workload")
        self.workload = Workload(workload, keys, reads=0.35, hot=0.1, rng=rng, prefix=prefix)
        self._endpoints = endpoints
        self._count = count
        self._seed = seed

    async def look_before(self) -> str:
        """Note what the keys hold that are there already; the cluster's mode. Raises PaxosKVError where that cannot be
        told."""
        kv = paxoskv.connect(list(self._endpoints.values()), timeout=_LOOK_TIMEOUT_S)
        try:
            for key in self.workload.keys:
                entry = await kv.get(key)
                if entry.value is not None:
                    self.recorder.history.initial[key] = entry.value, entry.version
            modes = {status["mode"] for status in await kv.status() if status["up"]}
            return str(modes.pop()) if modes else ""
        finally:
            await kv.close()

    async def run(self, until: float) -> None:
        """Until that moment of the monotonic clock."""
        numbers = list(self._endpoints)
        async with asyncio.TaskGroup() as group:
            for index in range(self._count):
                log = ClientLog(numbers[index % len(numbers)])
                self.logs.append(log)
                group.create_task(self._client(index, log, until))

    async def _client(self, index: int, log: ClientLog, until: float) -> None:
        rng = random.Random(f"{self._seed} client {index}")
        client = self.recorder.new_client()
        addresses = list(self._endpoints.values())
        kv = paxoskv.connect(addresses, prefer=self._endpoints[log.node], timeout=_FINAL_TIMEOUT_S)
        try:
            await kv
            while time.monotonic() < until:
                request = self.workload.draw()
                operation = await self.recorder.call(kv, client, request, rng.uniform(*_TIMEOUTS_S))
                if operation.outcome == "unknown":
                    client = self.recorder.new_client()
                if operation.outcome in ("unknown", "failed"):
                    await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                    continue
                log.successes.append(self.recorder.now())
                if (seen := _seen(operation)) is not None:
                    self.workload.saw(operation.key, *seen)
                await asyncio.sleep(rng.uniform(0, 2 * _THINK_S))
        finally:
            await kv.close()

    async def read_everything(self) -> int:
        """Read every key through every node, as writes that nobody reads prove nothing; how many reads failed."""
        failed = 0
        for endpoint in self._endpoints.values():
            kv = paxoskv.connect(list(self._endpoints.values()), prefer=endpoint, timeout=_FINAL_TIMEOUT_S)
            try:
                for key in self.workload.keys:
                    request = (operations.GET, key, None, None)
                    client = self.recorder.new_client()
                    operation = await self.recorder.call(kv, client, request, _FINAL_TIMEOUT_S)
                    failed += operation.outcome != "ok"
            finally:
                await kv.close()
        return failed
