"""`paxoskv cluster`, as a program: what it prints, how it stops, and what it refuses."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import PROGRAM, program
from harness.processes import started

import paxoskv.sync
from paxoskv.server import config
from paxoskv.server.launcher import answers, free_base_port, prepare


class Running:
    """The program, and the lines that it has printed."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "cluster", *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def line(self) -> str:
        assert self.process.stdout is not None
        self.lines.append(self.process.stdout.readline())
        assert self.lines[-1], self.process.communicate()[1]
        return self.lines[-1].rstrip("\n")

    def until(self, beginning: str) -> str:
        while not self.line().startswith(beginning):
            pass
        return self.lines[-1].rstrip("\n")

    def end(self, signal_number: int = signal.SIGINT) -> tuple[int, str, str]:
        """The exit code, and what else it printed on both."""
        self.process.send_signal(signal_number)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[Running]:
    cluster = Running(*arguments, **environment)
    try:
        yield cluster
    finally:
        if cluster.process.poll() is None:
            cluster.end()
        for stream in (cluster.process.stdout, cluster.process.stderr):
            assert stream is not None
            stream.close()


def test_it_says_who_is_ready_and_the_line_to_paste_next_works(tmp_path: Path) -> None:
    folder, base = tmp_path / "data", free_base_port(3)
    with running("--nodes", "3", "--dir", str(folder), "--base-port", str(base)) as cluster:
        for number in (1, 2, 3):
            ready = (
                f"node {number} ready: clients 127.0.0.1:{base + number}, peers 127.0.0.1:{base + 100 + number}, pid "
            )
            assert cluster.line().startswith(ready)
        assert cluster.line() == "all 3 nodes ready. Next, in another shell:"
        pasted = subprocess.run(cluster.line(), shell=True, capture_output=True, text=True, cwd="/", check=True)
        assert pasted.stdout.splitlines()[1:] == ["hello"]
        assert config.load(folder / "cluster.toml").nodes.keys() == {1, 2, 3}
        assert all((folder / f"node-{number}.log").stat().st_size for number in (1, 2, 3))
        assert cluster.end() == (0, "stopping\nstopped\n", "")
    for number in (1, 2, 3):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", base + number)) != 0, "nobody is left"

    with running("--dir", str(folder), "--json") as cluster:
        events = [json.loads(cluster.line()) for _ in range(4)]
        assert [event["event"] for event in events] == ["ready"] * 3 + ["all-ready"]
        assert events[0].keys() == {"event", "node", "client", "peer", "pid", "seconds"}
        with paxoskv.sync.connect(events[3]["endpoints"]) as kv:
            assert kv.get("greeting").value == b"hello", "all data is there again"
        code, output, errors = cluster.end(signal.SIGTERM)
        assert (code, errors) == (0, "")
        assert [json.loads(line)["event"] for line in output.splitlines()] == ["stopping", "stopped"]


def test_a_node_that_dies_is_told_with_the_command_that_brings_it_back(tmp_path: Path) -> None:
    base = free_base_port(3)
    with running("--dir", str(tmp_path), "--base-port", str(base)) as cluster:
        pid = int(cluster.until("node 2 ready").rsplit(" ", 1)[1])
        cluster.until("all 3 nodes ready")
        cluster.line()
        os.kill(pid, signal.SIGKILL)
        assert cluster.line() == (
            "node 2 was killed by SIGKILL; the others go on. To start it again, in another shell:"
        )
        command = cluster.line().split()
        with started(command, cwd="/", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as node:
            assert node.stderr is not None
            assert "event=ready" in node.stderr.readline()
            with paxoskv.sync.connect(f"127.0.0.1:{base + 2}") as kv:
                kv.put("k", "v")
            node.terminate()
            node.stderr.read()
        assert node.returncode == 0


def test_ctrl_c_before_the_nodes_are_ready_leaves_a_folder_that_starts_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running("--dir", str(folder), "--base-port", str(free_base_port(3))) as cluster:
        while not (folder / "node-1.log").exists():  # The first one has been started, and no more is known.
            assert cluster.process.poll() is None
        code, output, errors = cluster.end()
        assert (code, errors) == (0, "")
        assert output.endswith("stopped\n")
    with running("--dir", str(folder)) as cluster:
        cluster.until("all 3 nodes ready")


def test_nodes_end_with_the_program_that_started_them_however_it_ended(tmp_path: Path) -> None:
    with running("--nodes", "1", "--dir", str(tmp_path), "--base-port", str(free_base_port(1))) as cluster:
        pid = int(cluster.until("node 1 ready").rsplit(" ", 1)[1])
        watched = os.pidfd_open(pid)
        cluster.process.kill()
        readable, _, _ = select.select([watched], [], [], 30)
        assert readable == [watched]
        os.close(watched)


def refusal(*arguments: str) -> str:
    """The one sentence of a command that could not be carried out; --json says the same."""
    done = program("cluster", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    sentence = done.stderr.decode()
    assert sentence.startswith("configuration: ")
    assert sentence.count("\n") == 1
    as_json: dict[str, Any] = json.loads(program("cluster", *arguments, "--json").stdout)
    assert f"configuration: {as_json['message']}\n" == sentence
    return sentence


def test_what_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    base = free_base_port(3)
    folder = str(tmp_path / "data")
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", base + 102))
        occupant.listen()
        sentence = refusal("--dir", folder, "--base-port", str(base))
    assert f"the peer port of node 2, 127.0.0.1:{base + 102}, cannot be used: Address already in use" in sentence
    # The folder is not bound to ports on which nothing was ever started.
    assert not (tmp_path / "data" / "cluster.toml").exists()
    prepare(tmp_path / "data", 3, base, None)
    assert "holds a cluster of 3 nodes, not 5" in refusal("--dir", folder, "--nodes", "5")
    (tmp_path / "other").touch()
    assert "is not empty and holds no cluster.toml" in refusal("--dir", str(tmp_path))


def test_the_lost_data_of_a_node_is_not_silently_begun_anew(tmp_path: Path) -> None:
    with running("--nodes", "3", "--dir", str(tmp_path), "--base-port", str(free_base_port(3))) as cluster:
        cluster.until("all 3 nodes ready")
    shutil.rmtree(tmp_path / "node-3")
    assert f"the data of node 3 is gone from {tmp_path}" in refusal("--dir", str(tmp_path))


@pytest.mark.parametrize("arguments", [["--nodes", "0"], ["--nodes", "10"], ["--cache-bytes", "much"], []])
def test_bad_usage_exits_with_2(tmp_path: Path, arguments: list[str]) -> None:
    folder = ["--dir", str(tmp_path / "data")] if arguments else []
    done = program("cluster", *arguments, *folder)
    assert done.returncode == 2
    assert b"Error: " in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_cluster_toml_of_ones_own_is_started_as_it_is(tmp_path: Path) -> None:
    base = free_base_port(1)
    text = config.render("mine", "paxos", [(5, f"127.0.0.1:{base + 1}", f"127.0.0.1:{base + 101}", "five")])
    (tmp_path / "cluster.toml").write_text(text)
    with running("--dir", str(tmp_path)) as cluster:
        cluster.until("node 5 ready")
        assert answers(config.load(tmp_path / "cluster.toml").node(5), "mine")


def test_every_option_can_be_an_environment_variable(tmp_path: Path) -> None:
    """PAXOSKV_NODES=1 was three nodes, beside PAXOSKV_DIR and PAXOSKV_BASE_PORT, which counted."""
    folder, base, traces = tmp_path / "data", free_base_port(1), tmp_path / "traces"
    variables = {"DIR": str(folder), "NODES": "1", "BASE_PORT": str(base), "TRACE": str(traces), "MODE": "raft"}
    with running(**{f"PAXOSKV_{name}": value for name, value in variables.items()}) as cluster:
        assert cluster.until("all ").startswith("all 1 nodes ready")
        cluster.line()
        assert cluster.end()[0] == 0
    assert config.load(folder / "cluster.toml").mode == "raft"
    assert os.listdir(traces) == ["node-1.jsonl"]
