"""Histories of key-value test suites: text is appended to text, and a key that was never written reads as ""."""

import random

import pytest

from paxoskv.check.checker import check
from paxoskv.check.formats.jepsen import read_edn
from paxoskv.check.history import History, Operation
from paxoskv.check.normal import NormalForm
from paxoskv.check.search import Search
from paxoskv.check.sentences import Speaker
from paxoskv.check.verdict import Verdict, Way


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


def random_history(rng: random.Random) -> History:
    """Texts written, appended to, swapped and read at once, some with unknown outcome, and often something spoilt."""
    history = History()
    text: bytes | None = None
    now = 0.0
    spoilt = rng.random() < 0.5
    for number in range(rng.randint(3, 9)):
        kind = rng.choices(("get", "append", "put", "cas", "swap"), (4, 5, 1, 1, 1))[0]
        now += rng.choice((0.0, 1.0))
        start, finish = now - rng.choice((0.0, 0.0, 1.5, 3.0)), now + rng.choice((0.0, 0.0, 1.5, 3.0))
        argument = None if kind == "get" else b"%c%d" % (rng.choice(b"ab"), number)
        condition, result = (text, None) if kind == "cas" else (None, text if kind in ("get", "swap") else None)
        outcome = "unknown" if kind != "get" and rng.random() < 0.2 else "ok"
        if outcome == "ok" or rng.random() < 0.5:
            text = text if argument is None else (text or b"") + argument if kind == "append" else argument
        if spoilt and kind == "get" and text is not None and rng.random() < 0.5:
            result = rng.choice((text[:-2], text[2:], text[2:4] + text[:2], b"?" + text[-2:])) or None
        if outcome == "unknown":
            result = None
        at = None if outcome == "unknown" else finish
        history.add(Operation(number, number, kind, b"", start, at, outcome, argument, condition, result, None))
    return history


def test_texts_are_judged_as_an_exhaustive_search_judges_them() -> None:
    verdicts = {Verdict.OK: 0, Verdict.ILLEGAL: 0}
    for seed in range(4000):
        history = random_history(random.Random(seed))
        [found] = check(history, orders=True).keys
        columns = history.columns(b"")
        finding = Search(NormalForm(columns), Speaker(columns), 1_000_000, lambda _: None).run()
        assert found.verdict is finding.verdict, f"seed {seed}: {found.sentence or finding.sentence}"
        verdicts[found.verdict] += found.way is Way.ZONES
    assert min(verdicts.values()) > 500, verdicts
