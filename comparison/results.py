"""The raw results of one run: a JSON file, one record a line, written again after every turn so that none is lost."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FORMAT: Final = 1
Point = dict[str, Any]


@dataclass(slots=True)
class Results:
    """What was measured, on what, and what was not."""

    about: dict[str, Any] = field(default_factory=dict)
    """Machine, versions, configurations, options, when."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """Each: scenario, system, repeat, point (what was set), data (what came of it)."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Systems that are not here, and why."""
    unfit: dict[str, dict[str, str]] = field(default_factory=dict)
    """By scenario, systems that it does not ask, and why."""
    failures: list[dict[str, Any]] = field(default_factory=list)
    """Turns that ended in an error."""
    done: list[dict[str, Any]] = field(default_factory=list)
    """Turns that ended well: scenario, system, repeat, and how many seconds they took."""
    skipped: list[str] = field(default_factory=list)
    """Turns that were not taken, or not to their end: for want of time, or because it was interrupted."""
    complete: bool = False
    predictions: dict[str, Any] = field(default_factory=dict)
    """What was not measured, by system: see `comparison.prediction`."""

    def save(self, path: Path) -> None:
        """Replace the file in one step."""
        head = {
            "format": FORMAT,
            "complete": self.complete,
            "about": self.about,
            "left_out": self.left_out,
            "unfit": self.unfit,
            "failures": self.failures,
            "done": self.done,
            "skipped": self.skipped,
            "predictions": self.predictions,
        }
        lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in self.records)
        text = f'{json.dumps(head, indent=1)[:-2]},\n "records": [\n{lines}\n]}}\n'
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Raises ValueError with a sentence."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise ValueError(f"it has format {found['format']}, and this program reads {FORMAT}")
            del found["format"]
            return cls(**found)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no results of this program: {error}") from None

    # Turns.

    def has_done(self, scenario: str, system: str, repeat: int) -> bool:
        """Whether that turn ended well."""
        return any(_is_turn(turn, scenario, system, repeat) for turn in self.done)

    def forget(self, scenario: str, system: str, repeat: int) -> None:
        """What a turn left behind that did not end well, and is taken again. What has ended well is kept: only more
        points are added to it."""
        if not self.has_done(scenario, system, repeat):
            self.records = [record for record in self.records if not _is_turn(record, scenario, system, repeat)]
        self.failures = [failure for failure in self.failures if not _is_turn(failure, scenario, system, repeat)]

    def reopen(self, scenario: str, repeats: int) -> None:
        """Have all its turns taken again, so many times. What one of them left behind stays until then."""
        self.done, self.failures = (
            [each for each in kept if each["scenario"] != scenario] for kept in (self.done, self.failures)
        )
        self.records = [each for each in self.records if each["scenario"] != scenario or each["repeat"] < repeats]
        self.skipped = [name for name in self.skipped if not name.startswith(f"{scenario}, ")]

    def end(self, scenario: str, system: str, repeat: int, seconds: float) -> None:
        """A turn ended well after so long, perhaps after it had ended well before."""
        for turn in self.done:
            if _is_turn(turn, scenario, system, repeat):
                turn["seconds"] = round(turn["seconds"] + seconds, 1)
                return
        self.done.append({"scenario": scenario, "system": system, "repeat": repeat, "seconds": round(seconds, 1)})

    def has(self, scenario: str, system: str, repeat: int, point: Point) -> bool:
        """Whether a turn has kept that point."""
        return any(record["repeat"] == repeat for record in self.select(scenario, system, **point))

    # Looking at them.

    def select(self, scenario: str, system: str | None = None, **point: Any) -> Iterator[dict[str, Any]]:
        """Records of a scenario whose point has these values."""
        for record in self.records:
            fits = record["scenario"] == scenario and system in (None, record["system"])
            if fits and all(record["point"].get(name) == value for name, value in point.items()):
                yield record

    def values(self, scenario: str, system: str, name: str, **point: Any) -> list[float]:
        """One figure of each repeat."""
        found = [record["data"].get(name) for record in self.select(scenario, system, **point)]
        return [float(value) for value in found if value is not None]

    def median(self, scenario: str, system: str, name: str, **point: Any) -> float | None:
        """Of the repeats; None when it was not measured."""
        values = self.values(scenario, system, name, **point)
        return statistics.median(values) if values else None

    def systems(self, scenario: str, **point: Any) -> list[str]:
        """Those that were measured, in the order in which the comparison has them."""
        there = {record["system"] for record in self.select(scenario, None, **point)}
        return [name for name in self.about.get("systems", {}) if name in there]

    def points(self, scenario: str, name: str, **point: Any) -> list[Any]:
        """The values that one setting took, in order; where it was set."""
        found = {record["point"].get(name) for record in self.select(scenario, None, **point)}
        return sorted(value for value in found if value is not None)

    def title(self, system: str) -> str:
        """A system's name for people."""
        found: str = self.about["systems"][system]["title"]
        return found


def _is_turn(found: dict[str, Any], scenario: str, system: str, repeat: int) -> bool:
    return (found["scenario"], found["system"], found["repeat"]) == (scenario, system, repeat)


def machine() -> dict[str, Any]:
    """What the figures are measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processors": os.cpu_count(),
        "model": model,
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "python_step_ns": round(_step_ns(), 1),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _step_ns() -> float:
    """How long this interpreter takes for a step of a small loop: builds of one version differ by a third, according to
    whether their compiler was guided by a profile."""
    steps = 100_000
    table = {number: number for number in range(16)}
    best = float("inf")
    for _ in range(5):
        total = 0
        began = time.perf_counter()
        for number in range(steps):
            total += table[number & 15]
        best = min(best, time.perf_counter() - began)
    return best * 1e9 / steps


def commit(repository: Path) -> str:
    """Which one this is, and whether something was changed since; empty outside git."""
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def now() -> str:
    """For the record."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
