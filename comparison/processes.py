"""Processes of this program alone: started, watched through /proc, and ended by their pids."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STOP_S_MAX: Final = 20.0
_READY_S_MAX: Final = 60.0
_PORTS: Final = range(21_000, 31_000)
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """A system cannot be had, or not started, here; the text says why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes have used since they began."""

    cpu_s: float = 0.0
    written_bytes: int = 0
    """To the disk's cache, as /proc/PID/io has it."""
    resident_bytes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_s + other.cpu_s,
            self.written_bytes + other.written_bytes,
            self.resident_bytes + other.resident_bytes,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_s - other.cpu_s,
            self.written_bytes - other.written_bytes,
            self.resident_bytes - other.resident_bytes,
        )


def usage(pid: int) -> Usage:
    """Of one process, all its threads. Nothing when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        written = 0
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                written = int(line.split(":")[1])
    except OSError:
        return Usage()
    return Usage((int(stat[11]) + int(stat[12])) / _TICKS, written, int(stat[21]) * os.sysconf("SC_PAGE_SIZE"))


def loopback_bytes() -> int:
    """All that has gone over loopback since the machine began, whoever sent it."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[8])
    return 0


def mortal(command: Sequence[str]) -> list[str]:
    """A command that ends when this process does, however that comes about; where setpriv is there to see to it."""
    return ["setpriv", "--pdeathsig", "KILL", *command] if shutil.which("setpriv") else list(command)


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a process in a group of its own, whose output goes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            mortal(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


def end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """SIGTERM to each, and SIGKILL to those that do not listen; paused ones are continued."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
    limit = time.monotonic() + _STOP_S_MAX
    for process in processes:
        try:
            process.wait(max(0.1, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(ready: Callable[[], bool], what: str, alive: Callable[[], str | None], log: Path) -> None:
    """Poll until `ready`. Raises Missing when it takes too long, or when `alive` says what has ended."""
    limit = time.monotonic() + _READY_S_MAX
    while not ready():
        ended = alive()
        if ended or time.monotonic() > limit:
            lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
            said = lines[-1][-300:] if lines else "it said nothing"
            raise Missing(f"{what}: {ended or 'is not ready in time'}; the end of its log: {said}")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """So many ports that nobody uses just now. Raises Missing."""
    found: list[int] = []
    # Not always the same ones: what another program chooses at the same moment is taken a moment later.
    begin = os.getpid() * 64 % len(_PORTS)
    for offset in range(len(_PORTS)):
        port = _PORTS[(begin + offset) % len(_PORTS)]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Missing(f"of ports {_PORTS.start} to {_PORTS.stop - 1} no {count} are free; stop what uses them")


def ask(port: int, request: bytes, end: bytes = b"") -> bytes:
    """What is answered to a request, on a connection of its own: up to `end`, or until it is closed."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
        connection.sendall(request)
        while (data := connection.recv(65_536)) and not (end and end in answer + data):
            answer += data
        answer += data
    return answer


def answers_redis(port: int) -> bool:
    """Whether a read over Redis' protocol is answered with anything but an error."""
    return ask(port, b"*2\r\n$3\r\nGET\r\n$5\r\nprobe\r\n", b"\r\n").startswith(b"$")
