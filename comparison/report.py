"""The README: written from results, so that it says nothing that was not measured."""

from pathlib import Path
from typing import Any, Final

from comparison import choosing, plots
from comparison.results import Results
from comparison.scenarios import ALL
from comparison.scenarios.contract import Section

PLOTS: Final = "plots"
_LIMITS: Final = """## What was not measured

- Networks. Everything is loopback, where a message costs processor time rather than time; the wide area is delays
  alone, without loss and without limits of bandwidth.
- Machines of one's own for each node. Nodes and load generators share the processors, so a system that is written in a
  slower language pays for it here, paxoskv first of all, and spreading work over nodes gains nothing.
- What these systems do besides: transactions, watches, leases, histories of keys, authentication, changes of
  membership. etcd and ZooKeeper have most of these, paxoskv does not.
- Stores larger than memory, and days of running.
- Tuning. Every system has its defaults but for what stands in the raw results under `configuration`."""


def sections(results: Results) -> dict[str, Section]:
    """By scenario, those that can be told."""
    found = {name: scenario.tell(results) for name, scenario in ALL.items()}
    return {name: section for name, section in found.items() if section is not None}


def write(results: Results, source: Path, folder: Path) -> list[Path]:
    """README.md and its plots in `folder`, from results that are kept in `source`. What was written."""
    told = sections(results)
    written = [plots.write(plot, folder / PLOTS) for section in told.values() for plot in section.plots]
    readme = folder / "README.md"
    readme.write_text(_readme(results, told, source, folder), encoding="utf-8")
    return [readme, *written]


def _readme(results: Results, told: dict[str, Section], source: Path, folder: Path) -> str:
    parts = ["# paxoskv beside other systems", choosing.sentences(results)]
    if not results.complete:
        parts.append(_incomplete(results))
    parts += [_how(results, source, folder), _who(results)]
    for name, section in told.items():
        parts.append(_section(results, name, section))
    parts += [choosing.where_raft_wins(results), _LIMITS, _unasked(told)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(results: Results, name: str, section: Section) -> str:
    scenario = ALL[name]
    rounds = 1 + max(record["repeat"] for record in results.select(name))
    often = "once" if rounds == 1 else f"{rounds} times"
    about = f"*{scenario.question}* (`--scenario {name}`, measured {often})"
    parts = [f"## {scenario.title}", about, section.answer]
    if scenario.flaw is not None and _measured_at(results, name) < scenario.flaw.until:
        parts.append(f"**{scenario.flaw.sentence}**")
    parts += [f"![{plot.title}]({PLOTS}/{plot.name}.svg)" for plot in section.plots]
    parts += section.tables
    parts += section.notes
    if absent := results.unfit.get(name):
        why = "; ".join(f"{results.title(system)}: {reason}" for system, reason in absent.items())
        parts.append(f"Not asked: {why}.")
    return "\n\n".join(parts)


def _measured_at(results: Results, name: str) -> str:
    """When a scenario was last begun anew."""
    again = [resumed["began"] for resumed in results.about.get("resumed", []) if name in resumed.get("again", [])]
    return str([results.about["began"], *again][-1])


def _incomplete(results: Results) -> str:
    lines = ["> **Not complete.** What is here was measured; this was not:"]
    lines += [
        f"> - {failure['scenario']}, {failure['system']}, round {failure['repeat'] + 1}: {_short(failure['text'])}"
        for failure in results.failures
    ]
    rounds: dict[str, set[str]] = {}
    for text in results.skipped:
        rounds.setdefault(text.partition(", ")[0], set()).add(text.rpartition(" ")[2])
    if rounds:
        shown = "; ".join(f"{name} {' and '.join(sorted(numbers))}" for name, numbers in rounds.items())
        lines.append(f"> - these rounds, or some systems in them: {shown}")
    if len(lines) == 1:
        lines.append("> - whatever came after it was interrupted")
    return "\n".join(lines)


def _unasked(told: dict[str, Section]) -> str:
    """Scenarios that this run had nothing of."""
    lines = [f"- {scenario.question} (`--scenario {name}`)" for name, scenario in ALL.items() if name not in told]
    return "\n".join(["Questions that there are, and that this run did not ask:", "", *lines]) if lines else ""


def _short(text: str) -> str:
    return text.replace("\n", " ")[-200:]


def _how(results: Results, source: Path, folder: Path) -> str:
    about, machine = results.about, results.about["machine"]
    name = source.relative_to(folder) if source.is_relative_to(folder) else source
    options = about["options"]
    as_made = f"    .venv/bin/python -m comparison --seconds {options['seconds']:g}" + " --quick" * options["quick"]
    return "\n\n".join(
        [
            "## How it was measured, and how to repeat it",
            "    make compare                                       # everything, three rounds: two to three hours\n"
            f"{as_made:<55}# as this page was made\n"
            "    .venv/bin/python -m comparison --minutes 30        # the same in pieces: the first half hour of it,\n"
            "    .venv/bin/python -m comparison --minutes 30 --resume # and the next, until it exits with 0\n"
            "    .venv/bin/python -m comparison --quick             # an answer in about five minutes\n"
            "    .venv/bin/python -m comparison --only leaderless,etcd --scenario failure\n"
            "    .venv/bin/python -m comparison --resume --again --scenario ycsb # one of them anew\n"
            "    .venv/bin/python -m comparison --render            # this page again, from the raw results",
            "It installs what it needs (on Debian, as root; elsewhere it says what is missing and leaves that system "
            "out), starts three nodes of each system on loopback, their data on one disk, gives all of them the same "
            f"keys (10,000), values (64 bytes unless said otherwise) and numbers of clients, in turn, each scenario "
            f"{options['repeats']} time{'s' * (options['repeats'] != 1)}, each time another system first. Figures are "
            "medians of the repeats; where there was no time for all of them, of fewer.",
            f"These are of {about['began']} at commit `{about['commit'] or 'unknown'}`{_resumed(about)}: "
            f"{machine['processors']} processors ({machine['model']}), {machine['memory_gib']} GiB, "
            f"Linux {machine['kernel']}, {_python(machine)}, {options['seconds']:g} s for each figure, an fdatasync "
            f"takes {machine['fdatasync_ms']} ms there. Raw results: [{name}]({name}).",
            *(_again(resumed) for resumed in about.get("resumed", []) if "again" in resumed),
            "The nodes and the load generators share the processors: the figures compare, they are no capacity plan. "
            "The load generator for paxoskv is written in Python and takes as much of the machine as its nodes do; "
            "those in Go take less.",
        ]
    )


def _resumed(about: dict[str, Any]) -> str:
    """When and at which other commits the run was gone on with."""
    return "".join(
        f", gone on with {resumed['began']} at `{resumed['commit'] or 'unknown'}`{_on_another(resumed, about)}"
        for resumed in about.get("resumed", [])
        if "again" not in resumed
    )


def _on_another(resumed: dict[str, Any], about: dict[str, Any]) -> str:
    """The Python of a later sitting, if it was another one."""
    later = resumed.get("machine", about["machine"])
    return "" if later["python"] == about["machine"]["python"] else f" with {_python(later)}"


def _again(resumed: dict[str, Any]) -> str:
    """Which scenarios were measured anew, when and on what."""
    machine = resumed["machine"]
    return (
        f"Measured again, {resumed['began']} at commit `{resumed['commit'] or 'unknown'}` with {_python(machine)} (an "
        f"fdatasync took {machine['fdatasync_ms']} ms), all systems in turns: "
        + ", ".join(ALL[name].title for name in resumed["again"])
        + "."
    )


def _python(machine: dict[str, Any]) -> str:
    """The version, and how quick the build is: with or without a profile makes a third of a difference."""
    step_ns = machine.get("python_step_ns")
    return f"CPython {machine['python']}" + (f" ({step_ns:g} ns for a step of a small loop)" if step_ns else "")


def _who(results: Results) -> str:
    rows = []
    for system in results.about["systems"].values():
        versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
        rows.append([system["title"], versions, system["durability"], system["reads"], system["client"]])
    head = ["", "versions", "a write is answered when it is", "a read is", "client"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    parts = ["## Who", "\n".join(lines)]
    if results.left_out:
        parts.append("Left out:\n\n" + "\n".join(f"- {name}: {why}" for name, why in results.left_out.items()))
    return "\n\n".join(parts)
