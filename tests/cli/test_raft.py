"""The command line beside a cluster in raft mode: who leads, how far the others are, handing over."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Call
from cli.test_status import rows
from click.testing import CliRunner, Result
from harness.processes import running_cluster

from paxoskv.cli import main
from paxoskv.server.launcher import LocalCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with running_cluster(tmp_path_factory.mktemp("raft"), 3, mode="raft") as running:
        yield running


def leads(paxoskv: Call, number: int) -> None:
    """Until that node does, and all know."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        nodes = json.loads(paxoskv("status", "--json").stdout)
        if {node["raft"]["leader"] for node in nodes} == {number}:
            return
    pytest.fail("nobody says so")


def test_transfer_has_the_node_lead_and_says_in_which_term(paxoskv: Call) -> None:
    for number in (1, 2, 3, 3):
        result = paxoskv("raft", "transfer", "--to", str(number), "--timeout", "30", "--json")
        assert result.exit_code == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["leader"] == number
        leads(paxoskv, number)
        assert json.loads(paxoskv("status", "--json").stdout)[number - 1]["raft"]["term"] == found["term"]
    result = paxoskv("raft", "transfer", "--to", "2", "--timeout", "30")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("node 2 leads, in term ")


def test_a_node_that_there_is_not_is_bad_usage_at_once(paxoskv: Call) -> None:
    result = paxoskv("raft", "transfer", "--to", "9", "--timeout", "60")
    assert result.exit_code == 2
    assert "there is no node 9; node " in result.stderr


def test_a_node_that_is_down_cannot_lead_and_the_leader_goes_on(paxoskv: Call, cluster: LocalCluster) -> None:
    assert paxoskv("raft", "transfer", "--to", "1", "--timeout", "30").exit_code == 0
    leads(paxoskv, 1)
    cluster.kill(3)
    try:
        result = paxoskv("raft", "transfer", "--to", "3", "--timeout", "1", "--json")
        assert result.exit_code == 3
        assert json.loads(result.stdout)["error"] == "unavailable"
        assert "node 3 does not lead after 1 s" in result.stderr
        assert paxoskv("put", "k", "v").exit_code == 0
    finally:
        cluster.start(3)
        cluster.wait_ready(3)


def test_a_node_that_hangs_holds_up_no_handover(paxoskv: Call, cluster: LocalCluster) -> None:
    assert paxoskv("raft", "transfer", "--to", "1", "--timeout", "30").exit_code == 0
    leads(paxoskv, 1)
    cluster.signal(3, signal.SIGSTOP)
    try:
        result = paxoskv("raft", "transfer", "--to", "2", "--timeout", "30", "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["leader"] == 2
    finally:
        cluster.signal(3, signal.SIGCONT)


def test_status_shows_role_term_leader_and_how_far_everybody_is(paxoskv: Call) -> None:
    assert paxoskv("raft", "transfer", "--to", "2", "--timeout", "30").exit_code == 0
    leads(paxoskv, 2)
    assert paxoskv("put", "k", "v").exit_code == 0
    # How far the others are is known to the leader when they have said so.
    end = time.monotonic() + 60
    while True:
        nodes = json.loads(paxoskv("status", "--json").stdout)
        followers = nodes[1]["raft"]["followers"]
        if {follower["match"] for follower in followers.values()} == {nodes[1]["raft"]["last_index"]}:
            break
        assert time.monotonic() < end
    result = paxoskv("status")
    assert result.exit_code == 0
    found = rows(result.stdout)
    assert found["role"] == ["follower", "leader", "follower"]
    assert found["leader"] == ["2", "2", "2"]
    assert len(set(found["term"])) == 1
    assert int(found["commit index"][1]) >= int(found["applied index"][0]) > 0
    last = nodes[1]["raft"]["last_index"]
    assert found["match index"] == ["-", f"1:{last} 3:{last}", "-"]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_every_operation_of_the_command_line_works(paxoskv: Call) -> None:
    def said(*arguments: str) -> Result:
        return paxoskv(*arguments)

    assert said("put", "all", "5").exit_code == 0
    assert said("get", "all").stdout == "5"
    assert said("incr", "all").exit_code == 0
    assert said("append", "all", "0").exit_code == 0
    assert said("cas", "all", "60", "x").exit_code == 0
    assert said("swap", "all", "y").stdout == "x"
    assert said("put", "all", "z", "--if-version", "0").exit_code == 1
    assert said("expire", "all", "1000").exit_code == 0
    assert said("ttl", "all").exit_code == 0
    assert said("persist", "all").exit_code == 0
    assert "all" in said("scan", "--keys-only").stdout
    assert said("delete", "all").exit_code == 0
    assert said("get", "all").exit_code == 1


def test_bench_writes_through_the_leader_as_the_client_library_does_and_reads_through_all(
    paxoskv: Call, cluster: LocalCluster
) -> None:
    assert paxoskv("raft", "transfer", "--to", "2", "--timeout", "30").exit_code == 0
    leads(paxoskv, 2)
    load = ("bench", "--clients", "8", "--duration", "0.5", "--keys", "100", "--json")
    writes, reads = paxoskv(*load), paxoskv(*load, "--read-ratio", "1")
    assert (writes.exit_code, reads.exit_code) == (0, 0)
    assert list(json.loads(writes.stdout)["coordinators"]) == [cluster.endpoints[1]]
    assert set(json.loads(reads.stdout)["coordinators"]) == set(cluster.endpoints)
    anywhere = json.loads(paxoskv(*load, "--route", "any").stdout)
    assert set(anywhere["coordinators"]) == set(cluster.endpoints)


def test_in_paxos_mode_nobody_leads(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 1) as other:
        call = CliRunner().invoke(main, ["raft", "transfer", "--to", "1", "--endpoints", other.endpoints[0]])
    assert call.exit_code == 2
    assert "runs in paxos mode, in which nobody leads" in call.stderr


def test_no_node_that_answers_is_a_definite_error() -> None:
    call = CliRunner().invoke(main, ["raft", "transfer", "--to", "1", "--endpoints", "127.0.0.1:1", "--timeout", "0.3"])
    assert call.exit_code == 3
    assert "no node answers: 127.0.0.1:1: Connection refused" in call.stderr


def test_the_demo_kills_the_leader_and_loses_nothing(tmp_path: Path) -> None:
    arguments = [
        "demo",
        "--mode",
        "raft",
        "--seconds",
        "3",
        "--clients",
        "6",
        "--dir",
        str(tmp_path / "demo"),
        "--json",
    ]
    call = CliRunner().invoke(main, arguments)
    assert call.exit_code == 0, call.stderr
    found = json.loads(call.stdout)
    assert found["lost"] == found["applied_twice"] == 0
    log = (tmp_path / "demo" / f"node-{found['node_killed']}.log").read_text()
    assert log.count("event=ready") == 2
