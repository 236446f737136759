"""What every scenario is: a question, a measurement of one system, and an answer told from the results."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from comparison.links import Delays, Links
from comparison.plots import Plot
from comparison.results import Point, Results
from comparison.systems.contract import Layout, System

_BEGIN_S: Final = 1.7
"""Of a load generator, until it measures."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take."""

    seconds: float = 2.0
    """Of one measurement."""
    quick: bool = False

    def pick(self, usual: Any, quick: Any) -> Any:
        """One of the two."""
        return quick if self.quick else usual


@dataclass(slots=True)
class Turn:
    """One system's turn in one scenario."""

    system: System
    folder: Path
    pace: Pace
    say: Callable[[str], None]
    keep: Callable[[Point, dict[str, Any]], None]
    stack: ExitStack = field(default_factory=ExitStack)
    """What has to be given back at the end of the turn, whatever happens."""
    has: Callable[[Point], bool] = lambda point: False
    """Whether this turn was taken before, and has kept that point."""
    _started: int = 0

    def folders(self, count: int = 3) -> list[Path]:
        """Empty ones, for as many nodes as the system takes."""
        self._started += 1
        place = self.folder / f"{self.system.name}-{self._started}"
        found = [place / f"node-{number}" for number in range(1, min(count, self.system.nodes_max) + 1)]
        for folder in found:
            folder.mkdir(parents=True)
        return found

    def start(self, layout: Layout | None = None) -> None:
        """A fresh cluster of three in place of the last one."""
        self.system.stop()
        self.system.start(layout or Layout(self.folders()))

    def start_linked(self, delays: Delays, round_trip_s: float) -> None:
        """The same, with links between the nodes that delay."""
        links = Links(delays)
        self.stack.callback(links.stop)
        self.stack.callback(self.system.stop)
        self.start(Layout(self.folders(), links=links, round_trip_s=round_trip_s))


@dataclass(slots=True)
class Section:
    """A scenario's part of the README."""

    answer: str
    """One honest sentence."""
    tables: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that figures have in them which were measured before it was mended."""

    until: str
    """When that was, as results tell times."""
    sentence: str


DUE_TOO_EARLY: Final = Flaw(
    "2026-12-01 04:00:00 UTC",
    "These latencies are too long by one interval: when they were measured, the load generators of all systems counted "
    "each operation as due one interval before it could be sent. Take off 2 ms at 500 writes a second, 1 ms at 1,000, "
    "0.5 ms at 2,000, and so on.",
)


class Scenario(ABC):
    """One question."""

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    repeats_max: ClassVar[int] = 99
    measurements: ClassVar[tuple[int, int]]
    """How many a turn makes, usually and if quick; and seconds of it that do not depend on how long one takes."""
    other_s: ClassVar[tuple[float, float]]
    flaw: ClassVar["Flaw | None"] = None
    """What was wrong with how it was measured once."""
    calibrates: ClassVar[bool] = False
    """The prediction for more machines is made from it, so new figures of it make an old prediction worthless."""

    def expected_s(self, pace: Pace) -> float:
        """About how long one system's turn takes, where nothing was measured yet."""
        return float(pace.pick(*self.measurements) * (pace.seconds + _BEGIN_S) + pace.pick(*self.other_s))

    def excludes(self, system: type[System]) -> str | None:
        """Why a system is not asked; None if it is."""
        if system.scenarios is not None and self.name not in system.scenarios:
            return "it was left out for time's sake"
        return self.unfit(system)

    def unfit(self, system: type[System]) -> str | None:
        """Why this scenario cannot ask a system."""
        return None

    def owes(self, system: type[System], has: Callable[[Point], bool]) -> bool:
        """Whether a turn that ended well lacks points that the scenario did not measure yet when it was taken, so that
        it is taken again for these; `has` as in `Turn`."""
        return False

    @abstractmethod
    def run(self, turn: Turn) -> None:
        """Measure one system, started by this."""

    @abstractmethod
    def tell(self, results: Results) -> Section | None:
        """The answer; None when too little was measured."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown; numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float | None, digits: int = 0) -> str:
    """For a table."""
    return "" if value is None else f"{value:,.{digits}f}"


def significant(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def silence(value: float | None) -> str:
    """Milliseconds without an answer to anybody. A timeline has 10 ms to a bin, so what is less was not seen."""
    return "under 10" if value is not None and value < 10 else number(value)
