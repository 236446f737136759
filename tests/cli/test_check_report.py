"""`paxoskv check --html`."""

import json
from pathlib import Path

import pytest
from check import reading_reports
from check.test_report import STALE
from cli.conftest import program

from paxoskv.check import History, write_jsonl


@pytest.fixture
def history(tmp_path: Path) -> str:
    """The path of a history with a stale read."""
    write_jsonl(tmp_path / "history.jsonl", History(STALE))
    return str(tmp_path / "history.jsonl")


def test_the_report_is_written_and_named(history: str, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    done = program("check", history, "--html", str(page))
    assert done.returncode == 1
    assert f"report: {page}" in done.stdout.decode()
    report = reading_reports.read(page)
    assert (report.data["verdict"], report.data["source"]) == ("illegal", history)
    assert b"--html report.html" in program("check", history).stdout, "whoever does not know it is told"
    done = program("check", history, "--html", str(page), "--json")
    assert json.loads(done.stdout)["report"] == str(page)


def test_a_place_for_the_report_that_is_none_is_refused_before_the_work(history: str, tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere" / "out.html", tmp_path):
        done = program("check", history, "--html", str(place))
        assert done.returncode == 2
        assert b"--html" in done.stderr
        assert not done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here to stand for a full disk")
def test_a_full_disk_costs_the_report_but_not_the_verdict(history: str, tmp_path: Path) -> None:
    done = program("check", history, "--html", "/dev/full")
    assert done.returncode == 1
    assert b"the report cannot be written to /dev/full: No space left on device" in done.stderr
    assert b"NOT linearizable" in done.stdout
    assert b"report: " not in done.stdout
    write_jsonl(tmp_path / "right.jsonl", History(STALE[:2]))
    assert program("check", str(tmp_path / "right.jsonl"), "--html", "/dev/full").returncode == 2
