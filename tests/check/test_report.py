"""The report holds what the checker said and every operation, and nothing in a history can break out of it."""

import base64
import hashlib
import json
import math
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from check import reading_reports
from check.generator import Shape, random_history
from check.large import large_history
from check.reading_reports import as_row
from paxoskv.check import (
    Fault,
    History,
    NotLinearizable,
    Operation,
    Result,
    Verdict,
    assert_linearizable,
    check,
    write_html,
    write_jsonl,
)
from paxoskv.check.report import chunks

STALE = (
    Operation(1, 1, "put", b"cart", 0.1, 0.2, "ok", b"apple"),
    Operation(2, 2, "put", b"cart", 0.3, 0.4, "ok", b"pear"),
    Operation(3, "reader", "get", b"cart", 0.5, 0.6, "ok", None, None, b"apple"),
)
HOSTILE = (
    b"</script><script>alert(1)</script>",
    b"<!--<script>",
    b"]]>",
    b"\0\1\x7f",
    b"\xff\xfe",
    b"{{script}}{{data}}",
    "\u2028\u202e\ud7ff".encode(),
    b"\"&lt;'\\",
    b"",
)


def written(tmp_path: Path, history: History, result: Result | None = None, **options: Any) -> reading_reports.Report:
    path = tmp_path / "report.html"
    write_html(path, history, result or check(history), **options)
    return reading_reports.read(path)


def headline(report: reading_reports.Report) -> str:
    return next(each.text for each in report.elements if each.tag == "h1")


def test_a_history_that_is_right_gives_a_report_that_says_so(tmp_path: Path) -> None:
    report = written(tmp_path, History(STALE[:2]), source="run 7")
    assert headline(report) == "Linearizable"
    assert (report.data["verdict"], report.data["keys_wrong"], report.data["source"]) == ("ok", 0, "run 7")
    assert "witness" not in report.data["keys"][0]


def test_a_violation_comes_with_its_sentence_and_the_places_of_its_operations(tmp_path: Path) -> None:
    other = Operation(4, 1, "put", b"before", 0.0, 0.1, "ok", b"x")
    history = History((other, *STALE), [Fault("kill", 0.35, None, 2, "kill node 2")])
    result = check(history)
    report = written(tmp_path, history, result)
    assert headline(report) == "Not linearizable"
    key = report.data["keys"][0]
    assert (key["name"], key["verdict"]) == ("cart", "illegal"), "what is wrong comes first"
    assert key["sentence"] == result.violations[0].sentence
    rows = report.rows(key)
    assert [rows[each["row"]] for each in key["witness"]] == [as_row(each) for each in result.violations[0].witness]
    assert report.data["faults"] == [
        {"kind": "kill", "start": 0.35, "finish": None, "node": "2", "text": "kill node 2"}
    ]
    sentence = next(each.text for each in report.elements if each.tag == "li")
    assert "cart" in sentence, "browsers without scripts get the sentences"


def test_a_search_that_gave_up_is_reported_as_unknown(tmp_path: Path) -> None:
    # Two values again and again, so that only a search can tell.
    values = [b"a", b"b"] * 5
    operations = [Operation(at, at, "put", b"k", 0.0, 10.0, "ok", values[at]) for at in range(6)]
    operations += [
        Operation(10 + at, 10 + at, "get", b"k", 1.0 + at, 1.5 + at, "ok", None, None, values[at]) for at in range(9)
    ]
    history = History(operations)
    result = check(history, budget=3)
    assert result.verdict is Verdict.UNKNOWN
    report = written(tmp_path, history, result)
    assert headline(report) == "Unknown"
    assert report.data["keys"][0]["sentence"]


def test_a_history_without_operations_gives_a_report(tmp_path: Path) -> None:
    assert written(tmp_path, History()).data["keys"] == []


def test_every_operation_is_there_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 50)
    rng = random.Random(5)
    kinds = ("get", "put", "delete", "cas", "incr", "append", "swap")
    shape = Shape(40, 4, kinds, 3, 0.7, True, 0.6, 0.2, 0.1, 1, (1, -1), True)
    history = History()
    for at in range(8):
        for operation in random_history(rng, shape):
            fields = {name: getattr(operation, name) for name in Operation.__slots__}
            history.add(Operation(**fields | {"key": b"key-%d" % at}))
    report = written(tmp_path, history)
    assert len(report.chunks) > 1
    found = {key["name"]: report.rows(key) for key in report.data["keys"]}
    for key in history.keys:
        expected = [as_row(each) for each in history.operations(key)]
        assert sorted(found[key.decode()], key=json.dumps) == sorted(expected, key=json.dumps)


def test_rows_of_a_key_are_by_client_and_then_by_start(tmp_path: Path) -> None:
    report = written(tmp_path, large_history(500, 9, 1, versions=True))
    rows = report.rows(report.data["keys"][0])
    clients = list(dict.fromkeys(row["client"] for row in rows))
    assert len(clients) == 9
    assert rows == sorted(rows, key=lambda row: (clients.index(row["client"]), row["start"]))


@pytest.mark.parametrize("value", HOSTILE)
def test_what_clients_wrote_stays_data(tmp_path: Path, value: bytes) -> None:
    name = value.decode(errors="replace")
    operations = (
        Operation(1, name, "put", value, 0.0, 1.0, "ok", value),
        Operation(2, name, "get", value, 2.0, 3.0, "ok", None, None, value + b"!"),
    )
    history = History(operations, [Fault(name, 0.0, 1.0, name, name)])
    report = written(tmp_path, history, source=name)
    plain = written(tmp_path, History(STALE))
    assert [each.tag for each in report.elements] == [each.tag for each in plain.elements]
    scripts = [each.text for each in report.elements if each.tag == "script"]
    assert scripts[-1] == [each.text for each in plain.elements if each.tag == "script"][-1]
    try:
        expected: object = value.decode()
    except UnicodeDecodeError:
        expected = ["hex", value.hex(), len(value)]
    assert report.rows(report.data["keys"][0])[0]["argument"] == expected
    assert report.data["client_names"] == [name]
    assert report.data["faults"][0]["text"] == name


def test_a_client_whose_name_is_no_text_is_no_problem(tmp_path: Path) -> None:
    report = written(tmp_path, History([Operation(1, "\ud800", "put", b"k", 0.0, 1.0, "ok", b"v")]))
    assert report.data["client_names"] == ["\ud800"]


def test_names_of_clients_are_no_commands_for_a_terminal_and_have_an_end() -> None:
    read = Operation(1, "a\x1b[31m\n\ud800", "get", b"k", 0.0, 1.0, "ok", None, None, b"v")
    [found] = check(History([read])).keys
    assert "get by client a\\u{1b}[31m\\u{a}\\u{d800} (0.000 to 1.000 s)" in found.sentence.lower()
    [found] = check(History([replace(read, client="c" * 5000)])).keys
    assert len(found.sentence) < 200


def test_only_our_own_script_and_style_may_run_and_nothing_may_be_fetched(tmp_path: Path) -> None:
    report = written(tmp_path, History(STALE))
    policy = next(
        each.attributes["content"]
        for each in report.elements
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        text = [each.text for each in report.elements if each.tag == tag][-1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_faults_without_an_end_have_none(tmp_path: Path) -> None:
    faults = [
        Fault("kill", 1.0, math.inf),
        Fault("kill", 1.5, math.nan),
        Fault("kill", -math.inf, 1.0),
        Fault("kill", math.nan, None),
    ]
    assert [each["finish"] for each in written(tmp_path, History(STALE, faults)).data["faults"]] == [None, None]


def test_where_no_report_can_be_written_the_assertion_still_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(NotLinearizable, match=r"(?s)returned .apple.*there is no report: .*nowhere"):
        assert_linearizable(History(STALE), tmp_path / "nowhere")


def test_integers_that_javascript_cannot_hold_keep_their_digits(tmp_path: Path) -> None:
    operations = (
        Operation(1, 1, "incr", b"n", 0.0, 1.0, "ok", 2**53, None, 2**53),
        Operation(2, 1, "incr", b"n", 2.0, 3.0, "ok", 1, None, 2**53 + 1),
        Operation(3, 1, "delete", b"n", 4.0, 5.0, "ok", None, None, True),
    )
    report = written(tmp_path, History(operations))
    rows = report.rows(report.data["keys"][0])
    assert [row["result"] for row in rows] == [2**53, ["int", str(2**53 + 1)], True]
    assert rows[1]["argument"] == 1
    assert rows[1]["argument"] is not True


def test_long_values_are_cut_but_hardly_those_of_a_violation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "TEXT_BYTES_MAX", 4096)
    long = {number: b"%d" % number + b"x" * 9998 + b"%d" % number for number in (1, 2, 3)}
    operations = (
        Operation(1, 1, "put", b"k", 0.0, 1.0, "ok", long[1]),
        Operation(2, 1, "put", b"k", 2.0, 3.0, "ok", long[2]),
        Operation(3, 1, "get", b"k", 4.0, 5.0, "ok", None, None, long[1]),
        Operation(4, 1, "put", b"k", 6.0, 7.0, "ok", long[3]),
    )
    history = History(operations)
    report = written(tmp_path, history)
    rows = report.rows(report.data["keys"][0])
    assert rows[0]["argument"] == long[1].decode()
    assert rows[3]["argument"] == ["cut", "3" + "x" * 511, "x" * 511 + "3", 10_000]


def test_values_in_bytes_that_are_no_text_are_cut_at_their_end(tmp_path: Path) -> None:
    report = written(tmp_path, History([Operation(1, 1, "put", b"k", 0.0, 1.0, "ok", b"\xff" * 20_000)]))
    assert report.rows(report.data["keys"][0])[0]["argument"] == ["hex", "ff" * 8192, 20_000]


def test_a_report_is_smaller_than_a_third_of_the_history_as_json(tmp_path: Path) -> None:
    history = large_history(20_000, 32, 3, versions=True)
    write_html(tmp_path / "report.html", history, check(history))
    write_jsonl(tmp_path / "history.jsonl", history)
    assert (tmp_path / "report.html").stat().st_size < (tmp_path / "history.jsonl").stat().st_size / 3


def with_a_late_stale_read() -> History:
    history = large_history(3000, 8, 2, versions=True)
    columns = history.columns(b"k")
    late = next(at for at in range(2500, 3000) if columns.kinds[at] == 0 and columns.versions[at])
    early = next(at for at in range(100, 3000) if columns.kinds[at] == 0 and columns.versions[at])
    columns.results[late], columns.versions[late] = columns.results[early], columns.versions[early]
    return history


@pytest.mark.parametrize("operations_max", [1, 200])
def test_every_violation_is_shown_however_many_operations_there_are(tmp_path: Path, operations_max: int) -> None:
    history = with_a_late_stale_read()
    for at in range(3):
        for one in history.operations(b"k"):
            fields = {name: getattr(one, name) for name in Operation.__slots__}
            history.add(Operation(**fields | {"key": b"k-%d" % at}))
    result = check(history)
    assert len(result.violations) == 4
    report = written(tmp_path, history, result, operations_max=operations_max)
    for key, violation in zip(report.data["keys"], result.violations, strict=True):
        rows = report.rows(key)
        assert [rows[each["row"]] for each in key["witness"]] == [as_row(each) for each in violation.witness]
        assert len(rows) <= operations_max // 4 + len(violation.witness)


def test_of_too_many_operations_those_around_the_violation_are_kept(tmp_path: Path) -> None:
    history = with_a_late_stale_read()
    for at in range(50):
        history.add(Operation(1, 1, "put", b"other-%d" % at, 0.0, 1.0, "ok", b"v"))
    result = check(history)
    report = written(tmp_path, history, result, operations_max=200)
    key = report.data["keys"][0]
    rows = report.rows(key)
    (violation,) = result.violations
    assert [rows[each["row"]] for each in key["witness"]] == [as_row(each) for each in violation.witness]
    assert 200 <= len(rows) <= 205
    assert report.data["operations_shown"] == len(rows)
    assert len(report.data["keys"]) == 51
    assert all("chunk" not in each for each in report.data["keys"][1:]), "there was no room for them"


def test_an_installation_has_everything_that_a_report_is_made_of(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="no setuptools here to build with")
    root = Path(__file__).parents[2]
    (tmp_path / "info").mkdir()
    commands = ["egg_info", "--egg-base", str(tmp_path / "info"), "build_py", "--build-lib", str(tmp_path / "lib")]
    done = subprocess.run(
        [sys.executable, "-c", "import setuptools; setuptools.setup()", *commands],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = Path("paxoskv", "check", "report")
    parts = {path.name for path in (root / folder).iterdir() if path.suffix in (".html", ".css", ".js")}
    assert len(parts) > 5
    assert parts <= {path.name for path in (tmp_path / "lib" / folder).iterdir()}
