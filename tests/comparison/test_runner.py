"""Turns: their order, what is kept when they fail or are interrupted, and the exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comparison import runner
from comparison.__main__ import SCENARIOS, SYSTEMS, asked_by_default
from comparison.load import Load, LoadFailed
from comparison.processes import Missing
from comparison.results import Point, Results
from comparison.runner import Plan
from comparison.scenarios.contract import Pace, Scenario, Section, Turn
from comparison.scenarios.ycsb import Ycsb
from comparison.systems.contract import Layout, System
from comparison.systems.paxoskv import Leaderless, Raft

REPOSITORY = Path(__file__).parents[2]
PACE = Pace(0.1, quick=True)


class Idle(System):
    """Runs nothing."""

    name = "idle"
    title = "Idle"
    durability = reads = client = "none"

    def install(self) -> dict[str, str]:
        return {"idle": "1"}

    def configuration(self) -> dict[str, Any]:
        return {}

    def prepare(self, layout: Layout) -> None:
        pass

    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        return ["sleep", "60"], {}

    def answers(self, number: int) -> bool:
        return True

    def load_command(self, load: Load, numbers: Any) -> list[str]:
        return ["true"]


class Other(Idle):
    name = "other"


class Frail(Idle):
    name = "frail"


class Absent(Idle):
    name = "absent"

    def install(self) -> dict[str, str]:
        raise Missing("absent: it is sold out")


class Grown(Scenario):
    """Measures some points, and another day more of them."""

    name = "grown"
    title = question = "?"
    measurements, other_s = (1, 1), (1.0, 1.0)

    def __init__(self, *points: str) -> None:
        self.points = points
        self.fails = False
        self.measured: list[str] = []

    def owes(self, system: type[System], has: Callable[[Point], bool]) -> bool:
        return not all(has({"what": what}) for what in self.points)

    def run(self, turn: Turn) -> None:
        for what in self.points:
            if not turn.has({"what": what}):
                if self.fails:
                    raise LoadFailed("it fell over")
                self.measured.append(what)
                turn.keep({"what": what}, {"figure": 1})

    def tell(self, results: Results) -> Section | None:
        return None


class Asks(Scenario):
    """Keeps one record, and then does what a test wants."""

    name = "asks"
    title = question = "?"
    measurements, other_s = (1, 1), (60.0, 30.0)
    calibrates: bool = False

    def __init__(self, then: Any = None) -> None:
        self.then = then
        self.pids: list[int] = []

    def unfit(self, system: type[System]) -> str | None:
        return "it has no time" if system is Other else None

    def run(self, turn: Turn) -> None:
        turn.start()
        self.pids += [process.pid for process in turn.system.nodes.values()]
        turn.keep({"what": 1}, {"figure": 1 / 3})
        if self.then is not None:
            self.then(turn)

    def tell(self, results: Results) -> Section | None:
        return None


def plan(tmp_path: Path, systems: list[type[System]], scenario: Scenario, **more: Any) -> Plan:
    return Plan(systems, [scenario], more.pop("repeats", 1), PACE, tmp_path / "out.json", tmp_path / "data", **more)


def run(given: Plan) -> Results:
    return runner.run(given, lambda text: None)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_systems_take_turns_and_each_time_another_one_is_first(tmp_path: Path) -> None:
    hot_key = SCENARIOS["hot-key"]
    order = runner.turns(plan(tmp_path, [], hot_key, repeats=3), [Leaderless, Raft, Idle])
    assert {scenario for scenario, _, _ in order} == {hot_key}
    assert [(repeat, kind.name) for _, repeat, kind in order] == [
        (0, "leaderless"), (0, "raft"), (0, "idle"),
        (1, "raft"), (1, "idle"), (1, "leaderless"),
        (2, "idle"), (2, "leaderless"), (2, "raft"),
    ]  # fmt: skip


def test_a_turn_that_fails_takes_no_other_along_and_is_told(tmp_path: Path) -> None:
    def fail(turn: Turn) -> None:
        if isinstance(turn.system, Frail):
            raise LoadFailed("it fell over")

    scenario = Asks(fail)
    found = run(plan(tmp_path, [Frail, Idle], scenario, repeats=2))
    assert [failure["text"] for failure in found.failures] == ["it fell over"] * 2
    assert len(found.records) == 4, "what was measured before it failed is kept"
    assert not found.complete
    assert not any(alive(pid) for pid in scenario.pids)
    assert list((tmp_path / "data").iterdir()) == []
    again = Results.load(tmp_path / "out.json")
    assert (again.records, again.failures, again.complete) == (found.records, found.failures, False)
    assert again.records[0]["data"]["figure"] == 0.333333


class Mortal(Idle):
    """One of its nodes dies under load, which the load generator survives."""

    name = "mortal"

    def load_command(self, load: Load, numbers: Any) -> list[str]:
        result = '{"ops_per_s": 1.0, "operations": 1}'
        return ["sh", "-c", f"echo measuring >&2; kill -9 {self.nodes[2].pid}; echo '{result}'"]


def test_figures_of_a_system_that_died_meanwhile_are_not_kept(tmp_path: Path) -> None:
    def load(turn: Turn) -> None:
        turn.keep({"what": 2}, turn.system.drive(Load(1, 0.1)))

    scenario = Asks(load)
    found = run(plan(tmp_path, [Mortal], scenario))
    assert [failure["text"] for failure in found.failures] == ["mortal: node 2 ended under load with exit code -9"]
    assert [record["point"] for record in found.records] == [{"what": 1}]
    assert not any(alive(pid) for pid in scenario.pids)


def test_who_is_missing_or_unfit_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    found = run(plan(tmp_path, [Absent, Other, Idle], Asks()))
    assert found.left_out == {"absent": "absent: it is sold out"}
    assert found.unfit == {"asks": {"other": "it has no time"}}
    assert [record["system"] for record in found.records] == ["idle"]
    assert found.complete, "what could not be asked is no failure"
    assert list(found.about["systems"]) == ["other", "idle"]


def test_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    found = run(plan(tmp_path, [Idle], Asks(), repeats=2, minutes=0.0))
    assert found.skipped == ["asks, idle, round 1", "asks, idle, round 2"]
    assert not found.complete


def test_an_interruption_stops_the_nodes_and_keeps_what_was_measured(tmp_path: Path) -> None:
    def interrupt(turn: Turn) -> None:
        raise KeyboardInterrupt

    scenario = Asks(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(plan(tmp_path, [Idle], scenario))
    found = Results.load(tmp_path / "out.json")
    assert (len(found.records), found.complete) == (1, False)
    assert scenario.pids
    assert not any(alive(pid) for pid in scenario.pids)


def test_a_run_is_gone_on_with_where_turns_did_not_end_well(tmp_path: Path) -> None:
    falling = True

    def then(turn: Turn) -> None:
        if isinstance(turn.system, Frail) and falling:
            raise LoadFailed("it fell over")

    scenario = Asks(then)
    first = run(plan(tmp_path, [Frail, Idle], scenario))
    assert [(turn["system"], turn["repeat"]) for turn in first.done] == [("idle", 0)]
    falling = False
    taken = len(scenario.pids)
    second = run(plan(tmp_path, [Frail, Idle], scenario, repeats=2, resume=True))
    assert len(scenario.pids) - taken == 3 * 3, "three turns of three nodes: one again, and two of the next round"
    assert sorted((r["system"], r["repeat"]) for r in second.records) == [
        ("frail", 0), ("frail", 1), ("idle", 0), ("idle", 1),
    ]  # fmt: skip
    assert (second.failures, second.skipped, second.complete) == ([], [], True)
    assert second.about["began"] == first.about["began"]
    assert len(second.about["resumed"]) == 1
    third = run(plan(tmp_path, [Frail, Idle], scenario, repeats=2, resume=True))
    assert (len(scenario.pids) - taken, third.complete) == (9, True), "there was nothing left"


@pytest.mark.parametrize("calibrates", [False, True])
def test_a_prediction_outlives_what_it_is_not_made_from(tmp_path: Path, calibrates: bool) -> None:
    scenario = Asks()
    found = run(plan(tmp_path, [Frail], scenario))
    found.predictions = {"raft": 1}
    found.save(tmp_path / "out.json")
    scenario.calibrates = calibrates
    assert run(plan(tmp_path, [Frail], scenario, resume=True)).predictions == {"raft": 1}, "nothing was measured"
    found = run(plan(tmp_path, [Idle], scenario, resume=True))
    assert (len(found.records), found.predictions) == (2, {} if calibrates else {"raft": 1})


def test_what_a_scenario_has_learned_since_is_added_to_a_run(tmp_path: Path) -> None:
    before = run(plan(tmp_path, [Idle, Other], Grown("a"), repeats=2))
    assert len(before.done) == 4
    grown = Grown("a", "b")
    grown.fails = True
    failed = run(plan(tmp_path, [Idle, Other], grown, repeats=2, resume=True))
    assert ([record["point"]["what"] for record in failed.records], failed.complete) == (["a"] * 4, False)
    assert len(failed.failures) == 4
    grown.fails = False
    found = run(plan(tmp_path, [Idle, Other], grown, repeats=2, resume=True))
    assert grown.measured == ["b"] * 4, "what is there is not measured again"
    assert sorted(record["point"]["what"] for record in found.records) == ["a"] * 4 + ["b"] * 4
    assert (len(found.done), found.failures, found.complete) == (4, [], True)
    run(plan(tmp_path, [Idle, Other], grown, repeats=2, resume=True))
    assert grown.measured == ["b"] * 4, "there was nothing left"


def test_ycsb_asks_for_the_workloads_that_are_missing_and_that_a_system_can_do() -> None:
    ycsb = SCENARIOS["ycsb"]
    assert isinstance(ycsb, Ycsb)

    def earlier(point: Point) -> bool:
        return point["workload"] != "E"

    owed = [name for name, kind in SYSTEMS.items() if ycsb.owes(kind, earlier)]
    assert owed == ["leaderless", "leaderless-compiled", "raft", "raft-compiled", "etcd"]
    assert all(ycsb.owes(kind, lambda point: False) for kind in SYSTEMS.values())
    assert not any(ycsb.owes(kind, lambda point: True) for kind in SYSTEMS.values())


def test_what_an_interruption_left_half_done_is_done_again_once(tmp_path: Path) -> None:
    def interrupt(turn: Turn) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(tmp_path, [Idle, Frail], Asks(interrupt)))
    assert Results.load(tmp_path / "out.json").skipped == ["asks, idle, round 1", "asks, frail, round 1"]
    found = run(plan(tmp_path, [Idle, Frail], Asks(), resume=True))
    assert [record["system"] for record in found.records] == ["idle", "frail"]
    assert (found.skipped, found.complete) == ([], True)


def test_a_part_that_is_gone_on_with_leaves_the_rest_to_do(tmp_path: Path) -> None:
    run(plan(tmp_path, [Idle, Frail], Asks(), minutes=0.0))
    found = run(plan(tmp_path, [Frail], Asks(), resume=True))
    assert (found.skipped, found.complete) == (["asks, idle, round 1"], False)


def test_a_scenario_is_measured_again_by_all_systems_and_the_others_stay(tmp_path: Path) -> None:
    run(plan(tmp_path, [Idle, Frail], Asks(), repeats=2))
    grown = Grown("a")
    run(plan(tmp_path, [Idle, Frail], grown, resume=True))
    fails = Grown("a")
    fails.fails = True
    broken = run(plan(tmp_path, [Idle, Frail], fails, resume=True, again=True))
    assert [(kept["scenario"], kept["repeat"]) for kept in broken.records] == [("asks", 0)] * 2 + [("asks", 1)] * 2
    assert len(broken.failures) == 2
    cut = run(plan(tmp_path, [Idle, Frail], grown, repeats=2, resume=True, again=True, minutes=0.0))
    assert (len(cut.skipped), cut.complete) == (4, False), "two systems, twice"
    found = run(plan(tmp_path, [Idle, Frail], grown, resume=True, again=True))
    assert grown.measured == ["a"] * 4, "by each system, twice"
    assert len(found.records) == 6
    assert (found.failures, found.complete) == ([], True)
    assert [resumed.get("again") for resumed in found.about["resumed"]] == [None, ["grown"]], "the last is what counts"
    grown.points = ("b",)
    cut = run(plan(tmp_path, [Idle, Frail], grown, resume=True, again=True, minutes=0.0))
    assert len(cut.records) == 6, "until there are new figures, there are the old ones"
    found = run(plan(tmp_path, [Idle, Frail], grown, resume=True))
    assert [kept["point"]["what"] for kept in found.records if kept["scenario"] == "grown"] == ["b", "b"]
    assert found.about["resumed"][-1]["machine"]["python_step_ns"] > 0


def test_results_of_another_pace_are_not_gone_on_with(tmp_path: Path) -> None:
    run(plan(tmp_path, [Idle], Asks()))
    other = Plan([Idle], [Asks()], 1, Pace(9.0), tmp_path / "out.json", tmp_path / "data", resume=True)
    with pytest.raises(ValueError, match=r"cannot be gone on with: seconds is 9.0, and was 0.1"):
        run(other)


def test_how_long_it_will_take_is_said_and_learned(tmp_path: Path) -> None:
    said: list[str] = []
    runner.run(plan(tmp_path, [Idle, Frail], Asks(), repeats=2, minutes=0.0), said.append)
    assert "4 turns to take, in about 2 minutes, of which none begins after 0" in said
    run(plan(tmp_path, [Idle, Frail], Asks(), repeats=1, resume=True))
    said.clear()
    runner.run(plan(tmp_path, [Idle, Frail], Asks(), repeats=2, resume=True), said.append)
    assert "2 turns to take, in about 0 minutes" in said, "those of the first round took no time"


def command(tmp_path: Path, *more: str) -> list[str]:
    out = str(tmp_path / "results" / "results.json")
    return [sys.executable, "-m", "comparison", "--dir", str(tmp_path / "data"), "--out", out, *more]


def test_the_real_leaderless_system_is_measured_and_told(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "--only", "leaderless", "--scenario", "offered-load", "--quick", "--seconds", "0.2"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = Results.load(tmp_path / "results" / "results.json")
    assert found.complete
    assert found.records[0]["point"] == {"rate": 1000}
    for record in found.records:
        assert record["data"]["operations"] > 0
        assert record["data"]["server_cpu_us"] >= 0
    assert found.about["systems"]["leaderless"]["versions"].keys() == {"paxoskv"}
    assert {"machine", "commit", "began", "ended", "options"} <= found.about.keys()
    assert list((tmp_path / "data").iterdir()) == []


def test_ctrl_c_ends_it_with_what_was_measured(tmp_path: Path) -> None:
    """Sent when the nodes run; they are in groups of their own, so it reaches them only through us."""
    process = subprocess.Popen(
        command(tmp_path, "--only", "leaderless", "--scenario", "hot-key", "--seconds", "0.1"),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "4 clients through one node" in line:
            break
    place = str(tmp_path / "data")
    assert nodes_in(place)
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(120) == 130
    assert "interrupted; what was measured is in" in said
    found = json.loads((tmp_path / "results" / "results.json").read_text())
    assert found["complete"] is False
    assert [record["point"]["clients"] for record in found["records"]][:1] == [1]
    assert nodes_in(place) == []
    process.stderr.close()


def test_nodes_do_not_outlive_it_however_it_ends(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path, "--only", "leaderless", "--scenario", "hot-key", "--seconds", "60"),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "1 clients through one node" in line:
            break
    place = str(tmp_path / "data")
    assert nodes_in(place)
    process.kill()
    process.wait()
    process.stderr.close()
    # The kernel sees to it, in its own time.
    while nodes_in(place):
        os.sched_yield()


def nodes_in(place: str) -> list[int]:
    """Processes that have it in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if place in line and "serve" in line:
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "mysql"], "'mysql' is none of leaderless, leaderless-compiled, raft"),
        (["--scenario", "weather"], "'weather' is none of throughput"),
        (["--render"], "holds no results of this program"),
        (["--again", "--scenario", "ycsb"], "--again goes with --resume and --scenario"),
        (["--again", "--resume"], "--again goes with --resume and --scenario"),
        (["--again", "--resume", "--scenario", "ycsb", "--only", "etcd"], "so not with --only"),
    ],
)
def test_bad_usage_is_a_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run(command(tmp_path, *arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr


def test_what_a_run_was_asked_for_need_not_be_said_again_to_go_on_with_it(tmp_path: Path) -> None:
    """It was refused: the default pace is another one."""
    asked = ["--only", "leaderless", "--scenario", "hot-key", "--seconds", "0.5", "--repeat", "2"]
    for arguments in ([*asked, "--minutes", "0"], ["--resume", "--minutes", "0"]):
        done = subprocess.run(command(tmp_path, *arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
        assert "2 turns to take" in done.stderr
        assert done.returncode == 3, "there was no time for any"
    about = Results.load(tmp_path / "results" / "results.json").about
    assert (about["options"]["seconds"], about["options"]["repeats"], list(about["systems"])) == (
        0.5,
        2,
        ["leaderless"],
    )


def test_a_quick_run_compiles_nothing() -> None:
    names = asked_by_default(quick=True).systems
    assert [name for name in SYSTEMS if name not in names] == ["leaderless-compiled", "raft-compiled"]


def test_every_scenario_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    first, second = Asks(), Asks()
    given = Plan([], [first, second], 2, PACE, tmp_path / "out.json")
    order = runner.turns(given, [Idle])
    assert [(scenario, repeat) for scenario, repeat, _ in order] == [(first, 0), (second, 0), (first, 1), (second, 1)]
