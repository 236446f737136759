"""The micro-benchmarks run, and measure all that they say; how much it is, is no test's business."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BATCHES = ["1", "16", "64", "256", "1000"]
# For each benchmark, rows that it must have for every size of batch, and what is measured in each.
ROWS = {
    "engine": (
        ["put, key held", "put, key relayed", "put, key taken over", "put, fresh key", "get", "incr, one hot key"],
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
    printed = run("bench.run", "--only", name, "--quick", "--json", str(path))
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
            assert list(figures) == ["requests_per_s", "p50_ms", "p99_ms", "cpu_us"]
            assert figures["requests_per_s"] > 0
    assert "Requests a second" in printed
    assert "x)" in printed
