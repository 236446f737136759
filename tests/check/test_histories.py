"""Histories in files as other people's tools write them, by the verdict in their names. The model has the last word."""

from pathlib import Path

import pytest

from check import model
from paxoskv.check.checker import check
from paxoskv.check.formats.reading import read
from paxoskv.check.verdict import Verdict, Way

FILES = sorted((Path(__file__).parent / "histories").iterdir())
# delete-before-an-unanswered-put: seed 212287, smaller. A put that nobody answered was placed before a delete that had
# ended when it began, since the search had asked what would hold if the delete came first, and kept the answer.
REGRESSIONS = sorted((Path(__file__).parent / "regressions").iterdir())


@pytest.mark.parametrize("path", [*FILES, *REGRESSIONS], ids=lambda path: path.name)
def test_a_file_is_judged_as_its_name_says(path: Path) -> None:
    good = ".good." in path.name
    with path.open("rb") as file:
        history = read(file)
    assert len(history) > 20
    result = check(history, orders=True)
    assert result.verdict is (Verdict.OK if good else Verdict.ILLEGAL)
    for key in result.keys:
        operations = history.operations(key.key)
        initial = model.initial_state(*history.initial.get(key.key, (None, None)))
        assert model.has_order(operations, initial) is (key.verdict is Verdict.OK)
        if key.order is not None:
            assert model.replay(operations, key.order, initial) == ""
    assert all(key.sentence and 1 <= len(key.witness) <= 6 for key in result.violations)


def test_both_verdicts_are_there_in_every_format() -> None:
    names = [path.name.replace(".good.", ".").replace(".bad.", ".") for path in FILES]
    assert len(set(names)) == 9
    assert all(names.count(name) == 2 for name in names)


@pytest.mark.parametrize("name", ["etcd-register.good.log", "history.good.txt", "maelstrom-lin-kv.good.edn"])
def test_what_the_nemesis_did_is_a_fault_with_two_ends(name: str) -> None:
    path = next(path for path in FILES if path.name == name)
    with path.open("rb") as file:
        [fault] = read(file).faults
    assert fault.finish is not None
    assert fault.start < fault.finish
    assert "Cut off" in fault.text


def test_what_proves_that_a_list_is_wrong_is_who_read_it() -> None:
    with next(path for path in FILES if path.name == "jepsen-append.bad.edn").open("rb") as file:
        [violation] = check(read(file)).violations
    assert violation.way is Way.LIST
    assert [each.kind for each in violation.witness] == ["get", "append", "append"]
    assert 'returned "902 901 "' in violation.sentence
