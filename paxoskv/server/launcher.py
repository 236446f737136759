"""A cluster of real node processes on loopback: for `paxoskv cluster`, the demo, tests and benchmarks."""

import contextlib
import errno
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paxoskv.core.errors import ConfigurationError, ProtocolError
from paxoskv.server import config
from paxoskv.server.config import ClusterConfig, NodeConfig
from paxoskv.storage import datafile
from paxoskv.wire import client, framing

BASE_PORT: Final = 7400
PEER_PORT_OFFSET: Final = 100
READY_S_MAX: Final = 180.0
"""For a node that hangs: one that ends is noticed at once. Where ten processes wanted each core, the replay of a long
journal took more than a minute."""
STOP_S_MAX: Final = 20.0
CONFIG_NAME: Final = "cluster.toml"
# What is one node's own, and must not come to all of them by the environment.
_ONE_NODE_VARIABLES: Final = frozenset(
    "PAXOSKV_" + name
    for name in (
        "CONFIG",
        "NODE",
        "DATA",
        "LISTEN_CLIENT",
        "LISTEN_PEER",
        "ADVERTISE_CLIENT",
        "ADVERTISE_PEER",
        "TRACE",
    )
)


def prepare(folder: Path, nodes: int | None, base_port: int | None, mode: str | None) -> ClusterConfig:
    """The configuration in `folder`, written first if the folder is new or empty.

    None for what was not asked for. Raises ConfigurationError when the folder holds another cluster, or something
    else altogether.
    """
    path = folder / CONFIG_NAME
    try:
        if not path.exists():
            _begin(path, nodes or 3, BASE_PORT if base_port is None else base_port, mode or "paxos")
            return config.load(path)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be used: {error.strerror}; give a --dir that can be written to"
        ) from None
    found = config.load(path)
    if nodes is not None and nodes != len(found.nodes):
        raise ConfigurationError(
            f"{folder} holds a cluster of {len(found.nodes)} nodes, not {nodes}; leave --nodes out, or give another "
            "--dir"
        )
    first = min(found.nodes)
    if base_port is not None and found.nodes[first].client.port != base_port + first:
        raise ConfigurationError(
            f"{folder} holds a cluster on base port {found.nodes[first].client.port - first}, not {base_port}; leave "
            "--base-port out, or give another --dir"
        )
    if mode is not None and mode != found.mode:
        raise ConfigurationError(f"{folder} holds a cluster in {found.mode} mode, not {mode}; give another --dir")
    missing = _without_data(found)
    if 0 < len(missing) < len(found.nodes):
        lost = " and ".join(map(str, missing))
        raise ConfigurationError(
            f"the data of node {lost} is gone from {folder}, and an empty disk under an old id would break the "
            "promises that it made; bring the folder back, or begin a new cluster in another --dir"
        )
    return found


def _begin(path: Path, nodes: int, base_port: int, mode: str) -> None:
    """Write a new cluster's configuration. Raises OSError too."""
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file; give a folder for the cluster's data")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(
            f"{folder} is not empty and holds no {CONFIG_NAME}; give an empty folder, or that of a cluster"
        )
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        (i, f"127.0.0.1:{base_port + i}", f"127.0.0.1:{base_port + PEER_PORT_OFFSET + i}", f"node-{i}")
        for i in range(1, nodes + 1)
    ]
    path.write_text(config.render(f"local-{secrets.token_hex(4)}", mode, entries), encoding="utf-8")


def _without_data(configuration: ClusterConfig) -> list[int]:
    return [node.id for node in configuration.nodes.values() if not (node.data / datafile.FILE).exists()]


def free_base_port(nodes: int) -> int:
    """A base port none of whose client and peer ports is in use just now."""
    rng = random.Random()
    while True:
        base = rng.randrange(20_000, 31_000)
        offsets = range(1, nodes + 1)
        try:
            for port in [*[base + i for i in offsets], *[base + PEER_PORT_OFFSET + i for i in offsets]]:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base


def own_python() -> list[str]:
    """The interpreter for a process that is to run the very package that this one runs.

    Python puts the working directory first where it looks for ``-m paxoskv``; that may be the folder of other sources.
    """
    here = Path(__file__).parents[2] == Path.cwd()
    return [sys.executable] if here else [sys.executable, "-P"]


@dataclass(slots=True)
class NodeProcess:
    """One node's process, or its last one."""

    config: NodeConfig
    process: subprocess.Popen[bytes]
    log_path: Path
    log_begin: int
    """Where what this process logs begins; before it are its predecessors'."""

    @property
    def last_words(self) -> str:
        """The last line that it logged."""
        return last_line(self.log_path, self.log_begin)


class LocalCluster:
    """Starts, kills, pauses, restarts and stops the nodes of one configuration, each by its pid.

    Each node's log goes to ``node-N.log`` beside the configuration. A node stops by itself when this process is gone,
    however that came about: it watches a pipe from here.
    """

    def __init__(
        self,
        configuration: ClusterConfig,
        options: Sequence[str] = (),
        views: Mapping[int, Path] | None = None,
    ) -> None:
        """`views`: a configuration file for each node, where they do not reach each other at the same addresses."""
        self.config = configuration
        self._options = list(options)
        self._views = views or {}
        self.nodes: dict[int, NodeProcess] = {}

    @property
    def endpoints(self) -> list[str]:
        """The client addresses of all nodes."""
        return [str(node.client) for node in self.config.nodes.values()]

    def check_ports(self) -> None:
        """Raise ConfigurationError for the first port that is taken, before anything is started."""
        for node in self.config.nodes.values():
            for what, address in (("client", node.listen_client), ("peer", node.listen_peer)):
                with socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind((address.host, address.port))
                    except OSError as error:
                        stop = "stop what uses it, or " if error.errno == errno.EADDRINUSE else ""
                        raise ConfigurationError(
                            f"the {what} port of node {node.id}, {address}, cannot be used: {error.strerror}; {stop}"
                            "begin a cluster on another --base-port in another --dir"
                        ) from None

    def start(self, number: int) -> NodeProcess:
        """Start one node; it is not ready yet."""
        node = self.config.node(number)
        log_path = self.config.path.parent / f"node-{number}.log"
        view = self._views.get(number, self.config.path)
        command = [*own_python(), "-m", "paxoskv", "serve", "--config", str(view)]
        command += ["--node", str(number), "--stop-with-stdin", *self._options]
        environment = {name: value for name, value in os.environ.items() if name not in _ONE_NODE_VARIABLES}
        with log_path.open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        self.nodes[number] = NodeProcess(node, process, log_path, begin)
        return self.nodes[number]

    def wait_ready(
        self, number: int, timeout_s: float = READY_S_MAX, given_up: Callable[[], bool] = lambda: False
    ) -> float:
        """Wait until a node answers on its client port; the seconds it took. Raises ConfigurationError if it ends.

        Waits no longer once `given_up` says so and every node has its data: a cluster of which only some have would
        not be started again.
        """
        node = self.nodes[number]
        began = time.monotonic()
        while not answers(node.config, self.config.cluster):
            if given_up() and not _without_data(self.config):
                break
            if (code := node.process.poll()) is not None:
                raise ConfigurationError(f"node {number} did not start (exit code {code}): {node.last_words}")
            if time.monotonic() - began > timeout_s:
                raise ConfigurationError(f"node {number} is not ready after {timeout_s:.0f} s; see {node.log_path}")
            time.sleep(0.01)
        return time.monotonic() - began

    def start_all(self) -> None:
        """Start every node and wait for all. Raises ConfigurationError, and leaves nothing running then."""
        self.check_ports()
        try:
            for number in self.config.nodes:
                self.start(number)
            for number in self.config.nodes:
                self.wait_ready(number)
        except BaseException:
            self.stop_all()
            raise

    def signal(self, number: int, signal_number: int) -> None:
        """Send a signal to one node."""
        self.nodes[number].process.send_signal(signal_number)

    def kill(self, number: int) -> None:
        """SIGKILL one node and wait until it is gone."""
        process = self.nodes[number].process
        process.kill()
        process.wait()
        _close_pipe(process)

    def stop(self, number: int) -> int:
        """SIGTERM one node and wait until it is gone; its exit code. Raises TimeoutExpired when it does not go."""
        process = self.nodes[number].process
        process.terminate()
        code = process.wait(STOP_S_MAX)
        _close_pipe(process)
        return code

    def stop_all(self) -> None:
        """SIGTERM all nodes, and SIGKILL after a while those that do not listen."""
        for node in self.nodes.values():
            with contextlib.suppress(ProcessLookupError):
                node.process.send_signal(signal.SIGCONT)
                node.process.terminate()
        end = time.monotonic() + STOP_S_MAX
        for node in self.nodes.values():
            try:
                node.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()
            _close_pipe(node.process)


def answers(node: NodeConfig, cluster: str) -> bool:
    """Whether that node of that cluster says HELLO."""
    try:
        with socket.create_connection((node.client.host, node.client.port), timeout=1.0) as connection:
            connection.sendall(client.pack_hello())
            frames = framing.FrameBuffer(64 * 1024)
            while data := connection.recv(65536):
                for body in frames.feed(data):
                    hello = client.parse_node_hello(framing.unpack(body))
                    return hello.cluster == cluster and hello.node == node.id
    except (OSError, ProtocolError):
        return False
    return False


def last_line(path: Path, begin: int = 0) -> str:
    """The last line of a log, from `begin` on, for a sentence about why a process ended."""
    with path.open("rb") as log:
        log.seek(max(begin, os.path.getsize(path) - 4096))
        lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it logged nothing"


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
