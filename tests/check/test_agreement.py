"""The checker against a model that tries every order, on small random histories of every kind.

More of them: `make agreement`, or `python -m check.test_agreement FIRST LAST` in the folder `tests`.
"""

import collections
import io
import itertools
import random
import sys
import tracemalloc
from dataclasses import replace

import pytest

from check import model
from check.generator import KEY, random_history, random_shape
from paxoskv.check.checker import check
from paxoskv.check.formats import read, write
from paxoskv.check.gaps import moves
from paxoskv.check.history import History, Operation
from paxoskv.check.normal import NormalForm
from paxoskv.check.search import Search
from paxoskv.check.sentences import Speaker
from paxoskv.check.verdict import Verdict, Way

SEEDS = 6000


def seen_otherwise(seed: int) -> tuple[str, str]:
    """The way that was taken with the verdict, and where the model disagrees, or an empty text."""
    rng = random.Random(seed)
    history = random_history(rng, random_shape(rng))
    operations = history.operations(KEY)
    value, version = history.initial.get(KEY, (None, None))
    initial = model.initial_state(value, version)
    result = check(history, orders=True)
    if not result.keys:
        return "nothing", ""
    [found] = result.keys
    if found.verdict is Verdict.UNKNOWN:
        return "unknown", f"seed {seed}: unknown"
    ok = found.verdict is Verdict.OK
    way = f"{found.way.value} {found.verdict.value}"
    if ok != model.has_order(operations, initial):
        return way, f"seed {seed}: {way}, the model says otherwise. {found.sentence}"
    if ok:
        assert found.order is not None
        wrong = model.replay(operations, found.order, initial)
        return way, wrong and f"seed {seed}: the order does not hold: {wrong}"
    return way, ""


def test_every_verdict_is_that_of_a_model_that_tries_every_order() -> None:
    ways: collections.Counter[str] = collections.Counter()
    for seed in range(SEEDS):
        way, wrong = seen_otherwise(seed)
        assert not wrong, wrong
        ways[way] += 1
    for way in ("chain", "counter", "list", "zones", "search"):
        assert min(ways[f"{way} ok"], ways[f"{way} illegal"]) >= 3, ways


def has_order_among_all(operations: list[Operation], initial: model.State) -> bool:
    """The definition itself: some permutation of what was answered, with any of the unknown, holds."""
    answered = [each.number for each in operations if each.outcome not in ("failed", "unknown")]
    unknown = [each.number for each in operations if each.outcome == "unknown"]
    return any(
        not model.replay(operations, order, initial)
        for count in range(len(unknown) + 1)
        for used in itertools.combinations(unknown, count)
        for order in itertools.permutations([*answered, *used])
    )


def test_the_model_says_what_the_definition_says() -> None:
    verdicts: collections.Counter[bool] = collections.Counter()
    for seed in range(1500):
        rng = random.Random(f"definition {seed}")
        history = random_history(rng, random_shape(rng, 5))
        operations = history.operations(KEY)
        initial = model.initial_state(*history.initial.get(KEY, (None, None)))
        found = model.has_order(operations, initial)
        assert found == has_order_among_all(operations, initial), seed
        verdicts[found] += 1
    assert min(verdicts.values()) > 100, verdicts


def test_longer_histories_are_judged_as_the_search_judges_them() -> None:
    """Too long for the model, and long enough for the walk through gaps to plan, to hurry and to turn back."""
    verdicts: collections.Counter[tuple[Way, Verdict]] = collections.Counter()
    for seed in range(200):
        rng = random.Random(f"medium {seed}")
        shape = replace(
            random_shape(rng),
            operations=rng.randint(10, 60),
            versions=rng.choice((1.0, 1.0, 0.0)),
            spoilt=rng.choice((0, 0, 0, 1)),
            defect=rng.choice(("", "", "", "stale", "twice")),
            unknown=rng.choice((0, 0.05, 0.2)),
        )
        history = random_history(rng, shape)
        [found] = check(history, orders=True).keys
        columns, initial = history.columns(KEY), history.initial.get(KEY, (None, None))
        form = NormalForm(columns, *initial)
        if found.way in (Way.ANSWER, Way.SEARCH):
            continue
        searched = Search(form, Speaker(columns), 5_000, lambda _: None).run()
        assert searched.verdict in (found.verdict, Verdict.UNKNOWN), f"seed {seed}: {found.sentence}"
        if found.order is not None:
            assert model.replay(history.operations(KEY), found.order, model.initial_state(*initial)) == "", seed
        verdicts[found.way, searched.verdict] += 1
    assert min(verdicts[Way.CHAIN, Verdict.OK], verdicts[Way.CHAIN, Verdict.ILLEGAL]) > 20, verdicts


def test_neither_a_file_nor_another_order_of_its_lines_changes_a_verdict() -> None:
    for seed in range(500):
        rng = random.Random(f"file {seed}")
        history = random_history(rng, random_shape(rng))
        target = io.StringIO()
        write(history, target)
        lines = target.getvalue().splitlines(keepends=True)
        rng.shuffle(lines)
        again = read(io.BytesIO("".join(lines).encode()))
        assert check(again).verdict is check(history).verdict, seed


def test_a_refused_delete_is_not_taken_for_one_that_took_effect() -> None:
    """Seed 164677, made smaller: both say the same, and the search let the one that ends sooner stand for both."""
    history = History(
        [
            Operation(1, 1, "put", KEY, 3.0, 5.0, "ok", b"1", None, None, 6),
            Operation(2, 2, "get", KEY, 4.0, 9.0, "ok", None, None, b"1", None),
            Operation(3, 3, "delete", KEY, 5.0, 24.0, "ok", None, 6, None, 8),
            Operation(4, 1, "delete", KEY, 6.0, 18.0, "condition-failed", None, 6, None, 8),
        ]
    )
    [found] = check(history, orders=True).keys
    assert found.verdict is Verdict.OK
    assert found.order == [1, 2, 3, 4]


def test_a_delete_that_does_not_tell_may_have_found_the_version_that_another_delete_left() -> None:
    """It is as good as a read then, wherever that version is from; and only one of several can have made it."""
    put = Operation(1, 1, "put", KEY, 0.0, 1.0, "ok", b"a", None, None, 1)
    deletes = [Operation(at, at, "delete", KEY, 2.0 * at, 2.0 * at + 1, "ok", None, None, None, 2) for at in (2, 3)]
    lost = replace(deletes[0], number=4, start=2.0, outcome="unknown", finish=None, version=None)
    gone = Operation(5, 5, "get", KEY, 2.0, 3.0, "ok", None, None, None, 2)
    for operations in (
        [put, *deletes],
        [put, replace(deletes[0], result=True), deletes[1]],
        [put, replace(deletes[0], condition=1), deletes[1]],
        [put, lost, gone, *deletes],
        [replace(put, version=None), *deletes],
    ):
        [found] = check(History(operations), orders=True).keys
        assert found.order is not None, found.sentence
        assert model.replay(operations, found.order, model.initial_state(None, None)) == ""
    [found] = check(History([put, *(replace(each, result=True) for each in deletes)])).keys
    assert found.verdict is Verdict.ILLEGAL
    before = History([deletes[0]])
    before.initial[KEY] = None, 2
    assert check(before).verdict is Verdict.OK
    again = replace(put, number=6, start=8.0, finish=9.0, version=3)
    [found] = check(History([put, *deletes[:1], again, replace(deletes[1], start=10.0, finish=11.0)])).keys
    assert found.verdict is Verdict.ILLEGAL
    assert "delete by client 3 (10.000 to 11.000 s) succeeded at version 2" in found.sentence.lower()


def test_a_version_that_was_refused_is_not_told_later_of_the_same_value() -> None:
    """Whether the store told that version before, or tells it only afterwards, or acts on it without a word."""
    put = Operation(1, 1, "put", KEY, 0.0, 1.0, "ok", b"a", None, None, None)
    refused = Operation(2, 2, "put", KEY, 2.0, 3.0, "condition-failed", b"b", 5, b"a", None)
    told = Operation(3, 3, "get", KEY, 4.0, 5.0, "ok", None, None, b"a", 5)
    obeyed = Operation(4, 4, "put", KEY, 4.0, 5.0, "ok", b"c", 5, None, None)
    again = Operation(5, 5, "put", KEY, 3.0, 4.0, "ok", b"a", None, None, None)
    for last in (told, obeyed):
        assert check(History([put, refused, last])).verdict is Verdict.ILLEGAL
        [found] = check(History([put, refused, again, last]), orders=True).keys
        assert found.order == [1, 2, 5, last.number]
        assert check(History([put, replace(refused, condition=4), last])).verdict is Verdict.OK
    # Among many that were refused at a time, what is wrong for another reason is found as soon as before.
    many = [replace(refused, number=10 + at, client=10 + at, condition=10 + at) for at in range(30)]
    tells = [replace(told, number=50 + at, version=10 + at, start=50.0 + at, finish=50.5 + at) for at in range(2)]
    [found] = check(History([put, *many, *tells]), budget=1000).keys
    assert found.verdict is Verdict.ILLEGAL
    before = History([replace(refused, version=None)])
    before.initial[KEY] = b"a", 5
    assert check(before).verdict is Verdict.ILLEGAL


def test_what_was_read_later_tells_which_unanswered_appends_came_in_between() -> None:
    """Of thirty of one length, five came before each append that told the length: some 10^14 ways to choose them."""
    value = b""
    calls: list[dict[str, object]] = []
    for round_ in range(6):
        for lost in (b"%02d" % (5 * round_ + number) for number in range(5)):
            calls.append({"kind": "append", "argument": lost, "outcome": "unknown"})
            value += lost
        value += b"ok"
        version = len(value)
        calls.append({"kind": "append", "argument": b"ok", "outcome": "ok", "result": version, "version": version})
    calls.sort(key=lambda call: call["outcome"] == "ok")  # Real time leaves everything open.
    calls.append({"kind": "get", "argument": None, "outcome": "ok", "result": value, "version": len(value)})
    operations = [
        Operation(
            number,
            number,
            str(call["kind"]),
            KEY,
            float(number),
            None if call["outcome"] == "unknown" else number + 0.5,
            str(call["outcome"]),
            call["argument"],  # type: ignore[arg-type]
            None,
            call.get("result"),  # type: ignore[arg-type]
            call.get("version"),  # type: ignore[arg-type]
        )
        for number, call in enumerate(calls)
    ]
    [found] = check(History(operations), budget=1000, orders=True).keys
    assert found.order is not None, found.sentence
    assert model.replay(operations, found.order, model.initial_state(None, None)) == ""
    spoilt = [*operations[:-1], replace(operations[-1], result=value[2:4] + value[:2] + value[4:-2] + b"no")]
    assert check(History(spoilt), budget=1000).verdict is not Verdict.OK


def test_a_walk_that_gives_up_has_not_filled_the_memory_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of unanswered increments each state leads to as many others, and nearly all of them are new."""
    monkeypatch.setattr(moves, "_EFFECTIVE_MAX", 10_000, raising=False)
    operations = [Operation(at, at, "incr", KEY, 0.0, None, "unknown", 2 * 2**at) for at in range(40)]
    operations.append(Operation(40, 40, "put", KEY, -2.0, -1.0, "ok", b"0", None, None, 1))
    operations.append(Operation(41, 41, "get", KEY, 1.0, 2.0, "ok", None, None, b"12345", 2))
    tracemalloc.start()
    try:
        [found] = check(History(operations), budget=2_000).keys
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.way, found.verdict) == (Way.CHAIN, Verdict.UNKNOWN)
    assert peak < 5_000_000


def test_what_disagrees_is_noticed() -> None:
    history = History()
    history.add(Operation(1, 1, "put", KEY, 0.0, 1.0, "ok", b"a", None, None, None))
    history.add(Operation(2, 1, "get", KEY, 2.0, 3.0, "ok", None, None, None, None))
    operations = history.operations(KEY)
    assert not model.has_order(operations, model.initial_state(None, None))
    assert model.replay(operations, [1, 2], model.initial_state(None, None))


def main() -> None:
    """Compare the seeds from FIRST up to LAST, and print every disagreement."""
    ways: collections.Counter[str] = collections.Counter()
    disagreements = 0
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        way, wrong = seen_otherwise(seed)
        ways[way] += 1
        if wrong:
            disagreements += 1
            print(wrong, flush=True)
    print(f"{sum(ways.values()):,} histories, {disagreements} disagreements: {dict(sorted(ways.items()))}")


if __name__ == "__main__":
    main()
