"""The commands that work on one key."""

import difflib
import itertools
import json
import re
import sys
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, TypeVar

import click

from paxoskv import sync
from paxoskv.cli import NOT_THERE, Number, json_option, value_fields
from paxoskv.client.arguments import TTL_S_MAX
from paxoskv.client.blocking import BlockingClient

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_ENDPOINTS = "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403"
_STDIN = "-"


def endpoints_option(command: F) -> F:
    """--endpoints."""
    return click.option(
        "--endpoints",
        default=DEFAULT_ENDPOINTS,
        envvar="PAXOSKV_ENDPOINTS",
        show_envvar=True,
        metavar="HOST:PORT,...",
        help="Client addresses of the nodes.  [default: ports 7401 to 7403 of 127.0.0.1]",
    )(command)


def timeout_option(command: F) -> F:
    """--timeout."""
    return click.option(
        "--timeout",
        type=Number(min=0, min_open=True),
        default=5.0,
        envvar="PAXOSKV_TIMEOUT",
        show_default=True,
        metavar="SECONDS",
        help="When to give up.",
    )(command)


def connection_options(command: F) -> F:
    """--endpoints, --prefer, --timeout and --json."""
    prefer = click.option(
        "--prefer",
        envvar="PAXOSKV_PREFER",
        metavar="HOST:PORT",
        help="The endpoint to go to while it can be reached.  [default: by the key]",
    )
    return endpoints_option(prefer(timeout_option(json_option("Print one JSON object, errors too.")(command))))


class _ValueCommand(click.Command):
    """A value may begin with a dash, as numbers do; what looks like a misspelt option is not taken for a value."""

    ignore_unknown_options = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = [name for parameter in self.get_params(ctx) for name in parameter.opts]
        for argument in itertools.takewhile(lambda argument: argument != "--", args):
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in known:
                hint = "".join(f" Did you mean {other}?" for other in difflib.get_close_matches(name, known, 1))
                raise click.UsageError(
                    f"No such option {name!r}.{hint} A value that begins with -- goes behind all options and a --.", ctx
                )
        return super().parse_args(ctx, args)


def _client(options: dict[str, Any]) -> BlockingClient:
    return sync.connect(options["endpoints"], prefer=options["prefer"], timeout=options["timeout"])


def _arguments(*texts: str) -> list[bytes]:
    """Arguments of the command line as the bytes they were typed as; - reads standard input, to its end and unchanged.

    Called before anything is connected, so that a slow pipe does not hold a connection.
    """
    if texts.count(_STDIN) > 1:
        raise click.UsageError("standard input can be only one of the arguments: give - once")
    # The shell's bytes came through the file system's encoding, which can undo itself.
    encoding = sys.getfilesystemencoding()
    return [sys.stdin.buffer.read() if text == _STDIN else text.encode(encoding, "surrogateescape") for text in texts]


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
        if sys.stdout.isatty() and not value.endswith(b"\n"):
            value += b"\n"
        # With PYTHONUNBUFFERED this is the bare file, which may take less than it is given.
        left = memoryview(value)
        while left:
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()


def _absent(key: str, options: dict[str, Any]) -> None:
    if not options["as_json"]:
        click.echo(f"{key} is absent", err=True)
    raise SystemExit(NOT_THERE)


class _Duration(click.ParamType[float]):
    """A number with a unit; in seconds."""

    name = "duration"
    _UNITS = MappingProxyType({"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "": 1.0})

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d|)", value)
        seconds = float(match[1]) * self._UNITS[match[2]] if match is not None else 0.0
        if not 0 < seconds <= TTL_S_MAX:
            self.fail(
                f"{value!r} is no time such as 30s, 500ms, 15m, 1.5h or 7d, above 0 and up to 1000 years", param, ctx
            )
        return seconds


DURATION = _Duration()

_IF_VERSION = click.option(
    "--if-version",
    type=click.IntRange(min=0),
    metavar="VERSION",
    help="Only if the key has this version; 0: only if it is absent.",
)


@click.command(short_help="Print a key's value.")
@click.argument("key")
@connection_options
def get(key: str, **options: Any) -> None:
    """Print the value of KEY, exactly its bytes. Exits with 1 if there is none.

    \b
    Examples:
        paxoskv get greeting
        paxoskv get photo > photo.jpg
        paxoskv get greeting --json          # with its version
    """
    (name,) = _arguments(key)
    with _client(options) as kv:
        value, version = kv.get(name)
    _print_value(options, value, {"version": version, "found": value is not None})
    if value is None:
        _absent(key, options)


@click.command(short_help="Set a key.", cls=_ValueCommand)
@click.argument("key")
@click.argument("value")
@_IF_VERSION
@click.option(
    "--ttl", type=DURATION, metavar="TIME", help="Have it cease to exist after so long: 30s, 500ms, 1.5h, 7d."
)
@connection_options
def put(key: str, value: str, if_version: int | None, ttl: float | None, **options: Any) -> None:
    """Set KEY to VALUE, or to standard input if VALUE is -, and print its new version.

    \b
    Examples:
        paxoskv put greeting hello
        paxoskv put photo - < photo.jpg
        paxoskv put lock mine --if-version 0  # only if nobody has it
        paxoskv put session/7 ada --ttl 30m   # gone after half an hour
        paxoskv put note -- --really--        # a value that begins with --
    """
    name, data = _arguments(key, value)
    with _client(options) as kv:
        version = kv.put(name, data, ttl=ttl, if_version=if_version)
    _print(options, {"version": version}, str(version))


@click.command(short_help="Set when a key ceases to exist.")
@click.argument("key")
@click.argument("ttl", type=DURATION, metavar="TIME")
@connection_options
def expire(key: str, ttl: float, **options: Any) -> None:
    """Have KEY cease to exist after TIME. Exits with 1 if it is not there.

    \b
    Examples:
        paxoskv expire session/7 30m
        paxoskv expire session/7 500ms
    """
    (name,) = _arguments(key)
    with _client(options) as kv:
        found = kv.expire(name, ttl)
    _print(options, {"found": found})
    if not found:
        _absent(key, options)


@click.command(short_help="Have a key live until it is deleted.")
@click.argument("key")
@connection_options
def persist(key: str, **options: Any) -> None:
    """Forget when KEY would cease to exist. Exits with 1 if it is not there.

    \b
    Examples:
        paxoskv persist session/7
    """
    (name,) = _arguments(key)
    with _client(options) as kv:
        found = kv.persist(name)
    _print(options, {"found": found})
    if not found:
        _absent(key, options)


@click.command(short_help="Print how long a key will live.")
@click.argument("key")
@connection_options
def ttl(key: str, **options: Any) -> None:
    """Print in how many seconds KEY ceases to exist. Prints nothing, and exits with 1, if it does not, or is absent.

    \b
    Examples:
        paxoskv ttl session/7
        paxoskv ttl session/7 --json
    """
    (name,) = _arguments(key)
    with _client(options) as kv:
        seconds = kv.ttl(name)
    _print(options, {"seconds": seconds}, None if seconds is None else f"{seconds:.3f}")
    if seconds is None:
        if not options["as_json"]:
            click.echo(f"{key} does not expire, or is absent", err=True)
        raise SystemExit(NOT_THERE)


@click.command(short_help="Print keys in order.")
@click.argument("prefix", default="")
@click.option("--keys-only", is_flag=True, help="Print the keys without their values.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@connection_options
def scan(prefix: str, keys_only: bool, limit: int | None, **options: Any) -> None:
    """Print the keys that begin with PREFIX (all, without one) in order, each with a tab and its value on a line.

    Bytes that would break a line, or are no text, are shown as \\xNN, and a backslash by two; --json prints an object a
    line, exactly. A key that exists all the while is in it; memory does not grow with the number of keys. Exits with 1
    if there is none.

    \b
    Examples:
        paxoskv scan user/
        paxoskv scan user/ --keys-only --limit 10
        paxoskv scan --json > everything.jsonl
    """
    start = prefix.encode(sys.getfilesystemencoding(), "surrogateescape")
    count = 0
    with _client(options) as kv:
        for key, value, version in kv.scan(start, keys_only=keys_only, limit=limit):
            count += 1
            if options["as_json"]:
                named = {f"key{name.removeprefix('value')}": field for name, field in value_fields(key).items()}
                fields = {} if keys_only else value_fields(value)
                click.echo(json.dumps(named | fields | {"version": version}))
            else:
                click.echo(_line(key) if value is None else f"{_line(key)}\t{_line(value)}")
    if not count:
        if not options["as_json"]:
            click.echo(f"no key begins with {prefix!r}" if prefix else "there are no keys", err=True)
        raise SystemExit(NOT_THERE)


def _line(data: bytes) -> str:
    """On one line, and no other bytes alike: what does not print is shown byte by byte, a backslash by two."""
    return "".join(map(_shown, data.decode(errors="surrogateescape")))


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join([f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape")])


@click.command(short_help="Remove a key.")
@click.argument("key")
@_IF_VERSION
@connection_options
def delete(key: str, if_version: int | None, **options: Any) -> None:
    """Remove KEY. Exits with 1 if it was not there.

    \b
    Examples:
        paxoskv delete greeting
        paxoskv delete lock --if-version 269484033   # only if it is still ours
    """
    (name,) = _arguments(key)
    with _client(options) as kv:
        found = kv.delete(name, if_version=if_version)
    _print(options, {"found": found})
    if not found:
        _absent(key, options)


@click.command(short_help="Set a key if it has a certain value.", cls=_ValueCommand)
@click.argument("key")
@click.argument("values", nargs=-1, required=True, metavar="EXPECTED VALUE")
@click.option("--absent", is_flag=True, help="Only if KEY is absent; leave EXPECTED out.")
@connection_options
def cas(key: str, values: tuple[str, ...], absent: bool, **options: Any) -> None:
    """Compare and set: make KEY VALUE if it is EXPECTED now, and print its new version. Exits with 1 if it is not.

    One of them may be -, for standard input.

    \b
    Examples:
        paxoskv cas state idle running
        paxoskv cas state running --absent
    """
    if len(values) != (1 if absent else 2):
        raise click.UsageError("give KEY EXPECTED VALUE, or KEY VALUE --absent")
    name, *expected, value = _arguments(key, *values)
    with _client(options) as kv:
        version = kv.cas(name, None if absent else expected[0], value)
    _print(options, {"version": version}, str(version))


@click.command(short_help="Add to a number.", cls=_ValueCommand)
@click.argument("key")
@click.argument("by", type=int, default=1)
@connection_options
def incr(key: str, by: int, **options: Any) -> None:
    """Add BY (1 if not given, may be negative) to the number that KEY holds, and print the sum.

    An absent key counts as 0. What is no signed 64-bit decimal number, or would become none, is left alone, and the
    exit code is 1.

    \b
    Examples:
        paxoskv incr visits
        paxoskv incr stock -3
    """
    (name,) = _arguments(key)
    with _client(options) as kv:
        number, version = kv.incr(name, by)
    _print(options, {"value": number, "version": version}, str(number))


@click.command(short_help="Append to a value.", cls=_ValueCommand)
@click.argument("key")
@click.argument("suffix")
@connection_options
def append(key: str, suffix: str, **options: Any) -> None:
    """Append SUFFIX, or standard input if it is -, to the value of KEY, and print the new length in bytes.

    An absent key counts as empty.

    \b
    Examples:
        paxoskv append log 'one more line'
        date | paxoskv append log -
    """
    name, data = _arguments(key, suffix)
    with _client(options) as kv:
        length, version = kv.append(name, data)
    _print(options, {"length": length, "version": version}, str(length))


@click.command(short_help="Set a key, and print what it was.", cls=_ValueCommand)
@click.argument("key")
@click.argument("value")
@connection_options
def swap(key: str, value: str, **options: Any) -> None:
    """Set KEY to VALUE, or to standard input if it is -, and print the value that it replaced, exactly its bytes.

    Prints nothing if there was none, which --json tells from an empty value.

    \b
    Examples:
        paxoskv swap owner me
        paxoskv swap photo - < new.jpg > old.jpg
    """
    name, data = _arguments(key, value)
    with _client(options) as kv:
        old, version = kv.swap(name, data)
    _print_value(options, old, {"version": version, "found": old is not None})
