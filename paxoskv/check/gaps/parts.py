"""What is to be placed in gaps, ways in which things can have gone, and which of those to keep."""

from dataclasses import dataclass

from paxoskv.check.history import APPEND, DELETE, INCR, Argument, Value
from paxoskv.check.semantics import number_of


@dataclass(slots=True, eq=False)
class Loose:
    """A delete that told no version, or a sighting of the absent key: to be placed in a gap from `low` to `high`."""

    row: int
    is_delete: bool
    low: int
    high: int
    start: float
    finish: float
    bit: int = 0
    """Its place in a configuration, while it is pending."""
    wake: int = 0
    """The gap at which to look at it, by plan, if it still is pending then."""


@dataclass(slots=True, eq=False)
class UnknownClass:
    """Mutations of unknown outcome that would do the same. The one that started first is always as good as another."""

    kind: int
    argument: Argument
    condition: Argument
    rows: list[int]
    starts: list[float]
    offset: int
    """Where its bits begin in a configuration's `used`."""
    mask: int = 0
    only_for: int = -1
    """The one position that nothing else can have made, if there is one: kept for that."""

    def can_make(self, value: Value) -> bool:
        """Whether some state lets one of them lead to `value`."""
        if self.kind == DELETE:
            return value is None
        if value is None:
            return False
        if self.kind == INCR:
            return number_of(value) is not None
        if self.kind == APPEND:
            assert isinstance(self.argument, bytes)
            return value.endswith(self.argument)
        return self.argument == value


Trail = tuple["Trail | None", int, int]
"""Operations placed in gaps: what came before, the gap, the row."""


@dataclass(slots=True, eq=False)
class Configuration:
    """One way in which things can have gone so far."""

    content: Value
    direct: bool
    """Nothing has happened in this gap yet: the state is the numbered one."""
    deletes: int
    """Bits of the pending loose deletes that have been placed."""
    absences: int
    used: int
    """Bits of the unknown mutations that have been used."""
    trail: Trail | None


class Antichain:
    """Configurations of which none is as good as another in every respect."""

    def __init__(self) -> None:
        self._by_state: dict[tuple[Value, bool, int], list[Configuration]] = {}

    def add(self, new: Configuration) -> bool:
        """Keep `new` unless one at hand is as good; drop those that it is as good as."""
        state = (new.content, new.direct, new.deletes)
        rivals = self._by_state.get(state)
        if rivals is None:
            self._by_state[state] = [new]
            return True
        for rival in rivals:
            if rival.used & ~new.used == 0 and new.absences & ~rival.absences == 0:
                return False
        rivals[:] = [rival for rival in rivals if new.used & ~rival.used or rival.absences & ~new.absences]
        rivals.append(new)
        return True

    @property
    def members(self) -> list[Configuration]:
        """What was kept."""
        return [each for rivals in self._by_state.values() for each in rivals]
