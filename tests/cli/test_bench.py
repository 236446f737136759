"""`paxoskv bench` as people and scripts use it; what it counts is tested in tests/load."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli.conftest import PROGRAM, Call
from client.fake_node import FakeNode, threaded_nodes
from harness.processes import started

SHORT = ["bench", "--duration", "0.4", "--clients", "16", "--keys", "200"]
PROMISED = {"ops_per_s", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "errors"}


def test_json_has_the_promised_keys(paxoskv: Call) -> None:
    result = paxoskv(*SHORT, "--read-ratio", "0.5", "--warmup", "0.1", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found.keys() >= PROMISED
    assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"] <= found["p999_ms"] <= found["max_ms"]
    assert found["errors"] == {}
    assert found["ops_per_s"] == pytest.approx(found["operations"] / found["duration_s"], rel=0.01)
    assert sum(found["coordinators"].values()) == found["operations"] > 0
    assert len(found["coordinators"]) == 3


def test_people_get_a_table_in_80_columns_and_no_bar_in_a_file(paxoskv: Call) -> None:
    result = paxoskv(*SHORT, "--rate", "500", "--processes", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    for name in ("operations/s", "latency p50 (ms)", "latency p99.9 (ms)", "longest gap (ms)", "errors", "through 127"):
        assert name in result.stdout
    assert "500 a second, 2 processes" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.output


def test_increments_of_one_key_add_up(paxoskv: Call) -> None:
    result = paxoskv(*SHORT, "--op", "incr", "--distribution", "one-key", "--json")
    assert result.exit_code == 0
    counter = json.loads(result.stdout)["counter"]
    assert counter["correct"] is True
    assert counter["final"] == counter["acknowledged"] > 0


def test_no_process_is_without_a_client(paxoskv: Call) -> None:
    result = paxoskv(*SHORT, "--clients", "1", "--processes", "3", "--json")
    assert json.loads(result.stdout)["processes"] == 1


def test_scans_of_several_processes_are_measured(paxoskv: Call) -> None:
    command = [*SHORT, "--op", "scan", "--prefix", "scanned/", "--scan-length", "20", "--processes", "2"]
    result = paxoskv(*command, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["errors"] == {}
    assert 2 < found["keys_per_scan"] <= 20
    table = paxoskv(*command).stdout
    assert "inserts and 95% scans" in table
    assert "keys per scan" in table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--scan-length", "5"], "--scan-length says how long scans are; add --op scan"),
        (["--op", "scan", "--read-ratio", "0"], "makes no scan at all"),
        (["--op", "scan", "--distribution", "one-key"], "reads many keys, and --distribution one-key has one"),
        (["--op", "scan", "--scan-length", "0"], "--scan-length"),
    ],
)
def test_scans_that_make_no_sense_are_refused(paxoskv: Call, arguments: list[str], sentence: str) -> None:
    result = paxoskv(*SHORT, *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_prints_what_was_measured_so_far(environment: dict[str, str], processes: str, number: int) -> None:
    command = [*PROGRAM, "bench", "--duration", "600", "--clients", "4", "--keys", "20", "--json"]
    command += ["--processes", processes, "--no-load"]
    with (
        threaded_nodes(2) as nodes,
        subprocess.Popen(
            [*command, "--endpoints", nodes.endpoints], env=environment, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            nodes.until(lambda node: len(node.seen) > 500)
            process.send_signal(number)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()  # Or else, if something fails, its ten minutes are waited for.
    assert process.returncode == 0
    found = json.loads(output)
    assert found["operations"] > 100
    assert found["duration_s"] < 600


def _workers(process: subprocess.Popen[str]) -> list[int]:
    """Its children that were spawned to make load."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("begun", [False, True])
def test_a_signal_to_all_its_processes_ends_it_in_order(environment: dict[str, str], number: int, begun: bool) -> None:
    """As a terminal and `timeout` send it. It killed workers that were still imported, and was taken for a defect."""
    command = [*PROGRAM, "bench", "--duration", "600", "--clients", "4", "--processes", "2", "--no-load"]
    with (
        threaded_nodes(1) as nodes,
        subprocess.Popen(
            [*command, "--endpoints", nodes.endpoints],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            while len(_workers(process)) < 2:
                time.sleep(0.01)
            if begun:
                nodes.until(lambda node: len(node.seen) > 500)
            os.killpg(process.pid, number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode in ((0,) if begun else (0, 3))  # Perhaps something was measured already.
    assert "defect" not in errors


def test_nobody_makes_load_for_a_bench_that_is_gone(environment: dict[str, str]) -> None:
    command = [*PROGRAM, "bench", "--duration", "600", "--clients", "4", "--processes", "2", "--no-load"]
    with (
        threaded_nodes(1) as nodes,
        subprocess.Popen([*command, "--endpoints", nodes.endpoints], env=environment, text=True) as process,
    ):
        nodes.until(lambda node: len(node.seen) > 500)
        workers = _workers(process)
        process.kill()
        process.wait()
        assert len(workers) == 2
        until = time.monotonic() + 60
        while any(map(_runs, workers)):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_load_of_which_nothing_succeeds_exits_with_3() -> None:
    def overloaded(node: FakeNode) -> None:
        node.refuse_with = 17

    with threaded_nodes(1) as nodes:
        nodes.do(overloaded)
        command = [*PROGRAM, *SHORT, "--no-load", "--endpoints", nodes.endpoints, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (3, "no operation succeeded\n")
    found = json.loads(done.stdout)
    assert found["ops_per_s"] == 0
    assert found["errors"].keys() == {"overloaded"}


def test_a_counter_that_does_not_fit_is_wrong_and_exits_with_3() -> None:
    """A node that acknowledges increments and makes none."""

    def lie(node: FakeNode) -> None:
        node.answer_as = lambda identifier: (identifier, 0, 1, 1)

    with threaded_nodes(1) as nodes:
        nodes.do(lie)
        command = [*PROGRAM, *SHORT, "--op", "incr", "--distribution", "one-key", "--no-load", "--endpoints"]
        with started([*command, nodes.endpoints], stdout=subprocess.PIPE) as process:
            nodes.until(lambda node: any(request[1] == 0 for request in node.seen))
            output, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "WRONG" in output


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_cannot_begin_is_one_sentence(paxoskv: Call, processes: str) -> None:
    result = paxoskv(*SHORT, "--processes", processes, "--endpoints", "127.0.0.1:1", "--json")
    assert result.exit_code == 3
    assert result.stderr == "not-reached: 127.0.0.1:1: Connection refused\n"
    assert json.loads(result.stdout)["error"] == "not-reached"
    result = paxoskv(*SHORT, "--processes", processes, "--value-size", "2000000")
    assert result.exit_code == 2
    assert result.stderr == "bad-request: values of 2000000 bytes; this cluster takes 1048576 at most\n"
