"""Folders and processes of a cluster on one machine."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paxoskv.core.errors import ConfigurationError
from paxoskv.server import config, launcher
from paxoskv.server.launcher import LocalCluster, free_base_port, prepare
from paxoskv.storage import datafile


def refusal(folder: Path, nodes: int | None = None, base_port: int | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        prepare(folder, nodes, base_port, None)
    return str(refused.value)


@contextmanager
def stopped(cluster: LocalCluster) -> Iterator[None]:
    try:
        yield
    finally:
        cluster.stop_all()


def test_a_new_folder_gets_a_configuration_with_the_promised_ports(tmp_path: Path) -> None:
    found = prepare(tmp_path / "deep" / "down", 3, 9000, None)
    assert [str(node.client) for node in found.nodes.values()] == [f"127.0.0.1:900{i}" for i in (1, 2, 3)]
    assert [str(node.peer) for node in found.nodes.values()] == [f"127.0.0.1:910{i}" for i in (1, 2, 3)]
    assert [node.data for node in found.nodes.values()] == [tmp_path / "deep" / "down" / f"node-{i}" for i in (1, 2, 3)]


def test_the_default_is_three_nodes_on_base_port_7400(tmp_path: Path) -> None:
    assert [node.client.port for node in prepare(tmp_path, None, None, None).nodes.values()] == [7401, 7402, 7403]


def test_the_same_folder_is_the_same_cluster(tmp_path: Path) -> None:
    first = prepare(tmp_path, 5, 9000, None)
    assert prepare(tmp_path, None, None, None) == first
    assert prepare(tmp_path, 5, 9000, first.mode) == first


def test_two_folders_are_two_clusters(tmp_path: Path) -> None:
    """Or else nodes of one would take part in the other when ports were mixed up."""
    assert prepare(tmp_path / "a", 1, 9000, None).cluster != prepare(tmp_path / "b", 1, 9000, None).cluster


def test_a_folder_of_another_cluster_is_refused_with_the_way_out(tmp_path: Path) -> None:
    prepare(tmp_path, 3, 9000, None)
    assert "holds a cluster of 3 nodes, not 5; leave --nodes out, or give another --dir" in refusal(tmp_path, 5)
    assert "holds a cluster on base port 9000, not 9500; leave --base-port out" in refusal(tmp_path, 3, 9500)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert "is not empty and holds no cluster.toml; give an empty folder" in refusal(tmp_path)
    assert f"{tmp_path}/thesis.tex is a file; give a folder" in refusal(tmp_path / "thesis.tex")
    assert "cannot be used: Not a directory" in refusal(tmp_path / "thesis.tex" / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_node_whose_data_is_gone_is_not_silently_begun_anew(tmp_path: Path) -> None:
    found = prepare(tmp_path, 3, 9000, None)
    for number in (1, 3):
        found.node(number).data.mkdir()
        (found.node(number).data / datafile.FILE).touch()
    sentence = refusal(tmp_path)
    assert "the data of node 2 is gone" in sentence
    assert "bring the folder back, or begin a new cluster in another --dir" in sentence


@pytest.mark.parametrize(
    ("offset", "what"), [(2, "the client port of node 2"), (launcher.PEER_PORT_OFFSET + 3, "peer")]
)
def test_a_port_in_use_is_named_before_anything_is_started(tmp_path: Path, offset: int, what: str) -> None:
    base = free_base_port(3)
    cluster = LocalCluster(prepare(tmp_path, 3, base, None))
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", base + offset))
        occupant.listen()
        with pytest.raises(
            ConfigurationError, match=rf"{what}.*127\.0\.0\.1:{base + offset}, cannot be used: Address al"
        ):
            cluster.start_all()
    assert cluster.nodes == {}


def test_nothing_is_to_be_stopped_for_an_address_that_this_machine_does_not_have(tmp_path: Path) -> None:
    path = prepare(tmp_path, 1, free_base_port(1), None).path
    path.write_text(path.read_text().replace("127.0.0.1", "192.0.2.1"))
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1:\d+, cannot be used: Cannot assign \w+ \w+; begin"):
        LocalCluster(config.load(path)).check_ports()


def test_a_node_that_does_not_start_is_quoted_and_the_others_are_stopped(tmp_path: Path) -> None:
    cluster = LocalCluster(prepare(tmp_path, 2, free_base_port(2), None))
    damaged = cluster.config.node(2).data
    damaged.mkdir()
    (damaged / datafile.FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigurationError, match=r"node 2 did not start \(exit code 3\): storage: .*paxoskv\.db"):
        cluster.start_all()
    assert all(node.process.poll() is not None for node in cluster.nodes.values())


def test_nodes_are_not_confused_by_the_environment_of_their_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = LocalCluster(prepare(tmp_path / "cluster", 1, free_base_port(1), None))
    monkeypatch.setenv("PAXOSKV_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PAXOSKV_LISTEN_CLIENT", "127.0.0.1:1")
    monkeypatch.setenv("PAXOSKV_CONFIG", "nowhere")
    monkeypatch.setenv("PAXOSKV_NODE", "9")
    monkeypatch.setenv("PAXOSKV_TRACE", str(tmp_path / "one trace for all"))
    monkeypatch.setenv("PAXOSKV_LOG_LEVEL", "debug")
    with stopped(cluster):
        cluster.start_all()
        assert (tmp_path / "cluster" / "node-1" / datafile.FILE).exists()
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "one trace for all").exists()


def test_waiting_for_a_node_can_be_given_up_once_all_have_their_data(tmp_path: Path) -> None:
    """A cluster stopped before would be taken for one that lost the data of a node."""
    cluster = LocalCluster(prepare(tmp_path, 2, free_base_port(2), None))
    with stopped(cluster):
        for number in (1, 2):
            cluster.start(number)
        for number in (1, 2):
            cluster.wait_ready(number, given_up=lambda: True)
        assert all((node.data / datafile.FILE).exists() for node in cluster.config.nodes.values())
    prepare(tmp_path, None, None, None)


def test_a_free_base_port_is_free(tmp_path: Path) -> None:
    base = free_base_port(9)
    LocalCluster(prepare(tmp_path, 9, base, None)).check_ports()


def test_the_last_line_of_a_log_is_found_in_a_long_one_and_none_in_an_empty_one(tmp_path: Path) -> None:
    log = tmp_path / "node-1.log"
    log.write_text("x\n" * 100_000 + "the end\n\n")
    assert launcher.last_line(log) == "the end"
    assert launcher.last_line(log, log.stat().st_size) == "it logged nothing"
    os.truncate(log, 0)
    assert launcher.last_line(log) == "it logged nothing"
