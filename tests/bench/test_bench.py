"""The micro-benchmarks run, and measure all that they say; how much it is, is no test's business."""

import json
import runpy
import shutil
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BATCHES = ["1", "16", "64", "256", "1000"]
# For each benchmark, rows that it must have for every size of batch, and what is measured in each.
ROWS = {
    "engine": (
        [
            "put, key held",
            "put, key relayed",
            "put, key taken over",
            "put, fresh key",
            "put, fresh key at home",
            "get",
            "incr, one hot key",
        ],
        ["all_us", "asked_us", "other_us", "all_without_codec_us"],
    ),
    "wire": (
        ["pack puts, 64 bytes", "parse puts, 64 bytes", "pack Proposals, 64 bytes", "parse Proposals, 64 bytes"],
        ["us", "msgpack_us", "times_msgpack"],
    ),
    "storage": (["bare file", "bare file, in a thread", "SQLite"], ["p50_ms", "p99_ms", "times_bare"]),
}


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", list(ROWS))
def test_a_quick_run_measures_every_row_at_every_size_of_batch(name: str, tmp_path: Path) -> None:
    """The engine's run fails by itself when an operation goes another way than its row says."""
    path = tmp_path / "figures.json"
    printed = run("bench.run", "--only", name, "--quick", "--details", "--save", str(path))
    written = json.loads(path.read_text())
    assert list(written) == ["machine", name]
    rows, measured = ROWS[name]
    for row in rows:
        assert row in printed
        assert list(written[name][row]) == BATCHES
        for cell in written[name][row].values():
            assert all(cell[figure] > 0 for figure in measured)
    if name == "engine":
        assert all(cell["bytes"] > 0 for cell in written[name]["a cached key"].values())


def test_the_checker_is_measured_by_what_answers_tell() -> None:
    printed = run("bench.run", "--only", "checker", "--quick")
    for row in ("with versions", "values alone", "values alone, 1 % without an answer"):
        assert f"check, {row}" in printed
    assert printed.count("us of CPU an operation") == 3, "one table"


def test_a_saved_run_can_be_compared_with(tmp_path: Path) -> None:
    """A thousand times as dear as it was: the file is made to say so."""
    path = tmp_path / "before.json"
    run("bench.run", "--only", "wire", "--quick", "--save", str(path))
    before = json.loads(path.read_text())
    cell = before["wire"]["pack puts, 64 bytes"]["64"]
    cell["us"] /= 1000
    path.write_text(json.dumps(before))
    printed = run("bench.run", "--only", "wire", "--quick", "--against", str(path))
    [line] = [line for line in printed.splitlines() if "pack puts" in line]
    ratio = float(line.split()[-6])
    assert ratio > 50, line
    assert "Of one run each" in printed


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="this is no clone: there are no commits")
def test_an_earlier_commit_is_measured_in_turns_with_this_one() -> None:
    printed = run("bench.run", "--only", "wire", "--quick", "--rounds", "2", "--against", "HEAD")
    [line] = [line for line in printed.splitlines() if "parse Accepted" in line]
    assert len([part for part in line.split() if part.replace(".", "").isdecimal()]) == 6, "and both rounds' ratios"
    trees = subprocess.run(["git", "worktree", "list"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "/bench-" not in trees.stdout, "the commit's tree is gone"


def test_what_is_no_commit_and_no_file_is_refused() -> None:
    command = [sys.executable, "-m", "bench.run", "--against", "no-such-thing"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "neither a file of --save nor a commit" in done.stderr


def test_the_profile_names_the_functions_of_the_engine() -> None:
    assert "(_fold)" in run("bench.engine_profile", "put, key held", "64")


@pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("redis-benchmark")),
    reason="redis-server or redis-benchmark is not installed; on Debian: apt-get install redis-server redis-tools",
)
def test_the_redis_door_is_measured_beside_a_real_redis(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    printed = run("bench.redis_door", "--quick", "--clients", "32", "--etcd", "4000", "9000", "--json", str(path))
    written = json.loads(path.read_text())
    assert list(written) == ["paxoskv, one node of three", "paxoskv, three at once", "redis, one node, one disk"]
    for row in written.values():
        assert list(row) == ["set -P 1", "get -P 1", "set -P 16", "get -P 16"]
        for figures in row.values():
            assert list(figures) == ["requests_per_s", "p50_ms", "p99_ms", "cpu_us", "errors"]
            assert figures["requests_per_s"] > 0
    assert "Requests a second" in printed
    assert "x)" in printed


class _Door(socketserver.StreamRequestHandler):
    """Answers SET with OK, but for the first `failing`, and INFO with how many errors it has answered."""

    failing = 0
    errors = 0

    def handle(self) -> None:
        for line in self.rfile:
            words = (
                [self.rfile.readline() and self.rfile.readline()[:-2] for _ in range(int(line[1:]))]
                if (line.startswith(b"*"))
                else line.split()
            )
            name = words[0].upper()
            if name == b"INFO":
                self.wfile.write(b"total_error_replies:%d\r\n" % _Door.errors)
                return
            if name == b"SET" and _Door.failing:
                _Door.failing -= 1
                _Door.errors += 1
                self.wfile.write(b"-UNKNOWN perhaps\r\n")
            else:
                self.wfile.write(b"*0\r\n" if name == b"CONFIG" else b"+OK\r\n")


@pytest.mark.skipif(not shutil.which("redis-benchmark"), reason="redis-benchmark is not installed")
@pytest.mark.parametrize(("failing", "figures"), [(0, 5), (2, 5), (1000, 1)])
def test_a_run_that_an_error_ended_is_made_again_and_the_errors_are_counted(failing: int, figures: int) -> None:
    bench = runpy.run_path(str(REPOSITORY / "bench" / "redis_door.py"))
    _Door.failing, _Door.errors = failing, 0
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = bench["Target"]("a door", [server.server_address[1]], [])
        found = bench["measure"](target, "set", clients=1, pipeline=1, requests=20)
        server.shutdown()
    assert len(found) == figures
    assert found["errors"] == _Door.errors >= min(failing, 5)
