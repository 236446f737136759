"""`paxoskv demo` succeeds, and can fail: what it compares is broken on purpose."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from check import reading_reports
from cli.conftest import program

import paxoskv
from paxoskv import demo
from paxoskv.check import History, Operation, Recorder, check, read
from paxoskv.check import Verdict as Judgement
from paxoskv.cli.demo import complaints_about
from paxoskv.demo import Ledger, Verdict
from paxoskv.server.launcher import LocalCluster, free_base_port, prepare


@pytest.mark.slow
def test_a_node_is_killed_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    done = program("demo", "--seconds", "2.5", "--clients", "12", "--json", "--dir", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert (found["lost"], found["applied_twice"]) == (0, 0)
    assert found["writes_acknowledged"] > 100
    assert found["keys_read_back"] > 50
    assert found["operations_by_kind"].keys() == {"append", "cas", "get", "incr", "put"}
    assert found["node_killed"] == 2
    assert b"node 2 killed with SIGKILL" in done.stderr
    assert found["verdict"] == "ok"
    assert Path(found["report"]) == tmp_path / "demo" / "report.html"
    page = reading_reports.read(Path(found["report"]))
    assert page.data["operations"] == page.data["operations_shown"] == found["history_operations"]
    assert [fault["kind"] for fault in page.data["faults"]] == ["kill"]
    with (tmp_path / "demo" / "history.jsonl").open("rb") as file:
        history = read(file)
    # Every operation that succeeded, and every key through every node.
    assert len(history) >= found["operations"] + 3 * found["keys_read_back"]
    again = program("demo", "--dir", str(tmp_path / "demo"))
    assert again.returncode == 2
    assert b"holds a cluster already; give the demo a folder of its own" in again.stderr


def test_what_does_not_start_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    base = free_base_port(1)
    with LocalClusterOn(base, tmp_path / "occupant"):
        done = program("demo", "--nodes", "1", "--base-port", str(base))
    assert done.returncode == 2
    assert b"Address already in use" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["occupant"]


class LocalClusterOn:
    """A cluster of one node on these ports."""

    def __init__(self, base: int, folder: Path) -> None:
        self.cluster = LocalCluster(prepare(folder, 1, base, None))

    def __enter__(self) -> "LocalClusterOn":
        self.cluster.start_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.stop_all()


Sabotage = Callable[[paxoskv.Client, Ledger], Awaitable[object]]


def _unknown(key: bytes, token: bytes) -> Sabotage:
    async def doubt(kv: paxoskv.Client, ledger: Ledger) -> None:
        ledger.unknown[key].add(token)

    return doubt


SABOTAGE: dict[str, tuple[Sabotage, int, int]] = {
    "nothing": (lambda kv, ledger: kv.get("own/0/0"), 0, 0),
    "a put is lost": (lambda kv, ledger: kv.delete("own/0/0"), 1, 0),
    "an older value is back": (lambda kv, ledger: kv.put("own/0/0", "0-1"), 1, 0),
    "an increment is lost": (lambda kv, ledger: kv.incr("counter/0", -1), 1, 0),
    "a counter is lost": (lambda kv, ledger: kv.delete("counter/0"), 2, 0),
    "an increment happened twice": (lambda kv, ledger: kv.incr("counter/0"), 0, 1),
    "an append is lost": (lambda kv, ledger: kv.put("list/0/0", "0-5 "), 1, 0),
    "an append happened twice": (lambda kv, ledger: kv.append("list/0/0", "0-5 "), 0, 1),
    "an append that nobody asked for": (lambda kv, ledger: kv.append("list/0/0", "9-9 "), 0, 1),
}


@pytest.mark.parametrize("what", SABOTAGE)
async def test_the_comparison_finds_what_was_broken_on_purpose(cluster: LocalCluster, what: str) -> None:
    """An acknowledged write that vanishes between its acknowledgement and the reading back, and the like."""
    sabotage, lost, applied_twice = SABOTAGE[what]
    async with paxoskv.connect(cluster.endpoints) as kv:
        verdict = await _compare_after(kv, cluster, sabotage)
    assert (verdict.lost, verdict.applied_twice) == (lost, applied_twice)
    assert verdict.keys == 3
    assert verdict.intact is (what == "nothing")
    assert len(verdict.sentences) == (what != "nothing")


@pytest.mark.parametrize(
    ("key", "token", "happens"),
    [
        (b"own/0/0", b"0-9", lambda kv: kv.put("own/0/0", "0-9")),
        (b"counter/0", b"0-9", lambda kv: kv.incr("counter/0")),
        (b"list/0/0", b"0-9", lambda kv: kv.append("list/0/0", "0-9 ")),
    ],
)
async def test_a_write_of_unknown_outcome_may_have_happened(
    cluster: LocalCluster, key: bytes, token: bytes, happens: Callable[[paxoskv.Client], Awaitable[object]]
) -> None:
    async with paxoskv.connect(cluster.endpoints) as kv:
        assert (await _compare_after(kv, cluster, _unknown(key, token))).intact

        async def unknown_and_done(kv: paxoskv.Client, ledger: Ledger) -> None:
            await _unknown(key, token)(kv, ledger)
            await happens(kv)

        assert (await _compare_after(kv, cluster, unknown_and_done)).intact


async def _compare_after(kv: paxoskv.Client, cluster: LocalCluster, sabotage: Sabotage) -> Verdict:
    """Do and acknowledge a few writes, then the sabotage, then compare."""
    ledger = Ledger()
    await kv.put("own/0/0", "0-2")
    ledger.last_put[b"own/0/0"] = b"0-2"
    await kv.put("counter/0", "2")
    ledger.acknowledged[b"counter/0"] = {b"0-3", b"0-4"}
    await kv.put("list/0/0", "0-5 0-6 ")
    ledger.acknowledged[b"list/0/0"] = {b"0-5", b"0-6"}
    await sabotage(kv, ledger)
    return await demo.compare(cluster.endpoints, ledger)


def test_whatever_is_wrong_is_said_wherever_it_is() -> None:
    operations = [Operation(at, 1, "put", b"own/%d" % at, 0.0, 1.0, "ok", b"v") for at in range(50)]
    assert complaints_about(Verdict(), check(History(operations))) == []
    operations.append(Operation(50, 1, "get", b"own/49", 2.0, 3.0, "ok", None, None, b"w"))
    about_key, in_all = complaints_about(Verdict(), check(History(operations)))
    assert about_key.startswith('"own/49": Get by client 1')
    assert in_all == "the history is NOT linearizable"
    assert complaints_about(Verdict(lost=1, sentences=["it is gone"]), check(History(operations[:50]))) == [
        "it is gone",
        "acknowledged writes are missing or doubled",
    ]


async def test_what_is_read_back_is_judged_with_the_rest(cluster: LocalCluster) -> None:
    """A write that was acknowledged, and that no node has."""

    async def pretend(kv: paxoskv.Client, ledger: Ledger) -> None:
        with ledger.history.call(client=1, kind="put", key="own/0/0", value="0-2") as call:
            call.returned()
        await kv.delete("own/0/0")
        histories.append(ledger.history)

    histories: list[Recorder] = []
    async with paxoskv.connect(cluster.endpoints) as kv:
        await _compare_after(kv, cluster, pretend)
    assert check(histories[0].history()).verdict is Judgement.ILLEGAL


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_load(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = program("demo", "--out", str(tmp_path / "file" / "out"))
    assert done.returncode == 2
    assert b"is no folder to write to; give --out" in done.stderr
    assert not done.stdout
