"""What each system is started with, and what its load generator is told."""

import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from comparison import processes
from comparison.load import Load
from comparison.processes import Missing
from comparison.systems import ALL
from comparison.systems.contract import Layout, System
from paxoskv.server import config

LOAD = Load(7, 1.5, 0.25, "rmw", "zipf", keys=123, value_size=9, timeout_s=2.0, prefix="p/", route="any")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"node-{number}" for number in (1, 2, 3)]
    for folder in found:
        folder.mkdir()
    return found


def prepared(name: str, folders: list[Path], **more: Any) -> System:
    system = ALL[name]()
    system.layout = Layout(folders[: system.nodes_max], **more)
    system.prepare(system.layout)
    return system


class Shifted:
    """Stands for links: whoever wants to reach a peer is sent ten thousand ports further."""

    def before(self, number: int, port: int) -> int:
        return port + 10_000


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.parametrize("name", ["leaderless", "raft", "etcd", "zookeeper", "redis"])
def test_load_generators_of_the_same_options_get_the_same_load(name: str, folders: list[Path]) -> None:
    system = prepared(name, folders)
    command = system.load_command(LOAD, system.numbers())
    for flag, value in {
        "--clients": "7",
        "--duration": "1.5",
        "--read-ratio": "0.25",
        "--op": "rmw",
        "--distribution": "zipf",
        "--keys": "123",
        "--value-size": "9",
        "--timeout": "2.0",
        "--prefix": "p/",
    }.items():
        assert option(command, flag) == value
    assert "--no-load" in command
    assert len(option(command, "--endpoints").split(",")) == min(3, system.nodes_max)


def test_only_scans_have_a_length() -> None:
    """`paxoskv bench` refuses one where nothing scans."""
    assert option(Load(op="scan", scan_length=7).options(), "--scan-length") == "7"
    assert "--scan-length" not in LOAD.options()


def test_who_cannot_be_scanned_in_order_says_why() -> None:
    lacking = {name for name, kind in ALL.items() if kind.unordered}
    assert lacking == {"zookeeper", "gryadka", "pysyncobj", "redis"}


@pytest.mark.parametrize("name", ["pysyncobj", "gryadka"])
def test_load_generators_that_take_json_get_the_same_load(name: str, folders: list[Path]) -> None:
    system = prepared(name, folders)
    given = json.loads(system.load_command(LOAD, system.numbers())[-1])
    assert given.items() >= dataclasses.asdict(LOAD).items()


def test_filling_is_asked_for_or_refused() -> None:
    assert "--no-load" not in Load(fill=True).options()
    assert "--no-load" in Load().options()


def test_one_node_alone_is_asked_where_one_is_named(folders: list[Path]) -> None:
    system = prepared("etcd", folders)
    all_of_them = option(system.load_command(LOAD, [1, 2, 3]), "--endpoints").split(",")
    assert option(system.load_command(LOAD, [2]), "--endpoints") == all_of_them[1]


@pytest.mark.parametrize("mode", ["paxos", "raft"])
def test_paxoskv_takes_the_configuration_that_is_written(mode: str, folders: list[Path]) -> None:
    system = prepared({"paxos": "leaderless", "raft": "raft"}[mode], folders, links=Shifted())
    command, _ = system.command(2)
    found = config.load(Path(option(command, "--config")))
    assert found.mode == mode
    assert [node.data for node in found.nodes.values()] == [folder / "data" for folder in folders]
    for node in found.nodes.values():
        assert node.peer.port == node.listen_peer.port + 10_000, "peers reach it through the link"


def test_etcd_announces_its_links_and_waits_as_long_as_they_take(folders: list[Path]) -> None:
    near, far = prepared("etcd", folders), prepared("etcd", folders, links=Shifted(), round_trip_s=0.2)
    assert not any("election-timeout" in part for part in near.command(1)[0])
    command, _ = far.command(1)
    assert {"--heartbeat-interval=200", "--election-timeout=2000"} <= set(command)
    [listens] = [part for part in command if part.startswith("--listen-peer-urls")]
    [members] = [part for part in command if part.startswith("--initial-cluster=")]
    own = int(listens.rpartition(":")[2])
    assert f"node1=http://127.0.0.1:{own + 10_000}," in members
    assert f"--data-dir={folders[0] / 'data'}" in command


def test_zookeeper_listens_on_its_own_ports_and_reaches_others_through_links(folders: list[Path]) -> None:
    system = prepared("zookeeper", folders, links=Shifted())
    servers = {}
    for number in (1, 2):
        lines = Path(system.command(number)[0][-1]).read_text().splitlines()
        servers[number] = dict(line.split("=", 1) for line in lines if line.startswith("server."))
        assert f"dataDir={folders[number - 1] / 'data'}" in lines
    own, seen = servers[1]["server.1"], servers[2]["server.1"]
    assert [int(port) + 10_000 for port in own.split(":")[1:]] == [int(port) for port in seen.split(":")[1:]]


def test_redis_syncs_every_write(folders: list[Path]) -> None:
    command, _ = prepared("redis", folders).command(1)
    assert (option(command, "--appendonly"), option(command, "--appendfsync")) == ("yes", "always")
    command, _ = prepared("gryadka", folders).command(3)
    assert (option(command, "--appendonly"), option(command, "--appendfsync")) == ("yes", "always")


def test_gryadka_has_a_proposer_for_each_node_only_where_clients_have_a_node_each(folders: list[Path]) -> None:
    system = prepared("gryadka", folders)
    one = json.loads(system.load_command(Load(), [1, 2, 3])[-1])
    three = json.loads(system.load_command(Load(route="any"), [1, 2, 3])[-1])
    assert (one["proposers"], three["proposers"]) == (1, 3)


def test_every_system_says_what_its_answers_are_worth() -> None:
    for kind in ALL.values():
        assert kind.durability
        assert kind.reads
        assert kind.client
    assert "never syncs" in ALL["pysyncobj"].durability
    assert "not replicated" in ALL["redis"].durability


def test_ports_that_are_taken_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(processes, "_PORTS", range(port, port + 1))
        with pytest.raises(Missing, match=f"of ports {port} to {port} no 1 are free; stop what uses them"):
            processes.free_ports(1)


def test_a_node_that_ends_is_told_with_what_it_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = processes.spawn(["sh", "-c", "echo the disk is full; exit 7"], log)
    with pytest.raises(Missing, match="node 1: ended with exit code 7; the end of its log: the disk is full"):
        processes.wait_until(
            lambda: False,
            "node 1",
            lambda: None if process.poll() is None else f"ended with exit code {process.poll()}",
            log,
        )
