"""Turns: every scenario asks every system, one after the other, and then all of them again."""

import dataclasses
import functools
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from comparison import disks, results
from comparison.load import LoadFailed
from comparison.processes import Missing
from comparison.results import Point, Results
from comparison.scenarios.contract import Pace, Scenario, Turn
from comparison.systems.contract import BUILD, REPOSITORY, System

# What a turn may end with without taking the others along.
_FAILED: Final = (Missing, LoadFailed, OSError, subprocess.SubprocessError, ValueError)


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to do."""

    systems: Sequence[type[System]]
    scenarios: Sequence[Scenario]
    repeats: int
    pace: Pace
    output: Path
    """The file that the results go to."""
    folder: Path = BUILD
    """Where nodes keep their data for the while."""
    minutes: float | None = None
    """No turn begins after that; None: there is no limit."""
    resume: bool = False
    """Go on with what `output` holds, and take only those turns that did not end well."""
    again: bool = False
    """When resumed: measure these scenarios anew, with all systems."""


def turns(plan: Plan, systems: Sequence[type[System]]) -> list[tuple[Scenario, int, type[System]]]:
    """All scenarios, in each of them all systems; and then all of it again, each time another system first.

    So a slow spell of the machine meets all systems alike, nobody always comes after the same one, repeats lie far
    apart, and who breaks off early has something of everything.
    """
    found = []
    for repeat in range(plan.repeats):
        first = repeat % max(1, len(systems))
        for scenario in plan.scenarios:
            for kind in [*systems[first:], *systems[:first]]:
                if repeat < scenario.repeats_max and scenario.excludes(kind) is None:
                    found.append((scenario, repeat, kind))  # noqa: PERF401 (three loops in one line)
    return found


def run(plan: Plan, say: Callable[[str], None]) -> Results:
    """Carry the plan out, saving after every turn. KeyboardInterrupt is for the caller; what was measured is saved.

    Raises ValueError when it is to go on with results that it cannot go on with.
    """
    found = _begin(plan)
    systems = _install(plan, found, say)
    for scenario in plan.scenarios:
        for kind in systems:
            if reason := scenario.excludes(kind):
                found.unfit.setdefault(scenario.name, {})[kind.name] = reason
    began = time.monotonic()
    everything = [
        (scenario, repeat, kind)
        for scenario, repeat, kind in turns(plan, systems)
        if not found.has_done(scenario.name, kind.name, repeat)
        or scenario.owes(kind, functools.partial(found.has, scenario.name, kind.name, repeat))
    ]
    expected = sum(_expected_s(plan, found, scenario, kind) for scenario, _, kind in everything)
    say(f"{len(everything)} turns to take, in about {expected / 60:,.0f} minutes" + _limit(plan))
    names = {turn: f"{turn[0].name}, {turn[2].name}, round {turn[1] + 1}" for turn in everything}
    # Until they are taken, however this ends.
    found.skipped += [name for name in names.values() if name not in found.skipped]
    found.save(plan.output)
    try:
        for index, turn in enumerate(everything):
            if plan.minutes is not None and time.monotonic() - began > plan.minutes * 60:
                break
            scenario, repeat, kind = turn
            found.forget(scenario.name, kind.name, repeat)
            if scenario.calibrates:
                found.predictions = {}
            progress = f"{index + 1}/{len(everything)} {names[turn]}"
            _take_turn(plan, found, scenario, repeat, kind, functools.partial(_tell, say, progress))
            found.skipped.remove(names[turn])
            found.save(plan.output)
        found.complete = bool(found.records) and not found.failures and not found.skipped
    finally:
        found.about["ended"] = results.now()
        found.save(plan.output)
    return found


def _take_turn(
    plan: Plan, found: Results, scenario: Scenario, repeat: int, kind: type[System], say: Callable[[str], None]
) -> None:
    system = kind()
    plan.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=plan.folder))

    def keep(point: Point, data: dict[str, Any]) -> None:
        record = {"scenario": scenario.name, "system": system.name, "repeat": repeat, "point": point, "data": data}
        found.records.append(_rounded(record))

    say("starting")
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            # Last of all, when no process uses it and nothing is mounted in it.
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.callback(system.stop)
            has = functools.partial(found.has, scenario.name, system.name, repeat)
            scenario.run(Turn(system, folder, plan.pace, say, keep, stack, has))
            found.about["systems"][system.name]["configuration"] = system.configuration()
        found.end(scenario.name, system.name, repeat, time.monotonic() - began)
    except _FAILED as error:
        text = str(error) or type(error).__name__
        found.failures.append({"scenario": scenario.name, "system": system.name, "repeat": repeat, "text": text})
        say(f"FAILED: {text}")


def _expected_s(plan: Plan, found: Results, scenario: Scenario, kind: type[System]) -> float:
    """Of one turn: as long as it took last time, or else as the scenario thinks."""
    taken = [
        float(turn["seconds"])
        for turn in found.done
        if (turn["scenario"], turn["system"]) == (scenario.name, kind.name)
    ]
    return statistics.median(taken) if taken else scenario.expected_s(plan.pace)


def _limit(plan: Plan) -> str:
    return "" if plan.minutes is None else f", of which none begins after {plan.minutes:g}"


def _begin(plan: Plan) -> Results:
    """Empty results, or those that are to be completed."""
    about = _about(plan)
    if not plan.resume or not plan.output.exists():
        return Results(about=about)
    found = Results.load(plan.output)
    before = found.about
    for name, new, old in (
        *((name, about["options"][name], before["options"][name]) for name in ("seconds", "quick")),
        *((name, about["machine"][name], before["machine"][name]) for name in ("processors", "model", "kernel")),
    ):
        if new != old:
            raise ValueError(
                f"{plan.output} cannot be gone on with: {name} is {new}, and was {old}; "
                "begin anew, or give another --out"
            )
    machine = {name: about["machine"][name] for name in ("python", "python_step_ns", "fdatasync_ms")}
    resumed = {"began": about["began"], "commit": about["commit"], "machine": machine}
    if plan.again:
        names = [scenario.name for scenario in plan.scenarios]
        for name in names:
            found.reopen(name, plan.repeats)
        for earlier in before.get("resumed", []):
            if "again" in earlier:
                earlier["again"] = [name for name in earlier["again"] if name not in names]
        resumed["again"] = names
    # An earlier sitting of which nothing is left is none.
    before["resumed"] = [each for each in before.get("resumed", []) if each.get("again", True)] + [resumed]
    before["options"] |= {
        "repeats": max(plan.repeats, before["options"]["repeats"]),
        "minutes": plan.minutes,
        "scenarios": list(dict.fromkeys([*before["options"]["scenarios"], *about["options"]["scenarios"]])),
    }
    found.complete = False
    return found


def _tell(say: Callable[[str], None], progress: str, text: str) -> None:
    say(f"{progress}: {text}")


def _rounded(value: Any) -> Any:
    """Six digits are more than was measured."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < 1e8 else value
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def _install(plan: Plan, found: Results, say: Callable[[str], None]) -> list[type[System]]:
    systems = []
    for kind in plan.systems:
        say(f"installing {kind.name}")
        try:
            versions = kind().install()
        except Missing as missing:
            found.left_out[kind.name] = str(missing)
            say(f"left out: {kind.name}: {missing}")
            continue
        systems.append(kind)
        found.left_out.pop(kind.name, None)
        before = found.about["systems"].get(kind.name, {})
        found.about["systems"][kind.name] = {
            "title": kind.title,
            "versions": versions,
            "durability": kind.durability,
            "reads": kind.reads,
            "client": kind.client,
            "configuration": before.get("configuration", {}),
        }
    return systems


def _about(plan: Plan) -> dict[str, Any]:
    plan.folder.mkdir(parents=True, exist_ok=True)
    return {
        "began": results.now(),
        "commit": results.commit(REPOSITORY),
        "machine": results.machine() | {"fdatasync_ms": round(disks.sync_ms(plan.folder), 3)},
        "options": {
            "seconds": plan.pace.seconds,
            "quick": plan.pace.quick,
            "repeats": plan.repeats,
            "minutes": plan.minutes,
            "scenarios": [scenario.name for scenario in plan.scenarios],
        },
        "systems": {},
    }
