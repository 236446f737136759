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
