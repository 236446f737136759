"""`paxoskv film`: a trace as a film."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from paxoskv.cli import BAD_USAGE, Number, check_not_input, is_given, json_option, to_write
from paxoskv.core.engine import MODE_NAMES

if TYPE_CHECKING:
    from paxoskv.film import Cut, Reel

_BOTH = "both"
_MODES = (*MODE_NAMES, _BOTH)


@click.command(short_help="Turn a trace into a film: one HTML file to watch.")
@click.argument("traces", metavar="[TRACE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=to_write,
    help="Where to write the film.  [default: film.html]",
)
@click.option("--scenario", metavar="NAME", help="A ready story instead of a trace; see --list.")
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    default="paxos",
    show_default=True,
    help="Who plays the scenario; both: side by side, on one clock.",
)
@click.option("--list", "as_list", is_flag=True, help="List the scenarios.")
@click.option("--from", "start", type=Number(), metavar="SECONDS", help="Begin there, in the trace's seconds.")
@click.option("--to", "end", type=Number(), metavar="SECONDS", help="End there.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Only what concerns this key; may be repeated.")
@click.option(
    "--events-max",
    type=click.IntRange(1),
    default=200_000,
    show_default=True,
    help="Events past which a film ends; what was left out is said.",
)
@json_option("One JSON object on standard output.")
def film(
    traces: tuple[Path, ...],
    html: Path | None,
    scenario: str | None,
    mode: str,
    as_list: bool,
    start: float | None,
    end: float | None,
    keys: tuple[str, ...],
    events_max: int,
    as_json: bool,
) -> None:
    """Turn a TRACE into a film: one self-contained HTML file in which it happens again, slowly.

    Two traces stand side by side on one clock. The traces of several live nodes of one cluster become one film. A
    trace comes from `paxoskv simulate --trace`, `paxoskv serve --trace` or `paxoskv verify --trace`; a scenario needs
    none. docs/films.md says how to read a film.

    \b
    Examples:
        paxoskv film --scenario takeover
        paxoskv film --scenario takeover --mode both --html takeover.html
        paxoskv simulate --seeds 17 --trace 17.jsonl
        paxoskv film 17.jsonl --html 17.html
        paxoskv film node-1.jsonl node-2.jsonl node-3.jsonl --key cart

    \b
    Exit codes:
        0  the film is written
        2  a trace cannot be read, or the film not be written
    """
    if as_list:
        _list(as_json)
        return
    target = html or Path("film.html")
    if bool(traces) == (scenario is not None):
        raise click.UsageError("give trace files, or --scenario; `paxoskv film --list` names the scenarios")
    if traces and is_given("mode"):
        raise click.UsageError("--mode says which engine plays a --scenario; a trace has its own")
    if scenario is not None and is_given("events_max"):
        raise click.UsageError("--events-max bounds what is kept of traces; a --scenario is short")
    if start is not None and end is not None and start >= end:
        raise click.UsageError(f"--from {start:g} is not before --to {end:g}")
    for trace in traces:
        check_not_input(target, trace, "--html")
    from paxoskv.film import REELS_MAX, Cut, write_html
    from paxoskv.film.footage import make_reels
    from paxoskv.trace.reading import NotATrace

    cut = Cut(start, end, frozenset(keys) if keys else None)
    try:
        if scenario is not None:
            reels = _play(scenario, mode, cut)
        else:
            with _progress(as_json) as advance:
                reels = make_reels(traces, cut, events_max, advance)
    except NotATrace as error:
        _refuse(str(error), as_json)
    if keys and not any(key in reel.keys for key in keys for reel in reels):
        _refuse(f"nothing happens there to {' or '.join(map(repr, keys))}; check --key, --from and --to", as_json)
    if len(reels) > REELS_MAX:
        _refuse(f"these are {len(reels)} films, and at most {REELS_MAX} fit side by side; give fewer traces", as_json)
    try:
        write_html(target, reels)
    except OSError as error:
        _refuse(f"{target} cannot be written: {error.strerror or error}", as_json)
    _say(target, reels, as_json)


def _play(name: str, mode: str, cut: "Cut") -> "list[Reel]":
    from paxoskv.film import make_reel
    from paxoskv.film.footage import why_empty
    from paxoskv.film.scenarios import SCENARIOS, perform
    from paxoskv.trace.reading import NotATrace

    if name not in SCENARIOS:
        raise click.UsageError(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    modes = MODE_NAMES if mode == _BOTH else (mode,)
    reels = [make_reel(perform(name, each), cut) for each in modes]
    if not all(reel.events for reel in reels):
        raise NotATrace(f"nothing of {name} is left to show: {why_empty(cut)}")
    return reels


def _list(as_json: bool) -> None:
    from paxoskv.film.scenarios import SCENARIOS

    if as_json:
        scenarios = [{"name": each.name, "title": each.title, "text": each.sentence} for each in SCENARIOS.values()]
        click.echo(json.dumps({"scenarios": scenarios}))
        return
    width = max(map(len, SCENARIOS))
    for each in SCENARIOS.values():
        click.echo(f"{each.name:<{width}}  {each.sentence}")
    click.echo("\npaxoskv film --scenario NAME [--mode paxos|raft|both] --html film.html")


@contextlib.contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[int], None]]:
    """Count lines on standard error, on terminals only, and leave nothing of it."""
    wanted = sys.stderr.isatty() and not as_json

    def advance(count: int) -> None:
        if wanted:
            click.echo(f"\r{count:,} lines", err=True, nl=False)

    try:
        yield advance
    finally:
        if wanted:
            click.echo("\r\x1b[K", err=True, nl=False)


def _refuse(sentence: str, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"error": "not-a-film", "definite": True, "message": sentence}))
    click.echo(f"Error: {sentence}", err=True)
    raise SystemExit(BAD_USAGE)


def _say(html: Path, reels: "list[Reel]", as_json: bool) -> None:
    if as_json:
        films = [
            {
                "mode": reel.begin["mode"],
                "title": reel.begin.get("title", ""),
                "events": len(reel.events),
                "keys": len(reel.keys),
                "left_out": reel.left_out,
            }
            for reel in reels
        ]
        click.echo(json.dumps({"html": str(html), "bytes": html.stat().st_size, "films": films}))
        return
    for reel in reels:
        if reel.left_out:
            click.echo(reel.left_out, err=True)
    events = " and ".join(f"{len(reel.events):,} events in {reel.begin['mode']} mode" for reel in reels)
    click.echo(f"{html}: {events}; open it in any browser")
