"""Checks a history: key by key, each in the quickest way that is exact for it."""

import collections
import time
from collections.abc import Callable, Iterable
from typing import Final

from paxoskv.check.chain import Chain
from paxoskv.check.growing import DoesNotGrow, is_counter, is_list, number_counter, number_list
from paxoskv.check.history import DELETE, KINDS, OUTCOMES, Columns, History, Value
from paxoskv.check.normal import Finding, NormalForm, Tick, Violated, codes_of
from paxoskv.check.search import explains, search
from paxoskv.check.sentences import Speaker
from paxoskv.check.texts import Texts, is_text
from paxoskv.check.verdict import KeyVerdict, Result, Verdict, Way
from paxoskv.check.zones import NotRecognisable, Zones

BUDGET: Final = 1_000_000
"""States that the search may visit for one key, unless told otherwise."""

OnKey = Callable[[KeyVerdict], None]


def check(
    history: History,
    *,
    budget: int = BUDGET,
    orders: bool = False,
    on_key: OnKey | None = None,
    tick: Tick | None = None,
) -> Result:
    """The verdict on a history.

    With `orders`, keep the order found for each key; it takes memory. `on_key` is called with each key's verdict as it
    comes, `tick` now and then with the number of further states that a search has visited.
    """
    began = time.perf_counter()
    verdicts: list[KeyVerdict] = []
    clients: set[int | str] = set()
    calls: collections.Counter[int] = collections.Counter()
    for key in history.keys:
        columns = history.columns(key)
        clients.update(columns.clients)
        calls.update(codes_of(columns))
        verdict = check_key(key, columns, history.initial.get(key), history.time_unit, budget, tick or _no_tick, orders)
        if on_key is not None:
            on_key(verdict)
        verdicts.append(verdict)
    by_kind: dict[str, dict[str, int]] = {}
    for code, count in sorted(calls.items()):
        outcome, kind = divmod(code, len(KINDS))
        by_kind.setdefault(KINDS[kind], {})[OUTCOMES[outcome]] = count
    ways: dict[str, int] = {}
    for verdict in verdicts:
        ways[verdict.way.value] = ways.get(verdict.way.value, 0) + 1
    result = Result(
        verdict=worst(each.verdict for each in verdicts),
        keys=verdicts,
        operations=len(history),
        clients=len(clients),
        outcomes=by_kind,
        ways=ways,
        seconds=time.perf_counter() - began,
    )
    if result.operations and not result.answered and result.verdict is Verdict.OK:
        # Any order explains it, so it would be a pass of whatever was to be tested.
        result.verdict = Verdict.UNKNOWN
    return result


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Illegal if any is, else unknown if any is, else ok."""
    found = set(verdicts)
    for verdict in (Verdict.ILLEGAL, Verdict.UNKNOWN):
        if verdict in found:
            return verdict
    return Verdict.OK


def check_key(
    key: bytes,
    columns: Columns,
    initial: tuple[Value, int | None] | None,
    time_unit: str,
    budget: int,
    tick: Tick,
    orders: bool,
) -> KeyVerdict:
    """The verdict on one key, with `orders` also the order if it is ok."""
    began = time.perf_counter()
    value, version = initial or (None, None)
    form = NormalForm(columns, value, version)
    finding, why = _decide(form, Speaker(columns, time_unit), budget, tick, orders)
    order = None
    if orders and finding.order is not None:
        order = list(map(columns.numbers.__getitem__, finding.order))
    return KeyVerdict(
        key=key,
        verdict=finding.verdict,
        way=finding.way,
        why=why,
        operations=len(columns),
        sentence=finding.sentence[:1].upper() + finding.sentence[1:],
        witness=tuple(columns.operation(key, row) for row in finding.witness),
        order=order,
        states=finding.states,
        seconds=time.perf_counter() - began,
    )


def _decide(form: NormalForm, speaker: Speaker, budget: int, tick: Tick, orders: bool) -> tuple[Finding, str]:
    """The finding, and why it was come by in that way."""
    if form.impossible is not None:
        row, why_not = form.impossible
        sentence = f"{speaker.saw(row)}, {why_not}."
        return Finding(Verdict.ILLEGAL, Way.ANSWER, None, sentence, (row,)), "one answer contradicts itself"
    if not _lacks_version(form):
        found = Chain(form, form.columns.versions, form.initial_version or 0, speaker).check(Way.CHAIN, budget, tick)
        if found is not None:
            return found, "every answer tells a version"
    # Where some answers tell a version, an order that values allow must also suit these.
    told = any(form.columns.versions) or bool(form.initial_version)
    try:
        finding = _by_value(form, speaker, budget, tick, orders or told)
        if not told or finding.order is None or explains(form, finding.order):
            return finding, _WHY[finding.way]
        why = "the order that values suggest does not suit versions"
    except (DoesNotGrow, NotRecognisable) as reason:
        why = str(reason)
    return search(form, speaker, budget, tick), why


_WHY: Final = {
    Way.COUNTER: "it only ever grew, by increments that told their result",
    Way.LIST: "it only ever grew, by appends that can be told apart",
    Way.ZONES: "every write can be told by its value",
}


def _by_value(form: NormalForm, speaker: Speaker, budget: int, tick: Tick, orders: bool) -> Finding:
    """The verdict where values tell writes apart. Raises DoesNotGrow or NotRecognisable where they do not."""
    if is_counter(form):
        try:
            numbers, initial = number_counter(form)
        except DoesNotGrow:
            # One that goes up and down may still never come back to where it was.
            pass
        else:
            found = Chain(form, numbers, initial, speaker, "number").check(Way.COUNTER, budget, tick)
            assert found is not None
            return found
    elif is_list(form):
        try:
            numbers, initial = number_list(form, speaker)
        except Violated as violated:
            return Finding(Verdict.ILLEGAL, Way.LIST, None, violated.sentence, violated.witness)
        found = Chain(form, numbers, initial, speaker, "list").check(Way.LIST, budget, tick)
        assert found is not None
        return found
    texts = None
    if is_text(form):
        try:
            texts = Texts(form, speaker)
        except Violated as violated:
            return Finding(Verdict.ILLEGAL, Way.ZONES, None, violated.sentence, violated.witness)
        form = texts.register
    zones = Zones(form, speaker, orders)
    finding = zones.check()
    if texts is not None:
        finding.witness = texts.proof(finding.witness)
    if finding.verdict is Verdict.ILLEGAL and not zones.exact:
        raise NotRecognisable("an unknown mutation may have had an effect that no value identifies")
    return finding


def _lacks_version(form: NormalForm) -> bool:
    """Whether some state would have no number if versions gave them."""
    columns = form.columns
    versions = columns.versions
    if form.initial is not None and not form.initial_version:
        return True
    if not all(map(versions.__getitem__, form.sightings)):
        return True
    kinds = columns.kinds
    silent = [row for row in form.mutations if not versions[row]]
    if any(kinds[row] != DELETE for row in silent):
        return True
    # Where an absent key has versions, a delete that tells none could have made any of them.
    return bool(silent) and any(map(versions.__getitem__, form.absences))


def _no_tick(states: int) -> None:
    pass
