"""`paxoskv check`: what it says and what it exits with."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from paxoskv.cli import main

PUT = '{"client": 1, "kind": "put", "key": "x", "value": "a", "start": 0, "finish": 1}\n'
STALE = '{"client": 2, "kind": "get", "key": "x", "start": 2, "finish": 3, "result": null}\n'
FRESH = '{"client": 2, "kind": "get", "key": "x", "start": 2, "finish": 3, "result": "a"}\n'


@pytest.mark.parametrize(("text", "code"), [(PUT + FRESH, 0), (PUT + STALE, 1), (PUT + "{", 2)])
def test_the_exit_code_is_the_verdict(tmp_path: Path, text: str, code: int) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(text)
    assert CliRunner().invoke(main, ["check", str(path)]).exit_code == code
    assert CliRunner().invoke(main, ["check", "-"], input=text).exit_code == code


def test_a_search_out_of_its_budget_is_unknown() -> None:
    # The same value twice, so that values do not tell who wrote them.
    twice = PUT + PUT.replace('client": 1', 'client": 3') + PUT.replace('"a"', '"b"') + FRESH
    assert CliRunner().invoke(main, ["check", "-"], input=twice).exit_code == 0
    result = CliRunner().invoke(main, ["check", "--budget", "1", "-"], input=twice)
    assert result.exit_code == 3
    assert "budget of 1 states was used up" in result.output


def test_a_history_that_nobody_answered_proves_nothing(tmp_path: Path) -> None:
    lost = PUT.replace('"finish": 1', '"finish": null, "outcome": "unknown"')
    report = tmp_path / "report.html"
    result = CliRunner().invoke(main, ["check", "-", "--html", str(report)], input=lost * 2)
    assert "<title>Unknown" in report.read_text()
    assert result.exit_code == 3
    assert result.output.endswith("unknown: none of the 2 calls was answered, so the history proves nothing\n")
    assert json.loads(CliRunner().invoke(main, ["check", "--json", "-"], input=lost).stdout)["verdict"] == "unknown"


def test_what_every_key_held_at_first_may_be_any_bytes() -> None:
    """Which is how the command line hands over what is no UTF-8."""
    call = PUT.replace('"put"', '"cas"').replace('"start"', '"expected_base64": "/w==", "start"')
    assert CliRunner().invoke(main, ["check", "--initial", "\udcff", "-"], input=call).exit_code == 0
    assert CliRunner().invoke(main, ["check", "--initial", "x", "-"], input=call).exit_code == 1


def test_twenty_keys_that_are_wrong_are_enough_to_read() -> None:
    wrong = "".join([(PUT + STALE).replace('"x"', f'"x{number}"') for number in range(30)])
    result = CliRunner().invoke(main, ["check", "-"], input=wrong)
    assert result.output.count("Get by client 2") == 20
    assert "and 10 more keys like these; --json shows all" in result.output


def test_a_violation_is_a_sentence_and_the_operations_that_prove_it() -> None:
    result = CliRunner().invoke(main, ["check", "-"], input=PUT + STALE)
    assert "Get by client 2" in result.output
    assert "NOT linearizable" in result.output


def test_for_scripts_there_is_one_json_object() -> None:
    found = json.loads(CliRunner().invoke(main, ["check", "--json", "-"], input=PUT + STALE).stdout)
    assert found["verdict"] == "illegal"
    assert found["operations"] == 2


def test_the_order_that_was_found_is_written(tmp_path: Path) -> None:
    target = tmp_path / "order.jsonl"
    result = CliRunner().invoke(main, ["check", "--linearization", str(target), "-"], input=PUT + FRESH)
    assert result.exit_code == 0
    assert [json.loads(line)["number"] for line in target.read_text().splitlines()] == [1, 2]


def test_a_file_that_cannot_be_read_is_refused_with_the_line_and_what_was_expected() -> None:
    result = CliRunner().invoke(main, ["check", "-"], input=PUT + '{"client": 1, "kind": "putt", "start": 0}\n')
    assert result.exit_code == 2
    assert "line 2" in result.output
    assert "expected one of get, put" in result.output


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    target = tmp_path / "one"
    arguments = ["check", "-", "--html", str(target), "--linearization", str(target)]
    done = CliRunner().invoke(main, arguments, input=PUT + FRESH)
    assert done.exit_code == 2
    assert not target.exists()


def test_the_environment_asks_for_json_too() -> None:
    done = CliRunner().invoke(main, ["check", "-"], input=PUT + FRESH, env={"PAXOSKV_JSON": "1"})
    assert json.loads(done.stdout)["verdict"] == "ok"


@pytest.mark.parametrize("option", ["--html", "--linearization"])
def test_the_history_is_not_written_over(tmp_path: Path, option: str) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("")
    done = CliRunner().invoke(main, ["check", str(history), option, str(history)])
    assert done.exit_code == 2
    assert history.read_text() == ""
