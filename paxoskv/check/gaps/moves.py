"""What can happen in one gap, and on the way to the next."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from paxoskv.check.gaps.layout import Layout
from paxoskv.check.gaps.parts import Antichain, Configuration, Loose, UnknownClass
from paxoskv.check.gaps.plan import Plan
from paxoskv.check.history import APPEND, CAS, DELETE, INCR, PUT, SWAP, Answer, Argument, Value
from paxoskv.check.normal import NOBODY, NOT_SEEN, OutOfBudget, Tick
from paxoskv.check.semantics import REFUSED, effect, number_of, text_of

if TYPE_CHECKING:
    from paxoskv.check.chain import Chain

_VISITS_PER_CONFIGURATION: Final = 40
_WANTED_MAX: Final = 10_000
_EFFECTIVE_MAX: Final = 1_000_000


@dataclass(slots=True, eq=False)
class Hidden:
    """What unknown mutations that nobody saw can do in one gap."""

    wanted: "frozenset[bytes] | range | None"
    """Values, or lengths, that they may have to bring about; None: any."""
    effective: dict[tuple[Value, bool, bool], list[tuple[UnknownClass, Value]]] = field(default_factory=dict)
    """By value, whether it is the numbered state's, and whether any other will do."""
    kept: int = 0
    """How many mutations these are together."""


class Moves:
    """From configurations in a gap to those at the beginning of the next. Raises OutOfBudget past its budget."""

    def __init__(self, chain: "Chain", layout: Layout, budget: int, tick: Tick) -> None:
        self.states = 0
        """States visited so far."""
        self.dead: list[Configuration] = []
        """What was in the last gap that was walked into."""
        self.grows_to: list[bytes | None] = []
        """By gap, while only that is followed: what everything in it is the beginning of, None if that is not known."""
        self._chain = chain
        self._layout = layout
        self._classes = layout.classes
        self._columns = chain.columns
        self._numbers = chain.numbers
        self._writers = chain.writers
        self._seen = chain.seen
        self._budget = budget
        self._left = budget
        self._tick = tick

    def begin_again(self) -> None:
        """The whole budget is there again."""
        self._left = self._budget

    def pass_on(
        self, gap: int, content: Value, stop: int, *, careful: bool = False, present: bool = False
    ) -> tuple[int, Value]:
        """Go on to `stop` at most, as long as each mutation fits the state before it and nothing else need be asked.

        With `careful`, stop also before a state whose value unknown mutations may have changed without a trace; with
        `present`, before the key is absent.
        """
        columns, seen, writers, numbers = self._columns, self._seen, self._writers, self._numbers
        kinds, arguments, conditions, results = columns.kinds, columns.arguments, columns.conditions, columns.results
        number = numbers[gap]
        while gap < stop:
            following = numbers[gap + 1]
            row = writers.get(following, NOBODY)
            if row < 0:
                break
            kind = kinds[row]
            if kind == PUT and conditions[row] is None:
                content = arguments[row]  # type: ignore[assignment]
            elif kind == CAS:
                if content != conditions[row]:
                    break
                content = arguments[row]  # type: ignore[assignment]
            elif kind == INCR and results[row] is not None:
                result: int = results[row]  # type: ignore[assignment]
                before: int = result - arguments[row]  # type: ignore[operator]
                if content != b"%d" % before and (content is not None or before):
                    break
                content = b"%d" % result
            else:
                value = effect(kind, arguments[row], conditions[row], results[row], True, content, number)
                if value is REFUSED or (present and value is None):
                    break
                if kind in (APPEND, INCR):
                    if seen.get(following, value) != value:
                        break
                    if careful and following not in seen and self._layout.any_unknown(gap):
                        break
                    if self.grows_to and not self._is_beginning(value, gap + 1):
                        break
                content = value  # type: ignore[assignment]
            number = following
            gap += 1
        return gap, content

    def _is_beginning(self, content: object, gap: int) -> bool:
        """Whether what is seen after a gap can have grown from `content`, as far as that is followed."""
        whole = self.grows_to[gap] if self.grows_to else None
        return whole is None or content is None or (isinstance(content, bytes) and whole.startswith(content))

    def stride(
        self, gap: int, now: Configuration, pending: list[Loose], wake: int, plan: "Plan", credit: int
    ) -> list[Configuration]:
        """One gap, by the plan: what gets to the next if nothing is deleted before it has to be."""
        self._count()
        until = self._chain.finish_after(gap)
        if now.content is None:
            now = self._see_absence(now, gap, pending)
        placed = now.deletes | now.absences
        open_now = [loose for loose in pending if not placed & loose.bit]
        limit = open_now[0].finish if open_now else math.inf
        awake = [loose for loose in open_now if loose.wake <= gap] if wake <= gap else []
        due = any(loose.high <= gap for loose in awake)
        urgent = awake or (plan.is_slot(gap) and not credit)
        if now.content is None or not urgent:
            after = [] if due else self.end(now, gap, min(until, limit))
            if after or now.content is None:
                return after
        version = self._numbers[gap] if now.direct else None
        best = self._best_delete(open_now, limit, now.content, version)
        if best is not None:
            trail = (now.trail, gap, best.row)
            gone = Configuration(None, False, now.deletes | best.bit, now.absences, now.used, trail)
            gone = self._see_absence(gone, gap, pending)
            placed = gone.deletes | gone.absences
            if all(loose.high > gap or placed & loose.bit for loose in awake):
                then = next((loose.finish for loose in open_now if not placed & loose.bit), math.inf)
                after = self.end(gone, gap, min(until, then))
                if after:
                    return after
        return [] if due else self.end(now, gap, min(until, limit))

    def _best_delete(self, open_now: list[Loose], limit: float, content: Value, version: int | None) -> Loose | None:
        """The delete to place: one that demands something while it is to be had, else the first to be answered."""
        conditions, results = self._columns.conditions, self._columns.results
        best = None
        for loose in open_now:
            if not loose.is_delete or loose.start > limit:
                continue
            condition = conditions[loose.row]
            if best is not None and condition is None:
                continue
            if effect(DELETE, None, condition, results[loose.row], True, content, version) is not REFUSED:
                if condition is not None:
                    return loose
                best = loose
        return best

    def step(
        self, gap: int, frontier: list[Configuration], pending: list[Loose], hidden: bool, width: int | None
    ) -> list[Configuration]:
        """Everything that can have happened in one gap: the configurations at the beginning of the next. With `width`,
        which says how many of them are wanted, perhaps not everything.
        """
        due_deletes = due_absences = 0
        for loose in pending:
            if loose.high <= gap:
                if loose.is_delete:
                    due_deletes |= loose.bit
                else:
                    due_absences |= loose.bit
        until = self._chain.finish_after(gap)
        unseen = self.unseen(gap) if hidden else None
        visited = Antichain()
        after = Antichain()
        self.dead = []
        work = list(frontier)
        columns = self._columns
        visits = 0
        while work:
            now = work.pop()
            if now.content is None:
                now = self._see_absence(now, gap, pending)
            if not visited.add(now):
                continue
            self._count()
            visits += 1
            if width is not None and visits > _VISITS_PER_CONFIGURATION * width:
                break
            open_now = [loose for loose in pending if not (now.deletes | now.absences) & loose.bit]
            limit = open_now[0].finish if open_now else math.inf
            if now.deletes & due_deletes == due_deletes and now.absences & due_absences == due_absences:
                for reached in self.end(now, gap, min(until, limit)):
                    after.add(reached)
            self.dead.append(now)
            # Of deletes that do and say the same, the one that was answered first.
            best: dict[tuple[Argument, Answer], Loose] = {}
            for loose in open_now:
                if loose.is_delete and loose.start <= limit:
                    call = columns.conditions[loose.row], columns.results[loose.row]
                    best.setdefault(call, loose)
            version = self._numbers[gap] if now.direct else None
            for (condition, result), loose in best.items():
                if effect(DELETE, None, condition, result, True, now.content, version) is REFUSED:
                    continue
                direct = now.direct and now.content is None
                trail = (now.trail, gap, loose.row)
                work.append(Configuration(None, direct, now.deletes | loose.bit, now.absences, now.used, trail))
            if unseen is not None:
                work.extend(self.hidden(now, gap, min(until, limit), bool(open_now), unseen))
        return after.members

    def _count(self) -> None:
        self.states += 1
        self._left -= 1
        if not self.states & 0x3FF:
            self._tick(0x400)
        if self._left < 0:
            raise OutOfBudget

    def _see_absence(self, now: Configuration, gap: int, pending: list[Loose]) -> Configuration:
        """Place every sighting of the absent key that can be placed: it changes nothing, and sooner is never worse."""
        absences, trail = now.absences, now.trail
        open_now = [loose for loose in pending if not (now.deletes | absences) & loose.bit]
        while open_now:
            limit = open_now[0].finish
            placed = [loose for loose in open_now if not loose.is_delete and loose.start <= limit]
            if not placed:
                break
            for loose in sorted(placed, key=lambda each: each.start):
                absences |= loose.bit
                trail = (trail, gap, loose.row)
            open_now = [loose for loose in open_now if not absences & loose.bit]
        if absences == now.absences:
            return now
        return Configuration(None, now.direct, now.deletes, absences, now.used, trail)

    def end(self, now: Configuration, gap: int, until: float) -> list[Configuration]:
        """Leave a gap; out of the last one there is nothing to be made."""
        return [now] if gap + 1 == len(self._numbers) else self._leave(now, gap, until)

    def _leave(self, now: Configuration, gap: int, until: float) -> list[Configuration]:
        """Make the next numbered state, in every way in which it can have been made."""
        following = self._numbers[gap + 1]
        seen = self._seen.get(following, NOT_SEEN)
        version = self._numbers[gap] if now.direct else None
        row = self._writers.get(following, NOBODY)
        columns = self._columns
        if row >= 0:
            value = effect(
                columns.kinds[row],
                columns.arguments[row],
                columns.conditions[row],
                columns.results[row],
                True,
                now.content,
                version,
            )
            if value is REFUSED or (seen is not NOT_SEEN and seen != value) or not self._is_beginning(value, gap + 1):
                return []
            return [Configuration(value, True, now.deletes, now.absences, now.used, now.trail)]  # type: ignore[arg-type]
        reached = []
        for each in self._classes:
            if each.only_for not in (-1, gap + 1):
                continue
            used = self._use(each, now.used, until)
            if used is None:
                continue
            value = effect(each.kind, each.argument, each.condition, None, False, now.content, version)
            # A version that was only demanded is that of a value: an absent key has one only if somebody was told.
            if value is REFUSED or (value is None if seen is NOT_SEEN else seen != value):
                continue
            if not self._is_beginning(value, gap + 1):
                continue
            trail = (now.trail, gap, self._row_used(each, now.used))
            reached.append(Configuration(value, True, now.deletes, now.absences, used, trail))  # type: ignore[arg-type]
        return reached

    def _use(self, each: UnknownClass, used: int, limit: float) -> int | None:
        """The bits with one more of a class used, None if none is left that began by `limit`."""
        count = ((used >> each.offset) & each.mask).bit_count()
        if count == len(each.rows) or each.starts[count] > limit:
            return None
        return used | 1 << (each.offset + count)

    def _row_used(self, each: UnknownClass, used: int) -> int:
        return each.rows[((used >> each.offset) & each.mask).bit_count()]

    def unseen(self, gap: int) -> Hidden | None:
        """What `hidden` needs to know of a gap, None if there are no unknown mutations."""
        return Hidden(self._wanted(gap)) if self._classes else None

    def hidden(self, now: Configuration, gap: int, limit: float, to_place: bool, hidden: Hidden) -> list[Configuration]:
        """Unknown mutations that nobody saw. `hidden` is one gap's."""
        content, used = now.content, now.used
        state = content, now.direct, to_place and content is None
        known = hidden.effective.get(state)
        if known is None:
            # Many configurations differ only in what they have used, and hold one of a few values.
            known = self._effective(*state, gap, hidden.wanted)
            # Or, where sums of increments are tried, nearly all of them differ.
            hidden.kept += len(known)
            if hidden.kept > _EFFECTIVE_MAX:
                hidden.effective.clear()
                hidden.kept = len(known)
            hidden.effective[state] = known
        reached = []
        for each, value in known:
            count = ((used >> each.offset) & each.mask).bit_count()
            if count < len(each.rows) and each.starts[count] <= limit:
                trail = (now.trail, gap, each.rows[count])
                reached.append(
                    Configuration(value, False, now.deletes, now.absences, used | 1 << (each.offset + count), trail)
                )
        return reached

    def _effective(
        self, content: Value, direct: bool, any_value: bool, gap: int, wanted: "frozenset[bytes] | range | None"
    ) -> list[tuple[UnknownClass, Value]]:
        """Unknown mutations that would change `content` to something of use, and to what."""
        version = self._numbers[gap] if direct else None
        effective: list[tuple[UnknownClass, Value]] = []
        for each in self._classes:
            if each.only_for >= 0:
                continue
            value = effect(each.kind, each.argument, each.condition, None, False, content, version)
            if value is REFUSED or value == content:
                continue
            assert value is None or isinstance(value, bytes)
            # Any value will do where the key must be there only so that it can be deleted.
            if value is not None and wanted is not None and not any_value:
                fits = len(value) in wanted if isinstance(wanted, range) else value in wanted
                if not fits:
                    continue
            if not self._is_beginning(value, gap):
                continue
            effective.append((each, value))
        return effective

    def _wanted(self, gap: int) -> "frozenset[bytes] | range | None":
        """Values (or lengths) that unknown mutations may have to bring about before the next state; None: any."""
        if gap + 1 == len(self._numbers):
            return frozenset()
        following = self._numbers[gap + 1]
        seen = self._seen.get(following, NOT_SEEN)
        row = self._writers.get(following, NOBODY)
        columns = self._columns
        first: list[Value] = []
        if row < 0:
            if seen is NOT_SEEN or seen is None:
                return None
            first.append(seen)  # type: ignore[arg-type]
        else:
            kind, argument, result = columns.kinds[row], columns.arguments[row], columns.results[row]
            if kind == DELETE:
                return None
            if kind == CAS:
                first.append(columns.conditions[row])  # type: ignore[arg-type]
            elif kind == SWAP:
                first.append(result)  # type: ignore[arg-type]
            elif kind == INCR:
                after = result if result is not None else seen if seen is not NOT_SEEN else None
                if isinstance(after, bytes):
                    after = number_of(after)
                if after is None:
                    return None
                assert isinstance(after, int)
                assert isinstance(argument, int)
                first.append(text_of(after - argument))
            elif kind == APPEND:
                assert isinstance(argument, bytes)
                if seen is not NOT_SEEN:
                    assert isinstance(seen, bytes)
                    first.append(seen[: len(seen) - len(argument)])
                elif isinstance(result, int):
                    return range(max(22, result - len(argument) + 1)) if self._only_grows() else None
                else:
                    return None
        return self._leading_to(first)

    def _only_grows(self) -> bool:
        """No unknown mutation can turn a long value into a shorter one, but by replacing it."""
        return all(each.kind != CAS for each in self._classes)

    def _leading_to(self, values: list[Value]) -> frozenset[bytes] | None:
        """The values from which unknown mutations can lead to one of `values`, and these; None if they are too many."""
        wanted = {value for value in values if value is not None}
        fresh = list(wanted)
        rounds = sum(len(each.rows) for each in self._classes)
        for _ in range(rounds):
            before: list[bytes] = []
            for value in fresh:
                for each in self._classes:
                    argument = each.argument
                    if each.kind == CAS and argument == value and isinstance(each.condition, bytes):
                        before.append(each.condition)
                    elif each.kind == INCR and isinstance(argument, int):
                        number = number_of(value)
                        if number is not None:
                            before.append(text_of(number - argument))
                    elif each.kind == APPEND and isinstance(argument, bytes) and value.endswith(argument):
                        before.append(value[: len(value) - len(argument)])
            fresh = [value for value in dict.fromkeys(before) if value not in wanted]
            if not fresh:
                break
            wanted.update(fresh)
            if len(wanted) > _WANTED_MAX:
                return None
        return frozenset(wanted)
