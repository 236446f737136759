"""The README and its plots, from results that were recorded."""

import copy
import re
from pathlib import Path

import pytest

from comparison import choosing, plots, report
from comparison.results import Results
from comparison.scenarios import ALL
from comparison.scenarios.failure import _judge
from comparison.systems import ALL as SYSTEMS

RECORDED = Path(__file__).parent / "recorded.json"


@pytest.fixture
def results() -> Results:
    return Results.load(RECORDED)


def rendered(results: Results) -> str:
    return report._readme(results, report.sections(results), RECORDED, RECORDED.parent)


def test_every_scenario_has_its_section_with_question_answer_and_figures(results: Results) -> None:
    text = rendered(results)
    for name, scenario in ALL.items():
        assert any(results.select(name)), f"nothing was recorded of {name}"
        _, _, section = text.partition(f"## {scenario.title}\n")
        section = section.partition("\n## ")[0]
        assert scenario.question in section
        assert "| " in section
        assert results.title("leaderless") in section
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", text)


def test_what_was_measured_again_is_told_with_its_day_and_its_python(results: Results) -> None:
    assert "Measured again" not in rendered(results)
    machine = {"python": "3.13.5", "python_step_ns": 21.5, "fdatasync_ms": 0.09}
    resumed = {"began": "2030-01-01", "commit": "abc", "again": ["throughput", "ycsb"], "machine": machine}
    earlier = {"began": "2029-12-30", "commit": "fed", "machine": machine}
    results.about["resumed"] = [earlier, {"began": "2029-12-31", "commit": "def"}, resumed]
    text = rendered(results)
    assert "gone on with 2029-12-30 at `fed` with CPython 3.13.5 (21.5 ns for a step of a small loop), gone" in text
    assert "gone on with 2029-12-31 at `def`:" in text
    assert (
        "Measured again, 2030-01-01 at commit `abc` with CPython 3.13.5 (21.5 ns for a step of a small loop) (an "
        "fdatasync took 0.09 ms), all systems in turns: Throughput and latency by number of clients, " in text
    )


def test_figures_from_before_a_flaw_was_mended_say_so_until_they_are_measured_again(results: Results) -> None:
    results.about["began"] = "2026-11-30 00:00:00 UTC"
    assert rendered(results).count("too long by one interval") == 2
    again = {"began": "2030-01-01 00:00:00 UTC", "commit": "c", "machine": {"python": "3.13.5", "fdatasync_ms": 0.09}}
    results.about["resumed"] = [again | {"again": ["jitter"]}]
    before, _, after = rendered(results).partition("too long by one interval")
    assert "## Latency against offered load" in before
    assert "too long by one interval" not in after
    assert "## Jitter" in after


def test_it_begins_with_the_five_sentences(results: Results) -> None:
    lines = rendered(results).splitlines()
    assert lines[0] == "# paxoskv beside other systems"
    assert len([line for line in lines[:12] if line.startswith("1. **")]) == 5


def test_the_sentences_say_what_was_measured(results: Results) -> None:
    """Not what we would like: turn the figures around, and so do the sentences."""
    before = choosing.sentences(results)
    for record in results.records:
        if record["scenario"] == "throughput" and record["system"] == "etcd":
            record["data"]["ops_per_s"] = 987_654.0
            record["data"]["p50_ms"] = 0.001
    after = choosing.sentences(results)
    assert "etcd 987,654, paxoskv (leaderless)" in after
    assert "**Many clients write most with etcd.**" in after
    assert "**A lonely client waits least with etcd.**" in after
    assert "987,654" not in before
    assert "**Many clients write most with paxoskv (leaderless).**" in before


def test_what_was_not_measured_is_not_spoken_of(results: Results) -> None:
    results.records = [record for record in results.records if record["scenario"] == "hot-key"]
    assert choosing.sentences(results).count("1. ") == 1
    assert list(report.sections(results)) == ["hot-key"]
    _, _, unasked = rendered(results).partition("this run did not ask:")
    assert "`--scenario throughput`" in unasked
    assert "`--scenario hot-key`" not in unasked


def test_where_raft_wins_is_found_among_the_measurements(results: Results) -> None:
    for record in results.records:
        if record["scenario"] == "hot-key" and record["system"] == "raft":
            record["data"]["ops_per_s"] = 1e6
    text = choosing.where_raft_wins(results)
    assert "increments/s of one key" in text
    assert "1,000,000.0" in text
    for record in results.records:
        if record["system"] == "raft":
            record["data"] = dict.fromkeys(record["data"])
    assert "Nowhere among what was measured" in choosing.where_raft_wins(results)


def test_an_incomplete_run_says_so_at_the_top(results: Results) -> None:
    assert "Not complete" not in rendered(results)
    results.complete = False
    results.failures = [{"scenario": "ycsb", "system": "etcd", "repeat": 1, "text": "it fell over"}]
    results.skipped = ["jitter, etcd, round 1"]
    results.left_out = {"gryadka": "npm cannot install it"}
    text = rendered(results)
    assert text.index("**Not complete.**") < text.index("## How it was measured")
    assert "ycsb, etcd, round 2: it fell over" in text
    assert "these rounds, or some systems in them: jitter 1" in text
    assert "- gryadka: npm cannot install it" in text


def test_every_system_has_a_colour_and_a_marker_of_its_own() -> None:
    for table in (plots.COLOURS, plots.MARKERS):
        assert table.keys() == SYSTEMS.keys()
        assert len(set(table.values())) == len(table)


def test_every_plot_can_be_drawn(results: Results, tmp_path: Path) -> None:
    names = []
    for section in report.sections(results).values():
        for plot in section.plots:
            path = plots.write(plot, tmp_path)
            assert path.read_text().startswith("<?xml")
            names.append(plot.name)
    assert len(names) == len(set(names)) >= 8


def test_a_system_that_keeps_up_with_nothing_is_drawn_all_the_same(results: Results, tmp_path: Path) -> None:
    for record in results.records:
        record["data"]["ops_per_s"] = 1.0
    section = report.sections(results)["offered-load"]
    assert "none" in section.answer
    assert plots.write(section.plots[0], tmp_path).exists()


def test_results_come_back_as_they_were_saved(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    before = copy.deepcopy(results)
    results.save(path)
    assert Results.load(path) == before
    path.write_text('{"format": 99}')
    with pytest.raises(ValueError, match="it has format 99"):
        Results.load(path)


def test_a_silence_is_the_longest_time_without_any_answer() -> None:
    """A second of 5 answers in each 10 ms; then 300 ms of nothing, one answer, 100 ms of nothing, and half as many."""
    ok = [5] * 100 + [0] * 30 + [1] + [0] * 10 + [2, 3] * 30
    found = _judge(ok, 1.0, 2.01)
    assert found["nobody_ms"] == 300
    assert found["before_per_s"] == 500
    assert 0.29 < found["kept"] < 0.31


def test_a_silence_that_lasts_to_the_end_counts() -> None:
    assert _judge([5] * 100 + [0] * 200, 1.0, 2.0)["nobody_ms"] == 2000


def test_scans_are_told_where_they_were_measured_and_why_some_have_none(results: Results) -> None:
    ycsb = ALL["ycsb"]
    without = ycsb.tell(results)
    assert without is not None
    assert "E, short scans, was not measured." in without.notes[0]
    assert "short scans" not in without.tables[0] + without.answer
    scans = {"ops_per_s": 4321.0, "p99_ms": 56.7, "keys_per_scan": 49.6}
    for system in ("leaderless", "etcd"):
        results.records.append(
            {"scenario": "ycsb", "system": system, "repeat": 0, "point": {"workload": "E"}, "data": scans}
        )
    results.about["systems"]["etcd"]["versions"]["etcd"] = "3.4.23"
    told = ycsb.tell(results)
    assert told is not None
    assert "E: 95 % short scans, 5 % inserts" in told.tables[0]
    assert "4,321 (56.7)" in told.tables[0]
    assert f"E: {results.title('leaderless')} 4,321, {results.title('etcd')} 4,321" in told.answer
    [note] = told.notes
    assert f"a scan found so many: {results.title('leaderless')} 50, {results.title('etcd')} 50." in note
    assert "etcd 3.4 goes through its index" in note
    lacking = note.partition("no scan in the order of keys:")[2]
    for system in results.systems("ycsb"):
        assert (f"{results.title(system)} (" in lacking) == bool(SYSTEMS[system].unordered)
