"""`paxoskv explore`: every interleaving of a few operations."""

import json
import sys

import click

from paxoskv.cli import check_asserts, json_option
from paxoskv.core.build import COMPILED
from paxoskv.core.engine import MODE_NAMES
from paxoskv.core.errors import ConfigurationError

_DIGITS_MAX = 9
_EXAMPLES = "1: incr a; 2: incr a"


def _operations(
    context: click.Context, parameter: click.Parameter, text: str
) -> tuple[tuple[int, tuple[int, bytes, bytes | int | None, bytes | int | None]], ...]:
    """`1: incr a; 2: cas a new if old` as (node, request) pairs."""
    from paxoskv.check.history import KINDS
    from paxoskv.core import operations

    found = []
    for part in filter(str.strip, text.split(";")):
        node, colon, request = part.partition(":")
        words, _, condition = request.partition(" if ")
        name, *rest = words.split() or [""]
        if (
            not colon
            or not node.strip().isdecimal()
            or len(node.strip()) > _DIGITS_MAX
            or name not in KINDS
            or not rest
        ):
            raise click.BadParameter(
                f"{part.strip()!r} is no operation; write NODE: KIND KEY [VALUE] [if VALUE], as {_EXAMPLES!r}; "
                f"kinds are {', '.join(KINDS)}"
            )
        kind = operations.KIND_NAMES.index(name)
        value = rest[1] if len(rest) > 1 else None
        try:
            argument: bytes | int | None = value.encode() if value is not None else None
            if kind == operations.INCR:
                argument = int(value or 1)
            expected: bytes | int | None = condition.strip().encode() or None
            if expected is not None and kind in (operations.PUT, operations.DELETE):
                expected = int(expected)
        except ValueError:
            raise click.BadParameter(f"{part.strip()!r}: a number was expected") from None
        if not operations.is_well_formed(kind, argument, expected):
            raise click.BadParameter(f"{part.strip()!r}: {name} takes other words than these")
        found.append((int(node), (kind, rest[0].encode(), argument, expected)))
    return tuple(found)


@click.command(short_help="Visit every interleaving of a few operations.")
@click.option("--mode", type=click.Choice(MODE_NAMES), default="paxos", show_default=True, help="Which engine to run.")
@click.option(
    "--operations", default=_EXAMPLES, show_default=True, callback=_operations, help="What clients ask, by node."
)
@click.option("--nodes", type=click.IntRange(1, 5), default=3, show_default=True, help="Of the cluster.")
@click.option("--losses", type=click.IntRange(0), default=0, show_default=True, help="Frames that may be lost.")
@click.option(
    "--duplicates", type=click.IntRange(0), default=0, show_default=True, help="Frames that may arrive twice."
)
@click.option(
    "--crashes", type=click.IntRange(0), default=0, show_default=True, help="Nodes that may crash and start again."
)
@click.option(
    "--ticks",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How often all time-outs may pass; raft: how often a leader's heartbeat may be due.",
)
@click.option(
    "--timeouts",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Raft: how often a node may hear of no leader for too long, and so how many elections there are.",
)
@click.option(
    "--begin",
    type=click.Choice(["elected", "cold", "earlier-term"]),
    default="elected",
    show_default=True,
    help="Raft: node 1 leads; nobody leads, all logs are empty; or figure 3.7 of Raft's dissertation, (c).",
)
@click.option("--slow-disks", is_flag=True, help="Let everything else happen between a turn and its commit.")
@click.option("--states", type=click.IntRange(1), default=200_000, show_default=True, help="Stop there.")
@json_option("One JSON object on standard output.")
def explore(
    mode: str,
    operations: tuple[tuple[int, tuple[int, bytes, bytes | int | None, bytes | int | None]], ...],
    nodes: int,
    losses: int,
    duplicates: int,
    crashes: int,
    ticks: int,
    timeouts: int,
    begin: str,
    slow_disks: bool,
    states: int,
    as_json: bool,
) -> None:
    """Visit every interleaving of a few operations, over the engine that serves.

    Breadth first: deliveries in every order, and as many losses, duplicates, crashes and time-outs as are allowed, at
    every point. Checked in every state: the invariants, and that what clients were told is linearizable; where nothing
    is in flight any more, also what every node then reads; in raft mode the five safety properties of its paper. Prints
    the shortest way to a violation, if there is one. Exit code 0: none within the bounds; 1: a violation; 3: none so
    far, but --states ended the search.

    \b
    Examples:
        paxoskv explore --operations "1: incr a" --duplicates 1
        paxoskv explore --operations "1: incr a; 2: get a" --losses 1
        paxoskv explore --operations "1: put a x; 2: cas a y if x" --states 50000
        paxoskv explore --operations "1: incr a" --crashes 1 --slow-disks
        paxoskv explore --mode raft --operations "1: incr a; 2: get a"
        paxoskv explore --mode raft --operations "1: incr a" --timeouts 1
        paxoskv explore --mode raft --begin cold --operations "" --timeouts 1
        paxoskv explore --mode raft --begin earlier-term --operations "" \\
            --timeouts 1 --states 20000
    """
    check_asserts()
    if COMPILED:
        raise ConfigurationError(
            "this is the compiled build, whose engines cannot be copied; explore with the "
            "interpreted one, as `make test` or `pip install` make it"
        )
    from paxoskv.sim.explore import explore as run
    from paxoskv.sim.world import Bounds

    for node, _ in operations:
        if not 1 <= node <= nodes:
            raise click.UsageError(f"there is no node {node}; there are {nodes}")

    if mode == "paxos" and (timeouts or begin != "elected"):
        raise click.UsageError("--timeouts and --begin are about leaders: they need --mode raft")
    if begin == "earlier-term" and nodes != 3:
        raise click.UsageError("--begin earlier-term is a story of three nodes")

    def progress(count: int, depth: int) -> None:
        if sys.stderr.isatty() and not as_json:
            click.echo(f"\rdepth {depth}, {count:,} states", err=True, nl=False)

    bounds = Bounds(
        operations,
        nodes=nodes,
        losses=losses,
        duplicates=duplicates,
        crashes=crashes,
        ticks=ticks,
        slow_disks=slow_disks,
        states_max=states,
        mode=mode,
        timeouts=timeouts,
        begin=begin,
    )
    found = run(bounds, progress)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "states": found.states,
                    "transitions": found.transitions,
                    "depth": found.depth,
                    "complete": found.complete,
                    "violation": found.violation or None,
                    "trace": found.trace,
                    "seconds": round(found.seconds, 3),
                }
            )
        )
    else:
        if sys.stderr.isatty():
            click.echo(err=True)
        click.echo(
            f"{found.states:,} states, {found.transitions:,} transitions, depth {found.depth}, {found.seconds:.1f} s"
        )
        if found.violation:
            click.echo(f"violation: {found.violation}")
            for number, step in enumerate(found.trace, 1):
                click.echo(f"{number:3}. {step}")
        elif found.complete:
            click.echo("no violation within these bounds")
        else:
            click.echo("no violation so far; --states ended the search before all states were seen")
    raise SystemExit(1 if found.violation else 0 if found.complete else 3)
