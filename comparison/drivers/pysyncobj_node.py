"""One PySyncObj node, with its share of the load inside: the library has no clients, it lives in its user's process.

It takes requests on a control port: ("ready",), ("leader",) and ("load", Share).
"""

import argparse
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener
from typing import Any, Final

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated

from comparison.load import Load
from paxoskv.load.plan import Outcome
from paxoskv.load.timeline import Timeline

_RETRY_S: Final = 0.005
_EXPIRE_S: Final = 0.1
_FILL_IN_FLIGHT: Final = 256
_FILL_S_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Share:
    """One node's part of a load."""

    load: Load
    clients: int
    part: int
    parts: int
    start_unix: float


class Store(SyncObj):  # type: ignore[misc]
    """A dictionary of values and versions. Its reads go through the log too, or they would be old."""

    def __init__(self, own: str, others: list[str], configuration: SyncObjConf) -> None:
        self.data: dict[str, tuple[str, int]] = {}
        super().__init__(own, others, configuration)

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: str, value: str) -> bool:
        self.data[key] = (value, self.data.get(key, ("", 0))[1] + 1)
        return True

    @replicated  # type: ignore[untyped-decorator]
    def put_if(self, key: str, value: str, version: int) -> bool:
        found = self.data.get(key, ("", 0))[1]
        if found == version:
            self.data[key] = (value, version + 1)
        return found == version

    @replicated  # type: ignore[untyped-decorator]
    def get(self, key: str) -> tuple[str, int]:
        return self.data.get(key, ("", 0))

    @replicated  # type: ignore[untyped-decorator]
    def incr(self, key: str) -> int:
        value, version = self.data.get(key, ("0", 0))
        self.data[key] = (str(int(value or 0) + 1), version + 1)
        return int(self.data[key][0])


class Client:
    """Has one operation in flight. Its callbacks come in PySyncObj's thread."""

    def __init__(self, work: "Work", number: int) -> None:
        self.work = work
        self.random = random.Random(number)
        self.sent = 0.0
        self.turn = 0
        self.last_success = 0.0
        self.gap_s = 0.0

    def send(self) -> None:
        """The next operation."""
        self.turn += 1
        self.sent = time.monotonic()
        work, load, turn = self.work, self.work.share.load, self.turn
        key = work.key(self.random)

        def done(result: Any, error: int) -> None:
            if turn == self.turn:
                self.finish(error == FAIL_REASON.SUCCESS)

        def modify(found: Any, error: int) -> None:
            if turn == self.turn and error == FAIL_REASON.SUCCESS:
                work.store.put_if(key, work.value, found[1], callback=modified)
            elif turn == self.turn:
                self.finish(False)

        def modified(written: Any, error: int) -> None:
            if turn == self.turn and error == FAIL_REASON.SUCCESS and not written:
                work.store.get(key, callback=modify)
            else:
                done(written, error)

        if self.random.random() < load.read_ratio:
            work.store.get(key, callback=done)
        elif load.op == "incr":
            work.store.incr(key, callback=done)
        elif load.op == "rmw":
            work.store.get(key, callback=modify)
        else:
            work.store.put(key, work.value, callback=done)

    def finish(self, succeeded: bool) -> None:
        """Count it, and go on."""
        now = time.monotonic()
        self.turn += 1
        self.work.count(self, succeeded, now)
        if not self.work.stopping:
            if succeeded:
                self.send()
            else:
                self.work.later.append((now + _RETRY_S, self))


class Work:
    """A node's share of a load, from its beginning to its end."""

    def __init__(self, store: Store, share: Share) -> None:
        self.store = store
        self.share = share
        self.value = "v" * share.load.value_size
        self.stopping = False
        self.outcome = Outcome(timeline=Timeline())
        self.later: deque[tuple[float, Client]] = deque()
        self._measuring = False
        self._began = 0.0
        self._weights: list[float] = []
        if share.load.distribution == "zipf":
            self._weights = [1 / rank**0.99 for rank in range(1, share.load.keys + 1)]
            self._draws = random.Random(share.part).choices(range(share.load.keys), self._weights, k=200_000)
        self._turn = 0

    def key(self, source: random.Random) -> str:
        """Draw one."""
        load = self.share.load
        if load.distribution == "one-key":
            return f"{load.prefix}0"
        if self._weights:
            self._turn = (self._turn + 1) % len(self._draws)
            return f"{load.prefix}{self._draws[self._turn]}"
        return f"{load.prefix}{int(source.random() * load.keys)}"

    def fill(self) -> None:
        """Write this part of the keys, so many at a time."""
        numbers = iter(range(self.share.part, self.share.load.keys, self.share.parts))
        left = threading.Semaphore(0)
        lanes = 0

        def write(result: Any = None, error: int = FAIL_REASON.SUCCESS) -> None:
            number = next(numbers, None)
            if number is None:
                left.release()
            else:
                self.store.put(f"{self.share.load.prefix}{number}", self.value, callback=write)

        for _ in range(_FILL_IN_FLIGHT):
            lanes += 1
            write()
        limit = time.monotonic() + _FILL_S_MAX
        for _ in range(lanes):
            # A callback is lost when the leader changes; an absent key is as good as any here.
            left.acquire(timeout=max(0.0, limit - time.monotonic()))

    def run(self) -> Outcome:
        """All of it."""
        load = self.share.load
        clients = [Client(self, self.share.part * 100_000 + number) for number in range(self.share.clients)]
        time.sleep(max(0.0, self.share.start_unix - time.time()))
        self._began = time.monotonic()
        self.outcome.began_unix = time.time()
        self._measuring = True
        for client in clients:
            client.last_success = self._began
            client.send()
        end = self._began + load.seconds
        expire = self._began
        while (now := time.monotonic()) < end:
            time.sleep(min(_RETRY_S, end - now))
            while self.later and self.later[0][0] <= now:
                self.later.popleft()[1].send()
            if now > expire:
                expire = now + _EXPIRE_S
                for client in clients:
                    if client.turn % 2 and now - client.sent > load.timeout_s:
                        client.finish(False)
        self._measuring = False
        self.stopping = True
        outcome = self.outcome
        outcome.seconds = now - self._began
        outcome.gaps_s = [max(client.gap_s, now - client.last_success) for client in clients]
        outcome.longest_gap_s = max(outcome.gaps_s, default=0.0)
        if not load.timeline:
            outcome.timeline = None
        return outcome

    def count(self, client: Client, succeeded: bool, now: float) -> None:
        """One operation has ended."""
        if not self._measuring:
            return
        assert self.outcome.timeline is not None
        self.outcome.timeline.note(now - self._began, succeeded)
        if not succeeded:
            self.outcome.errors["failed"] += 1
            return
        self.outcome.histogram.record(now - client.sent)
        client.gap_s = max(client.gap_s, now - client.last_success)
        client.last_success = now


def serve(store: Store, connection: Connection) -> None:
    """One control connection."""
    try:
        while True:
            request = connection.recv()
            if request[0] == "ready":
                connection.send(bool(store.isReady()))
            elif request[0] == "leader":
                connection.send(str(store._getLeader()))
            elif request[0] == "fill":
                Work(store, request[1]).fill()
                connection.send(None)
            else:
                connection.send(Work(store, request[1]).run())
    except (EOFError, OSError):
        connection.close()


def main() -> None:
    """Run until a signal comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--own", required=True)
    parser.add_argument("--bind", required=True)
    parser.add_argument("--others", required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--settings", nargs="*", default=[])
    given = parser.parse_args()
    settings = {name: float(value) for name, value in (pair.split("=") for pair in given.settings)}
    others = [other for other in given.others.split(",") if other]
    store = Store(given.own, others, SyncObjConf(bindAddress=given.bind, journalFile=given.journal, **settings))
    with Listener(("127.0.0.1", given.control)) as listener:
        while True:
            threading.Thread(target=serve, args=(store, listener.accept()), daemon=True).start()


if __name__ == "__main__":
    main()
