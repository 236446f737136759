"""Search for an order: Wing and Gong's algorithm with Lowe's memoisation, for whatever nothing quicker fits.

A node of the search is what was placed so far and the state that this left. Next can come whatever began before
the first thing not yet placed was answered. Beyond that:

- What was seen, fits the state and may come next, comes next: it changes nothing, and sooner is never worse.
- Of operations that do and say the same, the one that was answered first comes first. So ten increments by one that
  nobody answered are one choice and not ten.
- A node is given up if one with the same state and the same answered operations placed, and with no other unknown
  operations used up, was visited before: what may never have happened is an asset.
- A value or version is not left behind while somebody still has to see it and nobody can bring it back.

Sources: Wing and Gong, Testing and Verifying Concurrent Objects (1993); Lowe, Testing for Linearizability (2017).
"""

import math
from typing import Final, NamedTuple

from paxoskv.check.history import APPEND, CAS, CONDITION_FAILED, DELETE, INCR, PUT, SWAP, Columns, Value
from paxoskv.check.normal import Finding, NormalForm, Tick
from paxoskv.check.semantics import REFUSED, effect, number_of, text_of
from paxoskv.check.sentences import Speaker, quote
from paxoskv.check.verdict import WITNESS_OPERATIONS_MAX, Verdict, Way

_ANYTHING: Final = object()
_SHOWN_MAX: Final = 4


class State(NamedTuple):
    """A key. `version` is None where nobody was told it; `floor` is the highest that anybody was told so far."""

    value: Value
    version: int | None
    floor: int
    refuted: frozenset[int] = frozenset()
    """While nobody was told the version: what it is not, because a demand for that was refused."""


def initial_state(form: NormalForm) -> State:
    """The state before the history."""
    version = form.initial_version
    return State(form.initial, 0 if form.initial is None and version is None else version, version or 0)


def follow(form: NormalForm, row: int, seen: bool, answered: bool, state: State, named: frozenset[int]) -> State | None:
    """The state after an operation, or None where it cannot come. `seen`: it only looked. `named`: the versions of
    which it is remembered that a demand for them was refused.
    """
    columns = form.columns
    value, version, floor, _ = state
    told = columns.versions[row] if answered else None
    if seen:
        result = columns.results[row]
        if value != (result if isinstance(result, bytes) else None):
            return None
        refuted = _refuted(columns, row)
        if value is not None and version is not None and version == refuted:
            return None
        if not told and _is_news(refuted, state, named):
            assert refuted is not None
            return State(value, None, floor, state.refuted | {refuted})
        if not told or told == version:
            return state
        return State(value, told, told) if version is None and told > floor and told not in state.refuted else None
    kind, condition = columns.kinds[row], columns.conditions[row]
    if (
        version is None
        and value is not None
        and kind in (PUT, DELETE)
        and isinstance(condition, int)
        and condition > floor
        and condition not in state.refuted
    ):
        version = floor = condition
    after = effect(kind, columns.arguments[row], condition, columns.results[row], answered, value, version)
    if after is REFUSED:
        return None
    assert after is None or isinstance(after, bytes)
    if after is None and value is None and (not told or told == version):
        return state
    if not told:
        return State(after, told, floor)
    return State(after, told, told) if told > floor else None


def _refuted(columns: Columns, row: int) -> int | None:
    """The version that a key did not have, because a demand for it was refused."""
    condition = columns.conditions[row]
    refused = columns.outcomes[row] == CONDITION_FAILED and columns.kinds[row] != CAS
    return condition if refused and isinstance(condition, int) else None


def _is_news(refuted: int | None, state: State, named: frozenset[int]) -> bool:
    """Whether a refused demand says something of a version that nobody was told, but that somebody is still to name."""
    return (
        refuted is not None
        and refuted > state.floor
        and state.version is None
        and state.value is not None
        and refuted not in state.refuted
        and refuted in named
    )


def explains(form: NormalForm, order: list[int]) -> bool:
    """Whether every answer is right in that order; real time is not looked at."""
    unknown = set(form.unknowns)
    named = form.named_versions()
    mutating = set(form.mutations) | unknown
    state: State | None = initial_state(form)
    for row in order:
        assert state is not None
        state = follow(form, row, row not in mutating, row not in unknown, state, named)
        if state is None:
            return False
    return True


class _Node(NamedTuple):
    pending: tuple[int, ...]
    """Answered operations that have begun and are not placed."""
    following: int
    """The first that has not begun."""
    state: State
    used: int
    """Bits of the unknown operations that were used."""
    trail: "tuple[object, int] | None"


def search(form: NormalForm, speaker: Speaker, budget: int, tick: Tick) -> Finding:
    """The verdict on one key.

    To remember what a version is not makes states many, and seldom matters: it is done only where an order was found
    without, and is wrong for want of it.
    """
    finding = Search(form, speaker, budget, tick).run()
    if finding.order is None or explains(form, finding.order):
        return finding
    return Search(form, speaker, budget, tick, form.named_versions()).run()


class Search:
    """The search of one key. Of `named` versions it remembers that a demand for them was refused."""

    def __init__(
        self, form: NormalForm, speaker: Speaker, budget: int, tick: Tick, named: frozenset[int] = frozenset()
    ) -> None:
        self._named = named
        self._form = form
        self._say = speaker
        self._budget = budget
        self._tick = tick
        columns = form.columns
        looking = set(form.sightings) | set(form.absences)
        # From here on operations have the numbers of their places by start.
        self._rows = sorted([*form.sightings, *form.absences, *form.mutations], key=columns.starts.__getitem__)
        self._starts = [columns.starts[row] for row in self._rows]
        self._finishes = [columns.finishes[row] for row in self._rows]
        self._sees = [row in looking for row in self._rows]
        self._calls = [
            (
                columns.kinds[row],
                columns.arguments[row],
                columns.conditions[row],
                columns.results[row],
                columns.versions[row],
            )
            for row in self._rows
        ]
        self._refuted = [_refuted(columns, row) for row in self._rows]
        self._needs: list[object] = [self._need(at) for at in range(len(self._rows))]
        self._last_need: dict[object, int] = {need: at for at, need in enumerate(self._needs)}
        self._producers: dict[Value, tuple[frozenset[int], int, int]] = {}
        self._by_argument: dict[Value, list[int]] = {}
        self._computing: list[int] = []
        """Mutations that leave something else than their argument or their result."""
        for at, (kind, argument, _, result, _) in enumerate(self._calls):
            if self._sees[at]:
                continue
            if kind == INCR and isinstance(result, int):
                self._by_argument.setdefault(text_of(result), []).append(at)
            elif kind in (INCR, APPEND):
                self._computing.append(at)
            else:
                # Of a delete the argument is None, and so is what it leaves.
                assert not isinstance(argument, int)
                self._by_argument.setdefault(argument, []).append(at)
        self._lowest_version = self._suffix_minimum()
        self._classes: list[tuple[list[int], int]] = []
        self._sort_unknowns()
        self._furthest = -math.inf
        self._urgent: int | None = None
        """What has to come next where the search got furthest,"""
        self._stuck: dict[Value, None] = {}
        """the values that the key had there,"""
        self._victim: int | None = None
        """and who could never be placed afterwards, where it could be placed itself."""
        self._grew = False
        """Because of its version."""
        self._loser = 0

    def _need(self, at: int) -> object:
        """The value that an operation has to meet, or _ANYTHING."""
        kind, argument, condition, result, _ = self._calls[at]
        if self._sees[at]:
            return result if isinstance(result, bytes) else None
        if kind == CAS:
            return condition
        if kind == SWAP:
            return result
        if kind == INCR and isinstance(result, int) and isinstance(argument, int) and result != argument:
            return text_of(result - argument)
        if kind == PUT and condition == 0:
            return None
        return _ANYTHING

    def _suffix_minimum(self) -> list[float]:
        lowest = [math.inf] * (len(self._rows) + 1)
        for at in range(len(self._rows) - 1, -1, -1):
            lowest[at] = min(lowest[at + 1], self._calls[at][4] or math.inf)
        return lowest

    def _sort_unknowns(self) -> None:
        """Unknown operations that can matter, in classes of those that do the same, each sorted by start."""
        columns = self._form.columns
        rows = self._form.unknowns
        values = set(self._needs)
        values.update(columns.conditions[row] for row in rows if columns.kinds[row] == CAS)
        # Where a key only has to be there, to be a number or to have a certain version, any value may be of use.
        versioned = self._lowest_version[0] < math.inf
        calls = [call for at, call in enumerate(self._calls) if not self._sees[at]]
        calls += [(columns.kinds[row], columns.arguments[row], columns.conditions[row], False, None) for row in rows]
        particular = not any(
            kind in (INCR, APPEND)
            or (kind == DELETE and (result is not False or versioned))
            or (kind in (PUT, DELETE) and condition)
            for kind, _, condition, result, _ in calls
        )
        classes: dict[tuple[int, object, object], list[int]] = {}
        for row in rows:
            kind, argument = columns.kinds[row], columns.arguments[row]
            if particular and kind != DELETE and argument not in values:
                continue
            classes.setdefault((kind, argument, columns.conditions[row]), []).append(row)
        offset = 0
        for members in classes.values():
            members.sort(key=columns.starts.__getitem__)
            self._classes.append((members, offset))
            offset += len(members)

    def _makers(self, value: Value) -> tuple[frozenset[int], int, int]:
        """Answered operations that may bring a value about, the last of them, and bits of the unknown ones."""
        known = self._producers.get(value)
        if known is None:
            makers = set(self._by_argument.get(value, ()))
            for at in self._computing:
                kind, argument, _, result, _ = self._calls[at]
                if _may_make(kind, argument, result, value):
                    makers.add(at)
            unknown = 0
            columns = self._form.columns
            for rows, offset in self._classes:
                if _may_make(columns.kinds[rows[0]], columns.arguments[rows[0]], None, value):
                    unknown |= ((1 << len(rows)) - 1) << offset
            known = self._producers[value] = frozenset(makers), max(makers, default=-1), unknown
        return known

    def run(self) -> Finding:
        """The verdict."""
        form = self._form
        visited: dict[tuple[tuple[int, ...], int, State], list[int]] = {}
        states = 0
        stack = [_Node((), 0, initial_state(form), 0, None)]
        while stack:
            node = self._look_around(stack.pop())
            if not node.pending:
                order: list[int] = []
                trail = node.trail
                while trail is not None:
                    trail, row = trail  # type: ignore[assignment]
                    order.append(row)
                order.reverse()
                return Finding(Verdict.OK, Way.SEARCH, order, states=states)
            place = node.pending, node.following, node.state
            before = visited.get(place)
            if before is None:
                visited[place] = [node.used]
            else:
                if any(used & ~node.used == 0 for used in before):
                    continue
                before[:] = [used for used in before if node.used & ~used]
                before.append(node.used)
            states += 1
            if not states & 0x3FF:
                self._tick(0x400)
            if states > self._budget:
                sentence = (
                    f"The budget of {self._budget:,} states was used up before an order was found or excluded; "
                    f"everything that was answered before {self._say.time(self._furthest)} has one."
                )
                return Finding(Verdict.UNKNOWN, Way.SEARCH, None, sentence, (), states)
            stack.extend(self._next(node))
        return self._explain(states)

    def _look_around(self, node: _Node) -> _Node:
        """Let in what has begun, and place whatever only looks and likes what it sees."""
        pending, following, state, used, trail = node
        starts, finishes, size = self._starts, self._finishes, len(self._rows)
        sees, calls, rows, refuted = self._sees, self._calls, self._rows, self._refuted
        value, version = state.value, state.version
        fresh = 0
        waiting = list(pending)
        limit = min(map(finishes.__getitem__, waiting), default=math.inf)
        while True:
            while following < size and (starts[following] <= limit or not waiting):
                waiting.append(following)
                limit = min(limit, finishes[following])
                following += 1
            kept = []
            # What waited before was looked at in this state already, unless the state is new.
            for at in waiting[fresh:]:
                if sees[at]:
                    result, told = calls[at][3], calls[at][4]
                    seen = result if isinstance(result, bytes) else None
                    if seen != value or (told and told != version):
                        fits = False
                    elif version is None:
                        # What it says of the version binds, so that it need not be best to say it here.
                        fits = not _is_news(refuted[at], state, self._named)
                    else:
                        fits = refuted[at] != version
                    if fits:
                        trail = (trail, rows[at])
                        continue
                kept.append(at)
            if len(kept) + fresh == len(waiting):
                return _Node(tuple(waiting), following, state, used, trail)
            waiting[fresh:] = kept
            fresh = len(waiting)
            limit = min(map(finishes.__getitem__, waiting), default=math.inf)

    def _next(self, node: _Node) -> list[_Node]:
        """What can come next, the most promising last."""
        pending, following, state, used, trail = node
        form, rows, finishes, sees, calls = self._form, self._rows, self._finishes, self._sees, self._calls
        urgent = min(pending, key=finishes.__getitem__)
        limit = finishes[urgent]
        lacking = self._needs[urgent]
        if limit > self._furthest:
            self._furthest = limit
            self._urgent = urgent
            self._stuck = {}
            self._victim = None
        if limit == self._furthest and len(self._stuck) < _SHOWN_MAX:
            self._stuck[state.value] = None
        best: dict[tuple[bool, tuple[object, ...]], int] = {}
        for at in pending:
            # A delete that was refused can look like one that was not: both found, or left, nothing at that version.
            call = sees[at], calls[at]
            rival = best.get(call)
            if rival is None or finishes[at] < finishes[rival]:
                best[call] = at
        moves: list[tuple[tuple[int, float], _Node]] = []
        blind = set()
        for at in best.values():
            kind, argument, condition, result, version = calls[at]
            after = follow(form, rows[at], sees[at], True, state, self._named)
            if after is None:
                continue
            if not self._may_leave(state, after, pending, following, used, at):
                if at == self._urgent:
                    self._victim = self._loser
                    self._grew = after.value == state.value or self._needs[self._loser] != state.value
                continue
            if result is None and version is None and not sees[at]:
                blind.add((kind, argument, condition))
            index = pending.index(at)
            left = pending[:index] + pending[index + 1 :]
            rank = 0 if at == urgent or (after.value == lacking and after.value != state.value) else 1
            moves.append(((rank, finishes[at]), _Node(left, following, after, used, (trail, rows[at]))))
        columns = form.columns
        for members, offset in self._classes:
            count = ((used >> offset) & ((1 << len(members)) - 1)).bit_count()
            if count == len(members) or columns.starts[members[count]] > limit:
                continue
            row = members[count]
            if (columns.kinds[row], columns.arguments[row], columns.conditions[row]) in blind:
                continue
            after = follow(form, row, False, False, state, self._named)
            if after is None or after == state:
                continue
            spent = used | 1 << (offset + count)
            if not self._may_leave(state, after, pending, following, spent, -1):
                continue
            rank = 2 if after.value == lacking else 3
            moves.append(((rank, columns.starts[row]), _Node(pending, following, after, spent, (trail, row))))
        moves.sort(key=lambda move: move[0], reverse=True)
        return [move[1] for move in moves]

    def _may_leave(
        self, state: State, after: State, pending: tuple[int, ...], following: int, used: int, mover: int
    ) -> bool:
        """Whether nobody who is still to come needs what would be gone for good."""
        if self._lowest_version[0] < math.inf:
            calls = self._calls
            lowest = min(
                [self._lowest_version[following], *[calls[at][4] or math.inf for at in pending if at != mover]]
            )
            # Versions grow. One that is current may still be seen; a lower one is gone.
            if lowest < after.floor or (lowest == after.floor and after.version != after.floor):
                self._loser = next(
                    at for at in (*pending, *range(following, len(calls))) if at != mover and calls[at][4] == lowest
                )
                return False
        value = state.value
        if after.value == value:
            return True
        needs = self._needs
        needy = [at for at in pending if at != mover and needs[at] == value]
        if not needy and self._last_need.get(value, -1) < following:
            return True
        makers, last, unknown = self._makers(value)
        if last >= following or unknown & ~used or any(at != mover and at in makers for at in pending):
            return True
        self._loser = needy[0] if needy else self._last_need[value]
        return False

    def _explain(self, states: int) -> Finding:
        """What every order stumbles over first."""
        say, rows = self._say, self._rows
        assert self._urgent is not None
        stuck = rows[self._urgent]
        held = " or ".join(quote(value) for value in list(self._stuck)[: _SHOWN_MAX - 1])
        if len(self._stuck) >= _SHOWN_MAX:
            held += " or other values"
        if self._victim is None:
            text = f"{say.saw(stuck)}, but in every order that explains the earlier answers the key then held {held}."
            witness = [stuck]
        else:
            victim = rows[self._victim]
            why = (
                "and versions must grow"
                if self._grew
                else f"and nothing brings {quote(self._needs[self._victim])} back"  # type: ignore[arg-type]
            )
            text = (
                f"{say.saw(victim)}, but in every order that explains the earlier answers "
                f"{say.who(stuck)} comes before it, {why}."
            )
            witness = [victim, stuck]
        needed = self._needs[self._victim if self._victim is not None else self._urgent]
        for value in dict.fromkeys((needed, *self._stuck)):
            if value is not _ANYTHING and len(witness) < WITNESS_OPERATIONS_MAX:
                makers = self._makers(value)[0]  # type: ignore[arg-type]
                before = [at for at in makers if self._starts[at] <= self._furthest and rows[at] not in witness]
                if before:
                    witness.append(rows[max(before, key=self._finishes.__getitem__)])
        return Finding(Verdict.ILLEGAL, Way.SEARCH, None, text, tuple(dict.fromkeys(witness)), states)


def _may_make(kind: int, argument: object, result: object, value: Value) -> bool:
    """Whether a mutation can leave `value` behind, from some state."""
    if kind == DELETE:
        return value is None
    if value is None:
        return False
    if kind == INCR:
        return number_of(value) is not None and (result is None or result == number_of(value))
    if kind == APPEND:
        assert isinstance(argument, bytes)
        return value.endswith(argument) and result in (None, len(value))
    return argument == value
