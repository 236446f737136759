"""The meaning of a history, said a second time and as plainly as possible: every order is tried.

Nothing here comes from the checker but the form of an operation. Versions are any numbers that grow with every effect;
one that nobody was told may be any number, also one between two neighbours.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from paxoskv.check.history import Operation, Value


class State(NamedTuple):
    """A key. `version` is None, and none of `refuted`, while nobody was told it; `floor` is the highest told."""

    value: Value = None
    version: int | None = 0
    floor: int = 0
    refuted: frozenset[int] = frozenset()


def initial_state(value: Value, version: int | None) -> State:
    """The state before a history."""
    if value is None:
        return State(None, version or 0, version or 0)
    return State(value, version, version or 0)


def number(value: Value) -> int | None:
    """The integer that incr finds."""
    if value is None:
        return 0
    try:
        found = int(value)
    except ValueError:
        return None
    return found if b"%d" % found == value and -(2**63) <= found < 2**63 else None


def observe(state: State, value: Value, version: int | None) -> State | None:
    """The state after somebody saw this, or None if it cannot be seen there."""
    if state.value != value:
        return None
    if value is not None and version == 0:
        return None
    if not version or version == state.version:
        return state
    if state.version is None and version > state.floor and version not in state.refuted:
        return State(value, version, version)
    return None


def demand(state: State, version: int) -> State | None:
    """The state if it has this version, or None."""
    if version == 0:
        return state if state.value is None else None
    if state.version is None and state.value is not None and version > state.floor and version not in state.refuted:
        return State(state.value, version, version)
    return state if state.version == version else None


def change(state: State, value: Value, operation: Operation) -> State | None:
    """The state after an effect."""
    told = operation.version if operation.outcome == "ok" else None
    if value is not None and told == 0:
        return None
    if not told:
        return State(value, told, state.floor)
    return State(value, told, told) if told > state.floor else None


def step(state: State, operation: Operation) -> State | None:
    """The state after an operation took effect or was answered as recorded; None where that cannot be."""
    kind, argument, condition, result = operation.kind, operation.argument, operation.condition, operation.result
    answered = operation.outcome == "ok"
    value = state.value
    if operation.outcome not in ("ok", "unknown"):
        if operation.outcome == "condition-failed":
            if kind == "cas":
                holds = value == condition
            elif condition == 0:
                holds = value is None
            else:
                holds = value is not None and condition in (state.version, operation.version)
        elif operation.outcome == "not-an-integer":
            holds = number(value) is not None
        elif operation.outcome == "integer-overflow":
            assert isinstance(argument, int)
            found = number(value)
            holds = found is None or -(2**63) <= found + argument < 2**63
        else:
            holds = False
        assert result is None or isinstance(result, bytes)
        seen = None if holds else observe(state, result, operation.version)
        if seen is None or seen.value is None or seen.version is not None:
            return seen
        if kind != "cas" and isinstance(condition, int):
            return seen._replace(refuted=seen.refuted | {condition})
        return seen
    if kind == "get":
        assert result is None or isinstance(result, bytes)
        return observe(state, result, operation.version) if answered else state
    if kind == "delete" and answered and result is False:
        return None if condition else observe(state, None, operation.version)
    if kind in ("put", "delete") and condition is not None:
        assert isinstance(condition, int)
        demanded = demand(state, condition)
        if demanded is None:
            return None
        state = demanded
    if kind == "delete":
        if value is None:
            if answered and result is None and condition is None and operation.version not in (None, 0, state.version):
                return change(state, None, operation)
            if answered and result is None and not condition:
                return observe(state, None, operation.version)
            return None if answered else state
        return change(state, None, operation) if condition != 0 else None
    after: Value
    if kind == "put":
        assert isinstance(argument, bytes)
        after = argument
    elif kind == "cas":
        if value != condition:
            return None
        assert isinstance(argument, bytes)
        after = argument
    elif kind == "swap":
        if answered and result != value:
            return None
        assert isinstance(argument, bytes)
        after = argument
    elif kind == "incr":
        assert isinstance(argument, int)
        found = number(value)
        if found is None or not -(2**63) <= found + argument < 2**63:
            return None
        if answered and result is not None and result != found + argument:
            return None
        after = b"%d" % (found + argument)
    else:
        assert isinstance(argument, bytes)
        after = (value or b"") + argument
        if answered and result is not None and result != len(after):
            return None
    return change(state, after, operation)


def precedes(first: Operation, second: Operation) -> bool:
    """Whether `first` was answered before `second` was called."""
    return first.outcome != "unknown" and first.finish is not None and first.finish < second.start


def has_order(operations: Iterable[Operation], initial: State) -> bool:
    """Whether any order explains every answer."""
    alive = [each for each in operations if each.outcome != "failed"]
    must = sum(1 << at for at, each in enumerate(alive) if each.outcome != "unknown")
    after = [
        sum(1 << later for later, other in enumerate(alive) if precedes(other, each)) for at, each in enumerate(alive)
    ]
    tried: set[tuple[int, State]] = set()

    def search(done: int, state: State) -> bool:
        if done & must == must:
            return True
        if (done, state) in tried:
            return False
        tried.add((done, state))
        for at, operation in enumerate(alive):
            if done >> at & 1 or after[at] & ~done & must:
                continue
            reached = step(state, operation)
            if reached is not None and search(done | 1 << at, reached):
                return True
        return False

    return search(0, initial)


def replay(operations: Sequence[Operation], order: Sequence[int], initial: State) -> str:
    """What is wrong with an order of operation numbers, or the empty string."""
    by_number = {each.number: each for each in operations}
    if len(set(order)) != len(order):
        return "an operation stands in the order twice"
    missing = {each.number for each in operations if each.outcome not in ("failed", "unknown")} - set(order)
    if missing:
        return f"operations {sorted(missing)} are missing from the order"
    state = initial
    latest = -math.inf
    for place in order:
        operation = by_number[place]
        if operation.outcome == "failed":
            return f"operation {place} failed, but is in the order"
        latest = max(latest, operation.start)
        if operation.outcome != "unknown" and operation.finish is not None and operation.finish < latest:
            return f"operation {place} was answered before one that stands before it was called"
        reached = step(state, operation)
        if reached is None:
            return f"operation {place} cannot follow {state}"
        state = reached
    return ""
