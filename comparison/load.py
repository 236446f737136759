"""What clients do to a system, and what came of it: the same words for every load generator."""

import json
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from comparison.processes import mortal

# What a load generator may take beyond its seconds, and for every key beside: to write it once, or to take it over.
_GRACE_S: Final = 60.0
_GRACE_S_PER_KEY: Final = 1 / 4000
_JOIN_S: Final = 5.0


class LoadFailed(Exception):
    """A load generator ended without a result; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Load:
    """In the words of `paxoskv bench`, which the other load generators understand too."""

    clients: int = 64
    seconds: float = 2.0
    read_ratio: float = 0.0
    op: str = "put"
    """put; incr; rmw: a read, and a write on the condition that nobody wrote meanwhile; scan: scans in place of reads,
    and inserts of new keys."""
    distribution: str = "uniform"
    """uniform, zipf, latest, one-key, or sequential."""
    keys: int = 10_000
    value_size: int = 64
    rate: float = 0.0
    """Operations a second that are due, answered or not (an open loop); 0: every client waits for its answer."""
    timeout_s: float = 5.0
    prefix: str = "bench/"
    fill: bool = False
    """Write every key once before anything is measured."""
    timeline: bool = False
    """Keep what happened in every 10 ms, and each client's longest gap."""
    route: str = ""
    """paxoskv alone: `any` sends each client's keys through one node; otherwise a key's hash chooses its node."""
    scan_length: int = 100
    """With op scan: each wants from 1 to so many keys."""

    def options(self) -> list[str]:
        """The command line, without the endpoints and the route."""
        found = [
            *("--clients", str(self.clients), "--duration", str(self.seconds), "--timeout", str(self.timeout_s)),
            *("--keys", str(self.keys), "--value-size", str(self.value_size), "--read-ratio", str(self.read_ratio)),
            *("--op", self.op, "--distribution", self.distribution, "--prefix", self.prefix),
        ]
        if self.op == "scan":
            found += ["--scan-length", str(self.scan_length)]
        if self.rate:
            found += ["--rate", str(self.rate)]
        if not self.fill:
            found.append("--no-load")
        # For the word that it says when it begins, whether or not the timeline is kept.
        return [*found, "--timeline"]


Measurement = dict[str, Any]
"""The JSON object of `paxoskv bench --json`, whoever printed it."""


class Running:
    """A load generator at work, in a process of its own."""

    def __init__(self, command: Sequence[str], load: Load) -> None:
        self._command = list(command)
        self._seconds = load.seconds
        self._grace_s = _GRACE_S + _GRACE_S_PER_KEY * load.keys
        self._measuring = threading.Event()
        self._said: list[str] = []
        self.process = subprocess.Popen(
            mortal(self._command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stderr is not None
        self._listening = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._listening.start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            if line.strip() == "measuring":
                self._measuring.set()
            else:
                self._said.append(line.strip())
        self._measuring.set()

    def wait_measuring(self) -> None:
        """Until the measurement has begun. Raises LoadFailed when it does not."""
        if not self._measuring.wait(self._grace_s) or (self.process.poll() or 0) != 0:
            self.stop()
            raise LoadFailed(self._explain("did not begin"))

    def result(self) -> Measurement:
        """Wait for its end. Raises LoadFailed."""
        # Not Popen.communicate, which would read standard error too.
        assert self.process.stdout is not None
        timer = threading.Timer(self._seconds + self._grace_s, self.process.kill)
        timer.start()
        try:
            lines = self.process.stdout.read().strip().splitlines()
            self.process.wait()
        finally:
            timer.cancel()
            self.process.stdout.close()
        self._listening.join(_JOIN_S)
        try:
            found = json.loads(lines[-1]) if lines else None
        except ValueError:
            found = None
        if not isinstance(found, dict) or "ops_per_s" not in found:
            raise LoadFailed(self._explain(f"ended with exit code {self.process.returncode} and no result"))
        return found

    def stop(self) -> None:
        """End it, if it still runs, and close its pipes."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._listening.join(_JOIN_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _explain(self, what: str) -> str:
        said = " / ".join(self._said[-5:]) or "it said nothing"
        return f"{' '.join(self._command)}: {what}: {said}"
