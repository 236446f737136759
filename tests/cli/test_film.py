"""`paxoskv film`: what it makes, and what it says of what it cannot."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from paxoskv.cli import main

BEGIN = '{"t":0,"e":"begin","version":1,"source":"simulation","mode":"paxos","nodes":[1,2,3]}\n'


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="paxoskv")


@pytest.mark.parametrize("mode", ["paxos", "raft", "both"])
def test_a_scenario_becomes_one_file(tmp_path: Path, mode: str) -> None:
    html = tmp_path / "film.html"
    done = call("film", "--scenario", "duel", "--mode", mode, "--html", html, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [film["mode"] for film in told["films"]] == (["paxos", "raft"] if mode == "both" else [mode])
    assert told["bytes"] == html.stat().st_size
    text = html.read_text(encoding="utf-8")
    assert "src=" not in text.replace("img-src", "").replace("script-src", "").replace("style-src", "")
    assert "Two writers want the same key at once" in text


def test_the_list_has_a_sentence_for_each() -> None:
    done = call("film", "--list")
    names = ["duel", "takeover", "minority", "lost-ack", "hot-key"]
    assert [line.split()[0] for line in done.stdout.splitlines()[:5]] == names
    assert [each["name"] for each in json.loads(call("film", "--list", "--json").stdout)["scenarios"]] == names


def test_the_film_is_not_written_over_its_trace(tmp_path: Path) -> None:
    trace = tmp_path / "17.jsonl"
    trace.write_text(BEGIN)
    done = call("film", trace, "--html", trace)
    assert done.exit_code == 2
    assert "is the file that is read" in " ".join(done.stderr.split())
    assert trace.read_text() == BEGIN


def test_a_simulated_trace_becomes_a_film(tmp_path: Path) -> None:
    trace, html = tmp_path / "17.jsonl", tmp_path / "17.html"
    assert call("simulate", "--seeds", "17", "--ops", "40", "--trace", trace).exit_code == 0
    done = call("film", trace, "--html", html)
    assert done.exit_code == 0, done.output
    assert "events in paxos mode; open it in any browser" in done.stdout
    cut = call("film", trace, trace, "--html", html, "--to", "0.01", "--key", "a", "--json")
    films = json.loads(cut.stdout)["films"]
    assert len(films) == 2
    assert 0 < films[0]["events"] < 500
    short = call("film", trace, "--html", html, "--events-max", "50")
    assert "are not in it" in short.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give trace files, or --scenario"),
        (("--scenario", "duel", "trace.jsonl"), "give trace files, or --scenario"),
        (("--scenario", "ballet"), "there is no scenario 'ballet'; there are duel, takeover"),
        (("none.jsonl",), "there is no file none.jsonl"),
        (("foreign.txt",), "foreign.txt, line 1: expected one JSON object, found Dear Sir"),
        (("torn.jsonl",), "torn.jsonl, line 2: expected one JSON object, found {"),
        (("other.jsonl",), "it is a trace of version 9; this paxoskv reads version 1"),
        (("trace.jsonl", "--mode", "raft"), "--mode says which engine plays a --scenario"),
        (("--scenario", "duel", "--events-max", "9"), "--events-max bounds what is kept of traces"),
        (("trace.jsonl", "--from", "5", "--to", "4"), "--from 5 is not before --to 4"),
        (("trace.jsonl", "--from", "100"), "no event is within --from 100"),
        (("--scenario", "duel", "--from", "1e9"), "nothing of duel is left to show: no event is within --from 1e+09"),
        (("--scenario", "duel", "--key", "nope"), "nothing happens there to 'nope'; check --key"),
        (("trace.jsonl", "trace.jsonl", "copy.jsonl"), "give fewer traces"),
        (("trace.jsonl", "--html", "nowhere/film.html"), "there is no folder"),
        (("trace.jsonl", "--html", "."), "is a directory"),
    ],
)
def test_what_cannot_be_filmed_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    crash = '{"t":1,"e":"crash","node":1}\n'
    Path("trace.jsonl").write_text(BEGIN + crash)
    Path("copy.jsonl").write_text(BEGIN + crash)
    Path("foreign.txt").write_text("Dear Sir\n")
    Path("torn.jsonl").write_text(BEGIN + "{\n" + crash)
    Path("other.jsonl").write_text(BEGIN.replace('"version":1', '"version":9'))
    done = call("film", *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert not Path("film.html").exists()


def test_an_output_that_is_full_is_named(tmp_path: Path) -> None:
    done = call("film", "--scenario", "duel", "--html", "/dev/full", "--json")
    assert done.exit_code == 2
    assert "cannot be written: No space left on device" in json.loads(done.stdout)["message"]


def test_the_traces_of_one_cluster_make_one_film(tmp_path: Path) -> None:
    def begin(node: int, cluster: str) -> str:
        fields = {"version": 1, "source": "live", "mode": "paxos", "cluster": cluster, "nodes": [1, 2, 3], "node": node}
        line = json.dumps({"t": 5.0, "e": "begin", **fields, "incarnation": 1})
        return line + "\n" + json.dumps({"t": 5.0 + node, "e": "start", "node": node, "incarnation": 1}) + "\n"

    paths = []
    for node, cluster in ((1, "left"), (2, "left"), (1, "right")):
        path = tmp_path / f"{cluster}-{node}.jsonl"
        path.write_text(begin(node, cluster))
        paths.append(path)
    done = call("film", *paths, "--html", tmp_path / "film.html", "--json")
    assert [film["events"] for film in json.loads(done.stdout)["films"]] == [2, 1]
