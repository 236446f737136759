"""`paxoskv check`: is a recorded history linearizable?"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from paxoskv.check.formats import FORMATS, MODELS, Unreadable
from paxoskv.cli import check_not_input, json_option, make_console, to_write

if TYPE_CHECKING:
    from rich.progress import Progress

    from paxoskv.check import History, KeyVerdict, Result

_EXIT_CODES = {"ok": 0, "illegal": 1, "unknown": 3}
_UNREADABLE = 2
_KEYS_SHOWN_MAX = 20
_VERDICTS = {
    "ok": "linearizable",
    "illegal": "NOT linearizable",
    "unknown": "unknown: the search ran out of its budget",
}


@click.command(short_help="Check a recorded history for linearizability.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="auto",
    show_default=True,
    help="What FILE is written in.",
)
@click.option(
    "--model",
    type=click.Choice(MODELS),
    default="auto",
    show_default=True,
    help="What each key is; anything that it cannot do is then an error. auto: whatever was done to it.",
)
@click.option("--initial", help="What every key held at first, if not nothing; for formats that cannot say it.")
@click.option(
    "--budget",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="States to visit for one key, where a search is needed; about 30,000 a second.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=to_write,
    help="Write a report to look at: one file, for any browser.",
)
@click.option(
    "--linearization",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=to_write,
    help="Write the order that was found, key by key, for every key that has one.",
)
@json_option("One JSON object on standard output.")
def check(
    file: str,
    format_: str,
    model: str,
    initial: str | None,
    budget: int,
    html: Path | None,
    linearization: Path | None,
    as_json: bool,
) -> None:
    """Check whether the history in FILE is linearizable: whether one order of all operations, each at a moment between
    its call and its answer, explains every answer. FILE may be - for standard input.

    Reads JSON Lines (docs/history-format.md), Jepsen's EDN and the lines that jepsen.util logs. Prints a sentence and
    at most six operations for each key that is wrong.

    \b
    Exit codes:
        0  linearizable
        1  not linearizable
        2  FILE cannot be read, or --html cannot be written
        3  unknown: the search for an order ran out of its budget, or no call
           was answered

    \b
    Examples:
        paxoskv check history.jsonl --html report.html
        paxoskv check --format jepsen-edn history.edn
        zcat history.jsonl.gz | paxoskv check -
    """
    check_not_input(html, file, "--html")
    check_not_input(linearization, file, "--linearization")
    if html is not None and linearization is not None and html.absolute() == linearization.absolute():
        raise click.UsageError("--html and --linearization are one file; give two")
    from paxoskv.check import check as run

    with _progress() as progress:
        began = time.perf_counter()
        try:
            history = _read(file, format_, model, initial, progress)
        except Unreadable as error:
            _refuse(f"{'standard input' if file == '-' else file}: {error}", as_json)
        read_s = time.perf_counter() - began
        with contextlib.ExitStack() as stack:
            orders = None if linearization is None else stack.enter_context(linearization.open("w", encoding="utf-8"))
            bar = progress.add_task("checking", total=len(history.keys)) if progress is not None else None
            searched = 0

            def on_key(verdict: "KeyVerdict") -> None:
                nonlocal searched
                searched = 0
                if orders is not None and verdict.order is not None:
                    from paxoskv.check.linearization import write_key

                    write_key(orders, verdict.key, history.columns(verdict.key), verdict.order)
                    verdict.order = None
                if progress is not None and bar is not None:
                    progress.update(bar, advance=1, description="checking")

            def tick(states: int) -> None:
                nonlocal searched
                searched += states
                if progress is not None and bar is not None:
                    progress.update(bar, description=f"checking: {searched:,} states of one key")

            result = run(history, budget=budget, orders=orders is not None, on_key=on_key, tick=tick)
    report_missing = False
    if html is not None:
        from paxoskv.check.report import write_html

        try:
            write_html(html, history, result, source=file if file != "-" else "")
        except OSError as error:
            click.echo(f"the report cannot be written to {html}: {error.strerror}", err=True)
            html = None
            report_missing = True
    if as_json:
        click.echo(json.dumps(_fields(result, read_s) | ({} if html is None else {"report": str(html)})))
    else:
        _show(history, result, read_s, html)
    # What is wrong with the history matters more than what is wrong with the disk.
    raise SystemExit(_EXIT_CODES[result.verdict.value] or (_UNREADABLE if report_missing else 0))


def _refuse(sentence: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"error": "unreadable", "definite": True, "message": sentence}))
    click.echo(f"unreadable: {sentence}", err=True)
    raise SystemExit(_UNREADABLE)


@contextlib.contextmanager
def _progress() -> "Iterator[Progress | None]":
    """Bars on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    with Progress(console=make_console(stderr=True), transient=True) as progress:
        yield progress


def _read(file: str, format_: str, model: str, initial: str | None, progress: "Progress | None") -> "History":
    from paxoskv.check.formats import read

    with contextlib.ExitStack() as stack:
        source: BinaryIO = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        bar = None
        if progress is not None:
            size = os.fstat(source.fileno()).st_size if file != "-" else None
            bar = progress.add_task("reading", total=size or None)

        def advance(count: int) -> None:
            if progress is not None and bar is not None:
                progress.update(bar, advance=count)

        value = None if initial is None else os.fsencode(initial)
        return read(source, format=format_, model=model, initial=value, progress=advance)


def _name(key: bytes) -> str:
    from paxoskv.check.sentences import quote

    return quote(key) if key else "the only key"


def _fields(result: "Result", read_s: float) -> dict[str, Any]:
    from paxoskv.check.formats import line_of_operation

    keys = []
    for each in result.keys:
        fields: dict[str, Any] = {
            "key": each.key.decode(errors="backslashreplace"),
            "verdict": each.verdict.value,
            "way": each.way.value,
            "why": each.why,
            "operations": each.operations,
            "states": each.states,
            "seconds": round(each.seconds, 6),
        }
        if each.sentence:
            fields["sentence"] = each.sentence
        if each.witness:
            fields["witness"] = [json.loads(line_of_operation(one, number=one.number)) for one in each.witness]
        keys.append(fields)
    return {
        "verdict": result.verdict.value,
        "operations": result.operations,
        "clients": result.clients,
        "outcomes": result.outcomes,
        "ways": result.ways,
        "read_s": round(read_s, 3),
        "check_s": round(result.seconds, 3),
        "keys": keys,
    }


def _show(history: "History", result: "Result", read_s: float, html: Path | None) -> None:
    from rich.table import Table

    from paxoskv.check.sentences import describe

    # What is proven wrong before what ran out of its budget.
    wrong = sorted([each for each in result.keys if each.sentence], key=lambda each: not each.witness)
    for each in wrong[:_KEYS_SHOWN_MAX]:
        click.echo(f"{_name(each.key)}: {each.sentence}")
        for one in each.witness:
            click.echo(f"    {one.number:>8}  {describe(one, history.time_unit)}")
        click.echo()
    if len(wrong) > _KEYS_SHOWN_MAX:
        click.echo(f"and {len(wrong) - _KEYS_SHOWN_MAX:,} more keys like these; --json shows all\n")
    console = make_console()
    table = Table("key", "operations", "verdict", "checked by", "because", box=None, padding=(0, 2, 0, 0))
    # Those first that one looks for.
    ranked = sorted(result.keys, key=lambda each: (each.verdict.value == "ok", each.way.value != "search"))
    for each in ranked[:_KEYS_SHOWN_MAX]:
        by = each.way.value + (f", {each.states:,} states" if each.states else "")
        table.add_row(_name(each.key), f"{each.operations:,}", each.verdict.value, by, each.why)
    console.print(table, markup=False)
    if len(ranked) > _KEYS_SHOWN_MAX:
        click.echo(f"and {len(ranked) - _KEYS_SHOWN_MAX:,} more keys; --json shows all")
    click.echo()
    for kind, outcomes in result.outcomes.items():
        click.echo(f"{kind:>8}  " + ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()))
    click.echo(
        f"{result.operations:,} operations of {result.clients:,} clients on {len(result.keys):,} keys, read in "
        f"{read_s:.2f} s, checked in {result.seconds:.2f} s"
    )
    if html is not None:
        click.echo(f"report: {html}")
    elif result.violations:
        click.echo("To look at it: --html report.html")
    if not result.answered:
        click.echo(f"unknown: none of the {result.operations:,} calls was answered, so the history proves nothing")
    else:
        click.echo(_VERDICTS[result.verdict.value])
