"""A live cluster under faults, for a few seconds: what `make verify` does for a minute."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from check import reading_reports
from harness.processes import running_cluster, started

import paxoskv.sync
from paxoskv.core.errors import ConfigurationError, NotReached
from paxoskv.film import make_reel
from paxoskv.server import config
from paxoskv.trace import reading


def verify(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "paxoskv", "verify", *options], capture_output=True, text=True, check=False
    )


def test_what_clients_saw_under_all_faults_is_linearizable(tmp_path: Path) -> None:
    done = verify("--duration", "5", "--seed", "3", "--out", str(tmp_path / "out"), "--trace", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == {
        name: value
        for name, value in json.loads((tmp_path / "out" / "summary.json").read_text()).items()
        if name != "interrupted"
    }
    assert summary["verdict"] == "ok"
    assert summary["operations"] > 100
    assert summary["faults"]
    assert summary["unread"] == 0
    lines = (tmp_path / "out" / "history.jsonl").read_text().splitlines()
    assert len(lines) == summary["operations"] + len(summary["faults"])
    page = reading_reports.read(tmp_path / "out" / "report.html")
    assert page.data["operations_shown"] == summary["operations"]
    assert sorted(fault["text"] for fault in page.data["faults"]) == sorted(
        fault["text"] for fault in summary["faults"]
    )

    trace = list(reading.read(tmp_path / "out" / "trace.jsonl"))
    assert sum(event["e"] == "call" for event in trace) >= summary["operations"] / 2, "some never got to a node"
    texts = {event.get("text") for event in trace if event["e"] == "fault"}
    assert texts >= {fault["text"] for fault in summary["faults"] if fault["kind"] not in ("disk-stall", "clock")}
    assert make_reel(trace).events


def _operations(path: Path) -> int:
    """How many the first node of a cluster that may not run yet has taken."""
    try:
        with paxoskv.sync.connect(str(config.load(path).node(1).client)) as kv:
            return int(kv.status()[0]["engine"]["operations"])
    except (ConfigurationError, NotReached):
        return 0


def test_sigterm_has_what_was_recorded_so_far_written_and_judged(tmp_path: Path) -> None:
    """As a time-out of CI ends it: the verdict was lost, and sometimes the history with it."""
    command = [sys.executable, "-m", "paxoskv", "verify", "--duration", "600", "--out", str(tmp_path / "out"), "--json"]
    with started([*command, "--faults", "pause"], stdout=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while _operations(tmp_path / "out" / "cluster" / "cluster.toml") < 100:
            assert time.monotonic() < until
            time.sleep(0.05)
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(output)["verdict"] == "ok"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["interrupted"] is True
    assert (tmp_path / "out" / "history.jsonl").stat().st_size


def test_a_folder_with_a_former_verification_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    done = verify("--out", str(tmp_path))
    assert done.returncode == 2
    assert "former verification" in done.stderr


@pytest.mark.parametrize("option", ["--nodes", "--mode", "--base-port"])
def test_what_is_about_a_cluster_that_is_started_is_refused_for_one_that_runs(option: str) -> None:
    value = "raft" if option == "--mode" else "5"
    done = verify("--endpoints", "127.0.0.1:1", option, value)
    assert done.returncode == 2
    assert f"{option} is about a cluster that is started" in done.stderr


def test_faults_that_need_processes_are_refused_for_a_cluster_that_runs_already() -> None:
    done = verify("--endpoints", "127.0.0.1:1", "--faults", "kill,clock")
    assert done.returncode == 2
    assert "cannot be given kill" in done.stderr


def test_faults_that_a_cluster_does_not_take_are_refused(tmp_path: Path) -> None:
    """None was made, nobody said so, and it was linearizable under stalls of its disks."""
    with running_cluster(tmp_path / "cluster", 1) as cluster:
        arguments = ("--endpoints", cluster.endpoints[0], "--duration", "1", "--out", str(tmp_path / "out"))
        done = verify(*arguments, "--faults", "disk-stall")
        assert done.returncode == 2, done.stdout
        assert f"{cluster.endpoints[0]}: this node was not started with --fault-injection; start all" in done.stderr
        done = verify(*arguments, "--faults", "none")
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_cluster_that_runs_already_can_be_verified_twice_and_its_keys_are_left_alone(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster", 3, "--fault-injection") as cluster:
        with paxoskv.sync.connect(cluster.endpoints) as kv:
            version = kv.put("a", "mine")
        for seed in ("1", "2"):
            endpoints = ",".join(cluster.endpoints)
            out = tmp_path / seed
            done = verify(
                "--endpoints", endpoints, "--faults", "clock", "--duration", "1", "--seed", seed, "--out", str(out)
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "linearizable" in done.stdout
        with paxoskv.sync.connect(cluster.endpoints) as kv:
            assert kv.get("a") == (b"mine", version)
    lines = (tmp_path / "2" / "history.jsonl").read_text().splitlines()
    assert any("initial" in json.loads(line) for line in lines), "the second round found what the first one left"
