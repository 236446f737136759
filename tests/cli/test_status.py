"""`paxoskv status`: every node's own account, and what is known of those that give none."""

import json

from cli.conftest import Call
from click.testing import CliRunner

from paxoskv.cli import main
from paxoskv.server.launcher import LocalCluster

PROMISED = [
    "up",
    "incarnation",
    "keys",
    "journal rows",
    "operations in flight",
    "commit p50 (ms)",
    "commit p99 (ms)",
    "operations per turn",
    "preemptions",
    "relays sent",
    "dropped peer frames",
]


def rows(text: str) -> dict[str, list[str]]:
    """The cells of a table, by the first one of each row."""
    lines = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in text.splitlines() if "│" in line]
    return {line[0]: line[1:] for line in lines}


def test_a_healthy_cluster_shows_every_promised_row_for_every_node_in_80_columns(
    paxoskv: Call, cluster: LocalCluster
) -> None:
    paxoskv("put", "k", "v")
    result = paxoskv("status")
    assert (result.exit_code, result.stderr) == (0, "")
    found = rows(result.stdout)
    assert found["up"] == ["yes", "yes", "yes"]
    assert found["node"] == ["1", "2", "3"]
    for name in PROMISED:
        assert len(found[name]) == 3
        assert "-" not in found[name], "the node says so"
    assert all(endpoint in result.stdout for endpoint in cluster.endpoints)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout, "colours are for terminals"


def test_json_is_one_array_of_the_nodes_in_the_order_of_the_endpoints(paxoskv: Call, cluster: LocalCluster) -> None:
    result = paxoskv("status", "--json")
    nodes = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [node["address"] for node in nodes] == cluster.endpoints
    assert [(node["up"], node["node"]) for node in nodes] == [(True, 1), (True, 2), (True, 3)]
    for node in nodes:
        assert {"incarnation", "keys", "operations_in_flight", "storage", "engine", "peers", "batches"} <= node.keys()


def test_a_dead_node_is_a_no_and_a_reason_and_the_others_are_shown(paxoskv: Call, cluster: LocalCluster) -> None:
    cluster.kill(2)
    try:
        text, as_json = paxoskv("status"), paxoskv("status", "--json")
    finally:
        cluster.start(2)
        cluster.wait_ready(2)
    assert (text.exit_code, as_json.exit_code) == (0, 0)
    assert rows(text.stdout)["up"] == ["yes", "NO", "yes"]
    assert rows(text.stdout)["incarnation"][1] == ""
    assert text.stderr == f"down: {cluster.endpoints[1]}: Connection refused\n"
    dead = json.loads(as_json.stdout)[1]
    assert dead == {
        "address": cluster.endpoints[1],
        "up": False,
        "error": f"{cluster.endpoints[1]}: Connection refused",
    }


def test_with_no_node_up_it_exits_with_3_and_says_so_of_each() -> None:
    arguments = ["status", "--endpoints", "127.0.0.1:1,127.0.0.1:2", "--timeout", "2"]
    text = CliRunner().invoke(main, arguments)
    assert text.exit_code == 3
    assert text.stderr == "down: 127.0.0.1:1: Connection refused\ndown: 127.0.0.1:2: Connection refused\n"
    as_json = CliRunner().invoke(main, [*arguments, "--json"])
    assert as_json.exit_code == 3
    assert [node["up"] for node in json.loads(as_json.stdout)] == [False, False]


def test_more_nodes_than_fit_side_by_side_are_shown_below_each_other() -> None:
    endpoints = [f"127.0.0.1:{port}" for port in range(1, 6)]
    result = CliRunner().invoke(main, ["status", "--endpoints", ",".join(endpoints)], env={"COLUMNS": "80"})
    assert result.stdout.count("incarnation") == 2
    assert all(f" {endpoint} " in result.stdout for endpoint in endpoints)
    assert max(map(len, result.stdout.splitlines())) <= 80
