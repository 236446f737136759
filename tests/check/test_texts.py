"""Histories of key-value test suites: text is appended to text, and a key that was never written reads as ""."""

import pytest

from paxoskv.check.checker import check
from paxoskv.check.formats.jepsen import read_edn
from paxoskv.check.history import History
from paxoskv.check.verdict import Verdict


def history_of(*operations: tuple[str, str, str | None]) -> History:
    """One client's operations, one after the other: (function, key, what it wrote or saw)."""
    lines = []
    for function, key, value in operations:
        said = "nil" if value is None else f'"{value}"'
        called = "nil" if function in ("get", "delete") else said
        for kind, shown in (("invoke", called), ("ok", said)):
            lines.append(f'{{:process 0, :type :{kind}, :f :{function}, :key "{key}", :value {shown}}}')
    history = History()
    read_edn("\n".join(lines), history, "auto", None)
    return history


def is_linearizable(*operations: tuple[str, str, str | None]) -> bool:
    return check(history_of(*operations)).verdict is Verdict.OK


def test_appended_texts_run_into_one_another() -> None:
    assert is_linearizable(("append", "a", "x 1 y"), ("append", "a", "x 2 y"), ("get", "a", "x 1 yx 2 y"))
    assert not is_linearizable(("append", "a", "x 1 y"), ("append", "a", "x 2 y"), ("get", "a", "x 2 yx 1 y"))


@pytest.mark.parametrize("unwritten", ["", None])
def test_a_key_that_was_never_written_reads_as_no_text(unwritten: str | None) -> None:
    assert is_linearizable(("get", "a", unwritten), ("append", "a", "x"), ("get", "a", "x"))
    assert not is_linearizable(("append", "a", "x"), ("get", "a", unwritten))


def test_a_deleted_key_reads_as_no_text() -> None:
    assert is_linearizable(("append", "a", "x"), ("delete", "a", None), ("get", "a", ""), ("append", "a", "y"))
    assert not is_linearizable(("append", "a", "x"), ("delete", "a", None), ("get", "a", "x"))


def test_put_replaces_what_was_appended() -> None:
    assert is_linearizable(("append", "a", "x"), ("put", "a", "z"), ("append", "a", "y"), ("get", "a", "zy"))
    assert not is_linearizable(("append", "a", "x"), ("put", "a", "z"), ("get", "a", "xz"))


def test_keys_that_are_texts_are_shown_without_quotes() -> None:
    assert sorted(history_of(("append", "7", "x"), ("append", "8 b", "x")).keys) == [b"7", b"8 b"]
