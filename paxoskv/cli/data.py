"""The commands that work on one key."""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from paxoskv import sync
from paxoskv.cli import NOT_THERE, value_fields
from paxoskv.client.blocking import BlockingClient

F = TypeVar("F", bound=Callable[..., Any])

# A value may begin with a dash.
_VALUES = {"ignore_unknown_options": True}
DEFAULT_ENDPOINTS = "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403"


def connection_options(command: F) -> F:
    """--endpoints, --prefer, --timeout and --json."""
    for option in reversed(
        (
            click.option(
                "--endpoints",
                default=DEFAULT_ENDPOINTS,
                envvar="PAXOSKV_ENDPOINTS",
                show_default=True,
                show_envvar=True,
                help="Client addresses of the nodes, host:port,host:port.",
            ),
            click.option("--prefer", envvar="PAXOSKV_PREFER", help="The endpoint to go to while it can be reached."),
            click.option(
                "--timeout",
                type=click.FloatRange(min=0.001),
                default=5.0,
                envvar="PAXOSKV_TIMEOUT",
                show_default=True,
                help="Seconds until the command gives up.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        )
    ):
        command = option(command)
    return command


def _client(options: dict[str, Any]) -> BlockingClient:
    return sync.connect(options["endpoints"], prefer=options["prefer"], timeout=options["timeout"])


def _argument(text: str) -> bytes:
    """A command line's argument as the bytes it was typed as; - reads standard input, to its end and unchanged."""
    if text == "-":
        return sys.stdin.buffer.read()
    # The shell's bytes came through the file system's encoding, which can undo itself.
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")


def _print(options: dict[str, Any], fields: dict[str, Any], text: str | None = None) -> None:
    if options["as_json"]:
        click.echo(json.dumps(fields))
    elif text is not None:
        click.echo(text)


def _print_value(options: dict[str, Any], value: bytes | None, fields: dict[str, Any]) -> None:
    """The bytes as they are; a newline only for a person's terminal."""
    if options["as_json"]:
        click.echo(json.dumps(value_fields(value) | fields))
    elif value is not None:
        sys.stdout.buffer.write(value)
        if sys.stdout.isatty() and not value.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()


_IF_VERSION = click.option(
    "--if-version", type=click.IntRange(min=0), help="Only if the key has this version; 0: only if it is absent."
)


@click.command(short_help="Print a key's value.")
@click.argument("key")
@connection_options
def get(key: str, **options: Any) -> None:
    """Print the value of KEY, exactly its bytes. Exits with 1 if there is none.

    \b
        paxoskv get greeting
        paxoskv get photo > photo.jpg
        paxoskv get greeting --json        # with its version
    """
    with _client(options) as kv:
        value, version = kv.get(_argument(key))
    _print_value(options, value, {"version": version, "found": value is not None})
    if value is None:
        if not options["as_json"]:
            click.echo(f"{key} is absent", err=True)
        raise SystemExit(NOT_THERE)


@click.command(short_help="Set a key.", context_settings=_VALUES)
@click.argument("key")
@click.argument("value")
@_IF_VERSION
@connection_options
def put(key: str, value: str, if_version: int | None, **options: Any) -> None:
    """Set KEY to VALUE, or to standard input if VALUE is -, and print its new version.

    \b
        paxoskv put greeting hello
        paxoskv put photo - < photo.jpg
        paxoskv put lock me --if-version 0   # only if nobody has it
    """
    with _client(options) as kv:
        version = kv.put(_argument(key), _argument(value), if_version=if_version)
    _print(options, {"version": version}, str(version))


@click.command(short_help="Remove a key.")
@click.argument("key")
@_IF_VERSION
@connection_options
def delete(key: str, if_version: int | None, **options: Any) -> None:
    """Remove KEY. Exits with 1 if it was not there."""
    with _client(options) as kv:
        found = kv.delete(_argument(key), if_version=if_version)
    _print(options, {"found": found})
    if not found:
        if not options["as_json"]:
            click.echo(f"{key} is absent", err=True)
        raise SystemExit(NOT_THERE)


@click.command(short_help="Set a key if it has a certain value.", context_settings=_VALUES)
@click.argument("key")
@click.argument("expected")
@click.argument("value")
@click.option("--absent", is_flag=True, help="Only if KEY is absent; EXPECTED is not looked at.")
@connection_options
def cas(key: str, expected: str, value: str, absent: bool, **options: Any) -> None:
    """Compare and set: make KEY VALUE if it is EXPECTED now, and print its new version. Exits with 1 if it is not.

    \b
        paxoskv cas state idle running
        paxoskv cas state "" running --absent
    """
    with _client(options) as kv:
        version = kv.cas(_argument(key), None if absent else _argument(expected), _argument(value))
    _print(options, {"version": version}, str(version))


@click.command(short_help="Add to a number.", context_settings=_VALUES)
@click.argument("key")
@click.argument("by", type=int, default=1)
@connection_options
def incr(key: str, by: int, **options: Any) -> None:
    """Add BY (1 if not given, may be negative) to the number that KEY holds, and print the sum. An absent key counts as
    0; what is no signed 64-bit decimal number, or would become none, is left alone, and the exit code is 1.

    \b
        paxoskv incr visits
        paxoskv incr stock -3
    """
    with _client(options) as kv:
        number, version = kv.incr(_argument(key), by)
    _print(options, {"value": number, "version": version}, str(number))


@click.command(short_help="Append to a value.", context_settings=_VALUES)
@click.argument("key")
@click.argument("suffix")
@connection_options
def append(key: str, suffix: str, **options: Any) -> None:
    """Append SUFFIX, or standard input if it is -, to the value of KEY, and print the new length in bytes."""
    with _client(options) as kv:
        length, version = kv.append(_argument(key), _argument(suffix))
    _print(options, {"length": length, "version": version}, str(length))


@click.command(short_help="Set a key, and print what it was.", context_settings=_VALUES)
@click.argument("key")
@click.argument("value")
@connection_options
def swap(key: str, value: str, **options: Any) -> None:
    """Set KEY to VALUE, or to standard input if it is -, and print the value that it replaced, exactly its bytes."""
    with _client(options) as kv:
        old, version = kv.swap(_argument(key), _argument(value))
    _print_value(options, old, {"version": version, "found": old is not None})
