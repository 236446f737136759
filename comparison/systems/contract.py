"""What every system is to this comparison: nodes in folders, a load generator, and a hand on each process."""

import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from comparison import processes
from comparison.links import Links
from comparison.load import Load, LoadFailed, Measurement, Running
from comparison.processes import Missing, Usage

REPOSITORY: Final = Path(__file__).parents[2]
BUILD: Final = REPOSITORY / "comparison" / ".build"
_DRIVERS: Final = REPOSITORY / "comparison" / "drivers"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where nodes keep their data, and what stands between them."""

    folders: Sequence[Path]
    """One for each node, empty."""
    wrappers: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """What a node's command is run by, such as strace; by the node's number, from 1."""
    links: Links | None = None
    """Where peers reach each other through something that delays."""
    round_trip_s: float = 0.0
    """The longest between two nodes, for systems that have to be told."""


class System(ABC):
    """One system. Nodes have the numbers 1, 2, ... A method that cannot do its work raises Missing."""

    name: ClassVar[str]
    title: ClassVar[str]
    durability: ClassVar[str]
    """When a write is answered; a sentence."""
    reads: ClassVar[str]
    """What a read is; a sentence."""
    client: ClassVar[str]
    """What drives it."""
    scenarios: ClassVar[frozenset[str] | None] = None
    """By name, those that it takes part in; None: all."""
    quick: ClassVar[bool] = True
    """Whether a quick run has it without being asked to."""
    nodes_max: ClassVar[int] = 9
    faults: ClassVar[frozenset[str]] = frozenset({"kill", "pause", "stall"})
    """Of the failure scenario, those that make sense with it."""
    open_loop: ClassVar[bool] = True
    """Whether its load generator can send at a fixed rate."""
    inserts: ClassVar[bool] = True
    """Whether its load generator can write new keys and read the newest (YCSB D)."""
    unordered: ClassVar[str] = ""
    """Why it cannot be scanned in the order of its keys (YCSB E); empty: it can."""

    def __init__(self) -> None:
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}
        self.layout = Layout([])

    # What each system has of its own.

    @abstractmethod
    def install(self) -> dict[str, str]:
        """Make it available; the versions of what it is made of. Raises Missing."""

    @abstractmethod
    def configuration(self) -> dict[str, Any]:
        """What differs from its defaults, for the record."""

    @abstractmethod
    def prepare(self, layout: Layout) -> None:
        """Choose ports and write configurations, before any node is started."""

    @abstractmethod
    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        """How one node is run, and what is added to its environment."""

    @abstractmethod
    def answers(self, number: int) -> bool:
        """Whether a node serves its clients just now."""

    @abstractmethod
    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        """The load generator's command line, its clients divided over these nodes."""

    def leader(self) -> int | None:
        """The node that leads; None where none does, or none can be found."""
        return None

    def make_leader(self, number: int) -> bool:
        """Whether that node leads now, or there is no such thing as a leader."""
        return self.leader() in (None, number)

    # What is the same for all.

    def start(self, layout: Layout) -> None:
        """Start as many nodes as there are folders, and wait until they serve. Raises Missing, with none left."""
        self.layout = layout
        self.prepare(layout)
        try:
            for number in self.numbers():
                self.begin(number)
            for number in self.numbers():
                self.wait_ready(number)
        except BaseException:
            self.stop()
            raise

    def numbers(self) -> list[int]:
        """The nodes."""
        return list(range(1, len(self.layout.folders) + 1))

    def folder(self, number: int) -> Path:
        """A node's own."""
        return self.layout.folders[number - 1]

    def log(self, number: int) -> Path:
        """Where a node's output goes. Not into its folder, whose disk may hang."""
        return self.layout.folders[0].parent / f"{self.name}-{number}.log"

    def begin(self, number: int) -> None:
        """Start one node, again perhaps; it does not serve yet."""
        command, environment = self.command(number)
        wrapper = list(self.layout.wrappers.get(number, ()))
        self.nodes[number] = processes.spawn([*wrapper, *command], self.log(number), environment)
        if self.layout.links is not None:
            self.layout.links.belongs(self.nodes[number].pid, number)

    def wait_ready(self, number: int) -> None:
        """Until a node serves. Raises Missing."""

        def ended() -> str | None:
            code = self.nodes[number].poll()
            return None if code is None else f"ended with exit code {code}"

        what = f"{self.name}: node {number}"
        processes.wait_until(lambda: self.answers(number), what, ended, self.log(number))

    def kill(self, number: int) -> None:
        """SIGKILL."""
        self.nodes[number].kill()
        self.nodes[number].wait()

    def pause(self, number: int) -> None:
        """SIGSTOP: it keeps its connections, and says nothing."""
        self.nodes[number].send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Undo `pause`."""
        self.nodes[number].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all nodes. Harmless when they do not run."""
        running = [process for process in self.nodes.values() if process.poll() is None]
        processes.end(running)
        self.nodes = {}

    def usage(self) -> Usage:
        """Of all nodes together."""
        return sum((processes.usage(process.pid) for process in self.nodes.values()), Usage())

    def begin_load(self, load: Load, numbers: Sequence[int] = ()) -> Running:
        """Start the load generator."""
        return Running(self.load_command(load, list(numbers) or self.numbers()), load)

    def drive(self, load: Load, numbers: Sequence[int] = ()) -> Measurement:
        """Load it, and add what the nodes used meanwhile. Raises LoadFailed, also when a node has died."""
        running = self.begin_load(load, numbers)
        try:
            running.wait_measuring()
            before, network = self.usage(), processes.loopback_bytes()
            found = running.result()
        finally:
            running.stop()
        for number, process in self.nodes.items():
            if (code := process.poll()) is not None:
                raise LoadFailed(f"{self.name}: node {number} ended under load with exit code {code}")
        used = self.usage() - before
        if not load.timeline:
            for name in ("timeline", "gaps_ms", "began_unix"):
                found.pop(name, None)
        operations = max(1, int(found["operations"]))
        found["server_cpu_us"] = used.cpu_s * 1e6 / operations
        found["disk_bytes_per_op"] = used.written_bytes / operations
        found["network_bytes_per_op"] = (processes.loopback_bytes() - network) / operations
        return found


def apt(program: str, *packages: str) -> None:
    """Install Debian packages unless the program, or the file, is there. Raises Missing."""
    if shutil.which(program) or Path(program).exists():
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise Missing(f"{program} is not installed; on Debian: apt-get install {' '.join(packages)}")
    print(f"installing {' '.join(packages)} ...", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"{program}: {' '.join(command)} failed: {done.stderr.strip()[-300:]}")


def output(command: Sequence[str]) -> str:
    """What a command prints. Raises Missing when it cannot."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"{command[0]}: {error}") from None


_GO_LIBRARIES: Final = {
    "go.etcd.io/etcd/clientv3": "golang-etcd-server-dev",
    "github.com/samuel/go-zookeeper/zk": "golang-github-samuel-go-zookeeper-dev",
    "github.com/gomodule/redigo/redis": "golang-github-gomodule-redigo-dev",
}


def go_driver() -> str:
    """Build the Go load generator; Go's version. Raises Missing."""
    apt("go", "golang-go")
    for library, package in _GO_LIBRARIES.items():
        apt(f"/usr/share/gocode/src/{library}", package)
    BUILD.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(BUILD / "go-cache"),
    }
    built = subprocess.run(
        ["go", "build", "-o", str(BUILD / "load"), "."],
        cwd=_DRIVERS / "go",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise Missing(f"the Go load generator does not build: {built.stderr.strip()[-500:]}")
    return output(["go", "version"]).split()[2]


def go_load_command(system: str, load: Load, endpoints: Sequence[str]) -> list[str]:
    """The Go load generator's command line."""
    return [str(BUILD / "load"), "--system", system, "--endpoints", ",".join(endpoints), *load.options()]


def driver(name: str) -> Path:
    """A load generator's source."""
    return _DRIVERS / name
