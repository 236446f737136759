"""The calls of a universe as the checker's history, and its verdict."""

import math
from collections.abc import Mapping, Sequence

from paxoskv import check
from paxoskv.check.history import History
from paxoskv.check.history import Operation as Checked
from paxoskv.core import operations
from paxoskv.core.operations import Argument
from paxoskv.sim.universe import FAILED, OK, Call

# States for one key. Where many outcomes are unknown the search explodes; a universe with such a key is not worth it.
_BUDGET = 20_000
_OUTCOMES = {
    operations.OK: "ok",
    operations.ABSENT: "ok",
    operations.CONDITION_FAILED: "condition-failed",
    operations.NOT_AN_INTEGER: "not-an-integer",
    operations.INTEGER_OVERFLOW: "integer-overflow",
    operations.VALUE_TOO_LARGE: "value-too-large",
}


def of_calls(calls: Sequence[Call]) -> History:
    """A history as a file of it would hold it.

    That a value expires is an operation like others: a delete of exactly its version, by nobody, at any time after the
    put, since clocks may show anything. It may never come; but what it made absent cannot come back (B8).
    """
    checked = [_checked(number, call) for number, call in enumerate(calls, 1)]
    versions = {
        call.value: call.version
        for call in calls
        if call.version and (call.request[0] == operations.GET or call.status == operations.CONDITION_FAILED)
    }
    for call in calls:
        if call.lifetime_ms is not None and call.outcome != FAILED and call.status <= operations.OK:
            checked.append(_expiry(len(checked) + 1, call, versions))
    return History(checked)


def _expiry(number: int, put: Call, versions: Mapping[Argument, int]) -> Checked:
    _, key, value, _ = put.request
    version = put.version or versions.get(value)
    return Checked(
        number,
        f"the time of operation {number}",
        "delete",
        key,
        put.start,
        None,
        "unknown",
        None,
        version,
        None,
        None,
    )


def _checked(number: int, call: Call) -> Checked:
    kind, key, argument, condition = call.request
    outcome = _OUTCOMES[call.status] if call.outcome == OK else "failed" if call.outcome == FAILED else "unknown"
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
    result = check.check(of_calls(calls), budget=_BUDGET)
    undecided = sum(key.verdict is check.Verdict.UNKNOWN for key in result.keys)
    violations = result.violations
    if not violations:
        return "", [], undecided
    proof = sorted(violations[0].witness, key=lambda one: math.inf if one.finish is None else one.finish)
    return violations[0].sentence, [one.number for one in proof if one.number <= len(calls)], undecided
