"""The calls of a universe as the checker's history, and its verdict."""

import itertools
import math
from collections.abc import Iterator, Sequence

from paxoskv import check
from paxoskv.check.history import History
from paxoskv.check.history import Operation as Checked
from paxoskv.core import errors, operations
from paxoskv.core.scan import ScanOperation
from paxoskv.sim.universe import FAILED, OK, Call

# States for one key. Where many outcomes are unknown the search explodes; a universe with such a key is not worth it.
_BUDGET = 20_000


def outcome_of(status: int) -> str:
    """An answer that is not a failure, in the checker's words."""
    return "ok" if status in (operations.OK, operations.ABSENT) else errors.BY_STATUS[status].code


def _operations(calls: Sequence[Call]) -> tuple[list[Checked], dict[int, int]]:
    """What the calls did, key by key, and of whatever is not numbered as its call is, the call's number.

    A page of a scan is a get of every key in its range, all of them between its call and its answer: of those that it
    shows, and of those that are absent since it does not. So a scan that leaves a key out shows.

    That a value expires is an operation like others: a delete of exactly its version, by nobody, at any time after the
    put, since clocks may show anything. It may never come; but what it made absent cannot come back (B8).
    """
    checked = [_checked(number, call) for number, call in enumerate(calls, 1) if call.page is None]
    keys = sorted({operation.key for operation in checked})
    numbers = itertools.count(len(calls) + 1)
    of_call: dict[int, int] = {}
    for number, call in enumerate(calls, 1):
        if call.page is not None and call.outcome == OK:
            for get in _gets(numbers, call, call.page, keys):
                checked.append(get)
                of_call[get.number] = number
    versions = {
        seen.result: seen.version
        for seen in checked
        if seen.version and (seen.kind == "get" or seen.outcome == "condition-failed")
    }
    for number, call in enumerate(calls, 1):
        if call.lifetime_ms is not None and call.outcome != FAILED and call.status <= operations.OK:
            _, key, value, _ = call.request
            version = call.version or versions.get(value)
            checked.append(_expiry(next(numbers), number, key, call.start, version))
    return checked, of_call


def _gets(numbers: Iterator[int], call: Call, page: ScanOperation, keys: Sequence[bytes]) -> Iterator[Checked]:
    assert call.finish is not None
    shown = {item.key: item for item in page.items}
    unknown = shown.keys() - set(keys)
    assert not unknown, f"a scan shows {sorted(unknown)}, which nobody wrote"
    for key in keys:
        if key < page.key or (page.following is not None and key >= page.following):
            assert key not in shown, f"a page from {page.key!r} to {page.following!r} shows {key!r}"
            continue
        item = shown.get(key)
        if item is None:
            value, version = None, None
        elif not page.keys_only:
            value, version = item.value, item.version
        else:
            # That it is there is all that is known, which no get says.
            continue
        yield Checked(
            next(numbers),
            call.process,
            "get",
            key,
            call.start,
            call.finish,
            "ok",
            None,
            None,
            value,
            version,
        )


def _expiry(number: int, put: int, key: bytes, start: float, version: int | None) -> Checked:
    return Checked(
        number,
        f"the time of operation {put}",
        "delete",
        key,
        start,
        None,
        "unknown",
        None,
        version,
        None,
        None,
    )


def _checked(number: int, call: Call) -> Checked:
    kind, key, argument, condition = call.request
    outcome = outcome_of(call.status) if call.outcome == OK else "failed" if call.outcome == FAILED else "unknown"
    result: bytes | int | bool | None = call.value
    if kind == operations.DELETE and outcome == "ok":
        result = call.status == operations.OK
    return Checked(
        number,
        call.process,
        operations.KIND_NAMES[kind],
        key,
        call.start,
        call.finish,
        outcome,
        argument,
        condition,
        result,
        call.version if call.outcome == OK else None,
    )


def judge(calls: Sequence[Call]) -> tuple[str, list[int], int]:
    """What is impossible about the calls, or nothing; the numbers of those that prove it, from 1, in the order of their
    answers; and the number of keys on which the checker gave up."""
    checked, of_call = _operations(calls)
    result = check.check(History(checked), budget=_BUDGET)
    undecided = sum(key.verdict is check.Verdict.UNKNOWN for key in result.keys)
    violations = result.violations
    if not violations:
        return "", [], undecided
    proof = sorted(violations[0].witness, key=lambda one: math.inf if one.finish is None else one.finish)
    numbers = [of_call.get(one.number, one.number) for one in proof]
    return violations[0].sentence, [number for number in numbers if number <= len(calls)], undecided
