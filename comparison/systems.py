"""The systems that are compared: how each is installed, started, loaded and stopped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

NODES: Final = 3
_HERE: Final = Path(__file__).parent
_BUILD: Final = _HERE / ".build"
_READY_S_MAX: Final = 30.0
_STOP_S_MAX: Final = 20.0


class Missing(Exception):
    """A system cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What clients do, in the words of `paxoskv bench`."""

    clients: int
    seconds: float
    warmup_s: float = 1.0
    read_ratio: float = 0.0
    op: str = "put"
    distribution: str = "uniform"
    """uniform; one-key; sequential: every key once, none of which exists."""
    route: str = "key"
    """paxoskv alone: `key` sends each key to the node that its hash chooses, `any` sends it wherever the client is."""
    keys: int = 10_000
    value_size: int = 64


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came of a load."""

    ops_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]
    server_cpu_us: float
    """CPU time of all nodes together for one operation, in microseconds."""
    counter: dict[str, Any] | None = None


class System(Protocol):
    """Three nodes on loopback. `start` gives them empty folders."""

    name: ClassVar[str]

    def install(self) -> str:
        """Make it available; its version. Raises Missing."""

    def configuration(self) -> dict[str, Any]:
        """What differs from its defaults, for the record."""

    def start(self, folder: Path) -> None:
        """Start the nodes and wait until they serve."""

    def drive(self, load: Load) -> Measurement:
        """Load it."""

    def stop(self) -> None:
        """Stop the nodes. Harmless when they do not run."""


class PaxosKV:
    """This project, in its leaderless mode."""

    name: ClassVar[str] = "paxoskv"

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._pids: list[int] = []
        self._endpoints = ""
        self._loads = 0

    def install(self) -> str:
        return _output([sys.executable, "-m", "paxoskv", "--version"]).rsplit(" ", 1)[-1]

    def configuration(self) -> dict[str, Any]:
        return {}

    def start(self, folder: Path) -> None:
        base = free_ports(4 * NODES + 200)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "paxoskv", "cluster"),
                *("--nodes", str(NODES), "--dir", str(folder / "paxoskv"), "--base-port", str(base)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pids = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"\bpid (\d+)", line):
                self._pids.append(int(found[1]))
            if line.startswith("all "):
                break
        else:
            raise Missing("paxoskv: the cluster did not start")
        self._endpoints = ",".join(f"127.0.0.1:{base + number}" for number in range(1, NODES + 1))

    def drive(self, load: Load) -> Measurement:
        self._loads += 1
        command = [sys.executable, "-m", "paxoskv", "bench", "--endpoints", self._endpoints, "--json"]
        command += _options(load, "--duration", "--warmup", str)
        command += ["--route", load.route]
        if load.distribution == "sequential":
            command += ["--distribution", "sequential", "--no-load", "--prefix", f"first/{self._loads}/"]
        else:
            command += ["--distribution", load.distribution]
        return _measure(command, self._pids)

    def stop(self) -> None:
        _stop(self._process, signal.SIGINT)
        self._process = None


class Etcd:
    """etcd as Debian has it, driven by its own Go client. Its writes, too, are on a majority of disks when answered."""

    name: ClassVar[str] = "etcd"
    _FLAGS: ClassVar[list[str]] = ["--quota-backend-bytes=8589934592", "--log-level=error", "--logger=zap"]

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._endpoints = ""
        self._loads = 0

    def install(self) -> str:
        _apt("etcd", "etcd-server")
        _apt("go", "golang-go", "golang-etcd-server-dev")
        _BUILD.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "GO111MODULE": "off",
            "GOPATH": "/usr/share/gocode",
            "GOCACHE": str(_BUILD / "go-cache"),
        }
        built = subprocess.run(
            ["go", "build", "-o", str(_BUILD / "etcd-load"), "."],
            cwd=_HERE / "etcd",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise Missing(f"etcd: its load generator does not build: {built.stderr.strip()[-500:]}")
        return _output(["etcd", "--version"]).splitlines()[0].rsplit(" ", 1)[-1]

    def configuration(self) -> dict[str, Any]:
        return {"flags": self._FLAGS, "connections": 12}

    def start(self, folder: Path) -> None:
        base = free_ports(2 * NODES)
        client = [f"http://127.0.0.1:{base + 2 * index}" for index in range(NODES)]
        peer = [f"http://127.0.0.1:{base + 2 * index + 1}" for index in range(NODES)]
        members = ",".join(f"node{index}={url}" for index, url in enumerate(peer))
        self._processes = [
            subprocess.Popen(
                [
                    *("etcd", f"--name=node{index}", f"--data-dir={folder}/etcd-{index}"),
                    *(f"--listen-client-urls={client[index]}", f"--advertise-client-urls={client[index]}"),
                    *(f"--listen-peer-urls={peer[index]}", f"--initial-advertise-peer-urls={peer[index]}"),
                    *(f"--initial-cluster={members}", "--initial-cluster-state=new", *self._FLAGS),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # etcd refuses to run on some architectures unless it is told that one knows.
                env={**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine},
            )
            for index in range(NODES)
        ]
        self._endpoints = ",".join(url.removeprefix("http://") for url in client)
        for url in client:
            _wait_for(f"{url}/health")

    def drive(self, load: Load) -> Measurement:
        self._loads += 1
        command = [str(_BUILD / "etcd-load"), "--endpoints", self._endpoints]
        command += _options(load, "--duration", "--warmup", lambda seconds: f"{seconds}s")
        if load.distribution == "sequential":
            command += ["--distribution", "fresh", "--prefix", f"first/{self._loads}/"]
        else:
            command += ["--distribution", load.distribution]
        if load.distribution == "one-key":
            command += ["--prefix", f"one/{self._loads}/"]
        return _measure(command, [process.pid for process in self._processes])

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            _stop(process, signal.SIGTERM)
        self._processes = []


ALL: Final[tuple[type[PaxosKV] | type[Etcd], ...]] = (PaxosKV, Etcd)


def _options(load: Load, duration: str, warmup: str, show: Any) -> list[str]:
    return [
        *("--clients", str(load.clients)),
        *(duration, show(load.seconds)),
        *(warmup, show(load.warmup_s)),
        *("--keys", str(load.keys)),
        *("--value-size", str(load.value_size)),
        *("--read-ratio", str(load.read_ratio)),
        *("--op", load.op),
    ]


def _measure(command: list[str], pids: list[int]) -> Measurement:
    before = _cpu_s(pids)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    used = _cpu_s(pids) - before
    if not done.stdout.strip():
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout)
    # The CPU time is that of loading and warming up, too, so it is divided by an estimate of all operations.
    return Measurement(
        found["ops_per_s"],
        found["p50_ms"],
        found["p99_ms"],
        found["max_ms"],
        found["errors"],
        used * 1e6 / max(1.0, _operations(command, found)),
        found.get("counter"),
    )


def _operations(command: list[str], found: dict[str, Any]) -> float:
    def option(name: str) -> float:
        return float(command[command.index(name) + 1].removesuffix("s"))

    loaded = option("--keys") if "uniform" in command else 0.0
    return float(found["ops_per_s"]) * (option("--duration") + option("--warmup")) + loaded


def _cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _apt(program: str, *packages: str) -> None:
    """Install Debian packages unless the program is there."""
    if shutil.which(program):
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise Missing(f"{program} is not installed; on Debian: apt-get install {' '.join(packages)}")
    print(f"installing {' '.join(packages)} ...", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"{program}: {' '.join(command)} failed: {done.stderr.strip()[-300:]}")


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def free_ports(count: int) -> int:
    """The first of so many consecutive ports that nobody uses just now."""
    for base in range(21_000, 31_000, count):
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise Missing(f"no {count} consecutive free ports between 21000 and 31000")


def _wait_for(url: str) -> None:
    end = time.monotonic() + _READY_S_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if b'"true"' in answer.read():
                    return
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > end:
            raise Missing(f"{url} does not answer")
        time.sleep(0.1)


def _stop(process: "subprocess.Popen[Any] | None", number: int) -> None:
    if process is None:
        return
    process.send_signal(number)
    try:
        process.wait(_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
